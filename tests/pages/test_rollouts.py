from __future__ import annotations

import json
import shutil
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from obd.config import DEFAULT_DATASET
from obd.runs.store import Run
from obd.ui import state, videos
from obd.ui.tasks import Task
from tests.pages.conftest import Open
from tests.pages.test_pages import wait_until, words

PATIENCE = 300.0  # seconds; worker processes start slowly on a busy machine


@pytest.fixture(autouse=True)
def no_opengl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBD_RENDERER", "schematic")


def played(at: AppTest) -> dict[str, Any] | None:
    """What the player was given, once there is a video."""
    for found in at.get("bidi_component"):
        data: dict[str, Any] = json.loads(found.proto.json)
        if "url" in data:
            return data
    return None


def test_the_showcase_is_there_at_once_in_both_views(open_page: Open) -> None:
    at = open_page("rollouts", group="showcase")
    tiled = played(at)
    assert tiled is not None and "/media/" in tiled["url"]
    assert tiled["members"][0]["label"] == "Random selection"
    assert (
        state.tasks().get(("ready", DEFAULT_DATASET)) is None
    )  # the data are not here: nobody has asked to build them
    assert "drawn by MuJoCo" in words(at)  # these frames were, whatever this machine can do
    at.button_group(key="film").set_value("race").run()
    race = played(at)
    assert race is not None and race["charts"][0]["options"][0]["label"] == "Distance"
    assert "is ahead in the end" in words(at)


def test_a_finished_group_is_filmed_in_the_background(group: list[Run], open_page: Open) -> None:
    pytest.importorskip("pygame")
    at = open_page("rollouts", length="2")
    assert played(at) is None and not at.error
    wait_until(at, played, PATIENCE)
    data = played(at)
    assert data is not None
    assert [member["label"] for member in data["members"]] == ["Random selection", "DBC", "PBC", "Teacher"]
    assert [chart["title"] for chart in data["charts"]] == ["Reward", "Q value", "Action"]
    assert "drawn by the environment itself" in words(at)
    assert [button.label for button in at.get("download_button")] == ["MP4", "CSV"]
    at.button(key="make gif").click().run()
    wait_until(at, lambda at: len(at.get("download_button")) == 3, PATIENCE)
    assert "press its button again to save it" in words(at)
    assert state.tasks().get(("ready", group[0].config.dataset)) is not None  # for the next one


def test_a_running_group_shows_its_newest_snapshots_and_offers_newer_ones(group: list[Run], open_page: Open) -> None:
    pytest.importorskip("pygame")
    for run in group:
        run.write_status(state="running")
    step = group[0].snapshot_steps()[-1]
    at = open_page("rollouts", length="2")
    wait_until(at, played, PATIENCE)
    assert f"step {step:,} of DBC" in words(at)
    newer = group[0].path / "snapshots" / f"{step + 1:08d}.npz"
    shutil.copy(group[0].path / "snapshots" / f"{step:08d}.npz", newer)
    at.run()
    assert f"step {step:,} of DBC" in words(at)  # what is on show does not change by itself
    at.button(key="newest").click().run()
    wait_until(at, played, PATIENCE)
    assert f"step {step + 1:,} of DBC" in words(at)


def test_a_group_without_a_snapshot_says_when_there_will_be_one(group: list[Run], open_page: Open) -> None:
    for run in group:
        shutil.rmtree(run.path / "snapshots")
        run.write_status(state="queued")
    at = open_page("rollouts")
    assert "first snapshot" in words(at) and not at.error


def test_wrong_choices_are_one_sentence_each(group: list[Run], open_page: Open) -> None:
    at = open_page("rollouts")
    at.button_group(key="who choice").set_value([]).run()
    assert [error.value for error in at.error] == ["Choose at least one policy to watch."]
    at.button_group(key="who choice").set_value(["dbc", "pbc"])
    at.multiselect(key="student").set_value([1, 2, 3, 4, 5, 6]).run()
    assert not at.exception
    assert len(at.error) == 1 and "at most 9" in at.error[0].value


def test_the_address_names_who_is_shown(group: list[Run], open_page: Open) -> None:
    at = open_page("rollouts", who="teacher,dbc,nobody", form="ensemble,x")
    assert at.button_group(key="who choice").value == ["dbc", "teacher"] and not at.warning
    assert at.button_group(key="form choice").value == ["ensemble"]
    at.run()
    assert at.query_params["who"] == "dbc,teacher" and at.query_params["form"] == "ensemble"
    at.button_group(key="who choice").set_value(["pbc"]).run()
    assert at.query_params["who"] == "pbc"
    at.switch_page("pages/compare.py").run()
    at.switch_page("pages/rollouts.py").run()
    assert at.button_group(key="who choice").value == ["pbc"]
    usual = ["random_selection", "dbc", "pbc", "teacher"]
    at.button_group(key="who choice").set_value(usual).run()
    assert "who" not in at.query_params


def test_an_address_with_nobody_known_is_one_sentence(group: list[Run], open_page: Open) -> None:
    at = open_page("rollouts", who="<b>,sac")
    assert len(at.warning) == 1 and "usual ones" in at.warning[0].value and not at.error
    assert len(at.button_group(key="who choice").value) == 4


def test_a_race_of_what_does_not_travel_is_one_sentence(group: list[Run], open_page: Open) -> None:
    at = open_page("rollouts", film="Race", length="2")
    wait_until(at, lambda at: at.error, PATIENCE)
    assert "side by side" in at.error[0].value and played(at) is None


def test_a_damaged_set_is_one_sentence_and_can_be_tried_again(group: list[Run], open_page: Open) -> None:
    good = (group[0].path / "distilled.npz").read_bytes()
    (group[0].path / "distilled.npz").write_bytes(b"no zip")
    at = open_page("rollouts")
    wait_until(at, lambda at: at.error, PATIENCE)
    assert "damaged" in at.error[0].value
    (group[0].path / "distilled.npz").write_bytes(good)
    at.button(key="retry video").click().run()
    assert not at.error


def test_asking_for_one_start_state_after_another_films_only_the_last_one(
    group: list[Run], open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def film(task: Task, request: videos.Request, *_: Any) -> None:
        asked.append((request.seed, task))
        while True:
            task.progress(0.5)

    monkeypatch.setattr(videos, "make", film)
    at = open_page("rollouts")
    for number in range(1, 4):
        wait_until(at, lambda _, number=number: len(asked) == number)
        at.number_input(key="episode").set_value(number).run()
    wait_until(at, lambda _: len(asked) == 4)
    assert not at.error and "was cancelled" not in words(at)
    for seed, task in asked[:3]:
        task.join(10)
        assert (seed, task.state) == (seed, "cancelled")
    assert asked[3][0] == 3 and not asked[3][1].should_stop()
    at.number_input(key="episode").set_value(0).run()  # one that gave way begins anew
    wait_until(at, lambda _: len(asked) == 5)
    assert asked[4][0] == 0 and "was cancelled" not in words(at)
