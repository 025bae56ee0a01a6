from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from obd.config import DEFAULT_DATASET
from obd.data import catalog
from obd.data.behaviour import StochasticPolicy
from obd.data.catalog import DatasetInfo, list_datasets, load_dataset
from obd.data.collect import Player, collect_dataset
from obd.data.minari_store import save_minari
from obd.paths import cache_dir
from obd.ui import datasets, state
from tests.data.test_transitions_file import arrays, store
from tests.helpers import DATASET, pendulum_dataset
from tests.pages.conftest import Open
from tests.pages.test_pages import spec, wait_until, words


def test_the_card_of_a_dataset(teacher: Path, open_page: Open) -> None:
    at = open_page("data", dataset=DATASET)
    assert not at.error
    assert at.query_params["dataset"] == DATASET
    assert {metric.label: metric.value for metric in at.metric}["Transitions"] == "600"
    assert spec(at, 0)["xAxis"]["name"] == "normalised return" and spec(at, 1)["xAxis"]["name"] == "steps per episode"
    text = words(at)
    assert "Every episode lasts 200 steps" in text
    assert load_dataset(DATASET).content_hash in text
    assert len(at.dataframe[0].value) == 4  # one action and three observations
    wait_until(at, lambda at: len(at.image) == 3)
    assert "schematically" not in words(at)  # of the pendulum there is no other picture


def test_episodes_are_drawn_from_worst_to_best(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBD_RENDERER", "schematic")
    player = Player(StochasticPolicy(None, 3, 0, 0.0))
    save_minari(
        collect_dataset("test/hopper/random-v0", "Hopper-v5", [player], transitions=60, workers=1), description="falls"
    )
    at = open_page("data", dataset="test/hopper/random-v0")
    wait_until(at, lambda at: "From the worst episode" in words(at))
    assert len(at.image) == 3
    assert len(list((cache_dir() / "strips").glob("*.webp"))) == 3
    assert "Drawn schematically" in words(at)


def test_search_and_origin_narrow_the_catalogue(teacher: Path, open_page: Open) -> None:
    at = open_page("data")
    assert set(at.radio[0].options) >= {catalog.BUILTIN[DEFAULT_DATASET].title}
    at.text_input(key="search").set_value("pendulum random").run()
    assert len(at.radio[0].options) == 1
    at.text_input(key="search").set_value("no such thing").run()
    assert "Nothing found" in words(at) and not at.radio
    at.text_input(key="search").set_value("").run()
    at.radio[0].set_value(DATASET).run()
    assert at.query_params["dataset"] == DATASET and at.metric


@pytest.mark.parametrize("name", ["../../etc/passwd", "nobody/knows-v0", "<b>"])
def test_a_wrong_address_is_a_sentence(name: str, open_page: Open) -> None:
    at = open_page("data", dataset=name, do="nonsense")
    assert not at.error and "is not here" in words(at)


def test_a_dataset_to_collect(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    row = catalog.BUILTIN[DEFAULT_DATASET]
    small = catalog.BuiltinDataset(row.env_id, row.title, row.description, row.sources, transitions=1_000)
    monkeypatch.setattr(catalog, "BUILTIN", {DEFAULT_DATASET: small})
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setenv("OBD_RENDERER", "schematic")
    at = open_page("data", dataset=DEFAULT_DATASET)
    assert not at.metric
    at.button(key="fetch").click().run()
    wait_until(at, lambda at: bool(at.metric))
    assert list_datasets()[0].available


def test_minari_s_server_without_its_package(open_page: Open) -> None:
    at = open_page("data")
    at.selectbox(key="from").set_value("Minari server").run()
    wait_until(at, lambda at: "pip install huggingface" in words(at) or "cannot be reached" in words(at))
    assert not at.exception and at.button(key="ask again")


def test_a_dataset_of_the_server_is_downloaded(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(dataset_id: str, **_options: object) -> None:
        save_minari(pendulum_dataset(), description="random actions")

    info = DatasetInfo(DATASET, "Pendulum-v1", DATASET, "random actions", False, False, None, 600, 3, 1.5)
    monkeypatch.setattr(datasets, "list_remote", lambda **_options: [info])
    monkeypatch.setattr(datasets, "download", download)
    at = open_page("data")
    at.session_state["dataset"] = DATASET  # a link that names it arrives before the server has answered
    at.selectbox(key="from").set_value("Minari server").run()
    wait_until(at, lambda at: "fetch" in [button.key for button in at.button])
    assert at.radio[0].options == [DATASET.replace("-", "\\-")] and "random actions" in words(at)
    at.button(key="fetch").click().run()
    wait_until(at, lambda at: bool(at.metric))
    assert at.query_params["dataset"] == DATASET


def start_import(at: AppTest, path: Path, env_id: str = "Pendulum-v1") -> AppTest:
    at.button(key="import").click().run()
    assert at.query_params["do"] == "import"
    at.file_uploader(key="import file").set_value((path.name, path.read_bytes(), "application/octet-stream"))
    at.selectbox(key="import env").set_value(env_id)
    at.text_input(key="import id").set_value("mine/upload-v0").run()
    at.button(key="import start").click().run()
    assert not at.exception
    return at


def uploads() -> list[str]:
    folder = cache_dir() / "uploads"
    return os.listdir(folder) if folder.is_dir() else []


def test_an_upload_is_imported_and_shown(open_page: Open, tmp_path: Path) -> None:
    values = arrays(500)
    values["actions"][:5] = 9
    at = start_import(open_page("data"), store(tmp_path, values))
    wait_until(at, lambda at: bool(at.metric))
    at.run()
    assert at.query_params["dataset"] == "mine/upload-v0" and "do" not in at.query_params
    text = words(at) + "".join(element.value for element in at.success)
    assert "Imported" in text and "5 entries of the actions" in text and "does not reproduce" in text
    assert len(load_dataset("mine/upload-v0")) == 497 and uploads() == []


def test_a_failed_upload_keeps_the_form_and_leaves_nothing(open_page: Open, tmp_path: Path, storage: Path) -> None:
    values = arrays(500)
    values["rewards"][:5] = np.nan
    at = start_import(open_page("data"), store(tmp_path, values))
    deadline = time.monotonic() + 30
    while not at.error:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        at.run()
    assert "5 in rewards" in at.error[0].value and "Nothing was stored" in words(at)
    assert at.text_input(key="import id").value == "mine/upload-v0"
    assert uploads() == [] and os.listdir(storage / "minari") == []
    at.checkbox(key="import drop").check()
    at.button(key="import start").click().run()
    wait_until(at, lambda at: bool(at.metric))


def test_the_search_lists_the_sets_of_that_name_first(open_page: Open) -> None:
    at = open_page("data")
    at.text_input(key="search").set_value("walker expert").run()
    assert at.radio(key="data choice").options[0] == "Walker2d, medium expert"


def test_the_teaching_panel_stays_open_when_the_teaching_is_over(teacher: Path, open_page: Open) -> None:
    at = open_page("data", dataset=DATASET)
    assert "teach start" not in [button.key for button in at.button]
    state.tasks().start(("teach", DATASET), lambda task: None, "teacher").join()
    at.run()
    assert "teach start" in [button.key for button in at.button]


def test_import_needs_a_file_and_a_valid_name(open_page: Open, tmp_path: Path) -> None:
    at = open_page("data", do="import")
    at.button(key="import start").click().run()
    assert [error.value for error in at.error] == ["Choose a file first."]
    at.file_uploader(key="import file").set_value(("x.npz", b"PK", "application/octet-stream"))
    at.text_input(key="import id").set_value("../outside").run()
    at.button(key="import start").click().run()
    assert "not a dataset id" in at.error[0].value


def test_distil_this(teacher: Path, open_page: Open) -> None:
    at = open_page("distill", dataset=DATASET)
    assert at.selectbox(key="dataset").value == DATASET
    at = open_page("distill", dataset="not/here-v0")
    assert not at.error and at.selectbox(key="dataset").value == DEFAULT_DATASET
