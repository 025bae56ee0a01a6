"""The fourth objective beside another one, on every page that shows runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from obd.paths import teachers_dir
from obd.runs.execute import GroupExecution
from obd.runs.store import Run, create_run, list_groups
from tests.helpers import tiny_config
from tests.pages.conftest import Open


@pytest.fixture
def pair(teacher: Path) -> list[Run]:
    """Distilled for real: PBC and gradient matching, both with density weights."""
    first = create_run(tiny_config(teacher, objective="pbc", density_power=0.1))
    second = tiny_config(teacher, objective="gradient_matching", density_power=0.1)
    runs = [first, create_run(second, group=first.group)]
    GroupExecution(runs, live=False, final=True)(lambda: False)
    return runs


@pytest.mark.parametrize("page", ["distill", "states", "rollouts", "compare"])
def test_every_page_shows_it(page: str, pair: list[Run], open_page: Open) -> None:
    assert [run.status()["state"] for run in pair] == ["finished"] * 2
    query = {"objective": "gradient_matching"} if page == "states" else {}
    if page == "compare":
        query["runs"] = ",".join(run.id for run in pair)
    at = open_page(page, group=pair[0].group, **query)
    assert not at.error and not at.exception
    shown = [str(part.value) for part in (*at.markdown, *at.caption)]
    shown += [cell for table in at.dataframe for cell in table.value.astype(str).to_numpy().ravel()]
    if page != "distill":  # whose form offers it anyway
        shown += [option for choice in at.button_group for option in choice.options]
    assert "Grad. match" in " ".join(shown).replace("\\", "")


def test_the_form_starts_with_the_papers_three_and_offers_the_fourth(teacher: Path, open_page: Open) -> None:
    teachers_dir().mkdir(parents=True, exist_ok=True)
    shutil.copy(teacher, teachers_dir() / "mine.safetensors")
    at = open_page("distill")
    choice = at.button_group(key="objectives")
    assert list(choice.value) == ["dbc", "pbc", "av_pbc"] and "◇ Grad. match" in choice.options
    choice.set_value(["dbc", "gradient_matching"])
    at.selectbox(key="dataset").select("test/pendulum/random-v0")
    at.number_input(key="setting main size").set_value(8)
    at.number_input(key="setting default steps").set_value(3)
    at.number_input(key="setting default density_power").set_value(0.25)
    at.button(key="start").click().run()
    (runs,) = list_groups().values()
    assert [run.config.objective for run in runs] == ["dbc", "gradient_matching"]
    assert {run.config.density_power for run in runs} == {0.25}
