from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from obd.paths import teachers_dir
from obd.runs import teaching
from obd.runs.teaching import Measured, Taught, Teaching, TeachRequest
from obd.teachers.files import TeacherFile
from obd.ui import teach_panel, teacher_choice
from obd.ui.teach_panel import loss_curves, losses_chart, returns_chart, sentence
from tests.helpers import DATASET, store_pendulum


@pytest.fixture(autouse=True)
def fresh_caches(storage: Path) -> Iterator[None]:
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny networks and short measurements, whatever the preset says."""
    monkeypatch.setattr(teaching, "LIVE_EPISODES", 1)
    monkeypatch.setattr(teaching, "FINAL_EPISODES", 2)
    original = teaching.teacher_config
    monkeypatch.setattr(
        teaching, "teacher_config", lambda *names, **changes: original(*names, hidden_width=8, batch_size=16, **changes)
    )


def script(dataset_id: str) -> None:
    from obd.ui.teach_panel import teach_panel

    teach_panel(dataset_id)


@pytest.fixture
def panel(tmp_path: Path) -> AppTest:
    store_pendulum(tmp_path)
    at = AppTest.from_function(script, default_timeout=60, args=(DATASET,)).run()
    assert not at.exception and not at.error
    return at


def words(at: AppTest) -> str:
    return "\n".join(element.value for kind in ("markdown", "caption", "error") for element in getattr(at, kind))


def wait(at: AppTest, over: Callable[[AppTest], Any]) -> None:
    deadline = time.monotonic() + 90
    while not over(at):
        assert time.monotonic() < deadline and not at.error, words(at)
        time.sleep(0.2)
        at.run()
        assert not at.exception


def test_the_best_share_is_asked_for_where_there_is_one(panel: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[TeachRequest] = []
    monkeypatch.setattr(teach_panel, "start", requests.append)
    assert not panel.slider
    panel.segmented_control(key="teach algorithm").set_value("awr").run()
    panel.slider(key="teach share AWR").set_value(40).run()
    panel.button(key="teach start").click().run()
    assert not panel.exception and requests[0].config().best_share == 0.4
    panel.segmented_control(key="teach algorithm").set_value("iql").run()
    panel.button(key="teach start").click().run()
    assert requests[1].best_share is None and requests[1].config().seconds == 180


def specs(at: AppTest) -> list[dict[str, Any]]:
    return [json.loads(chart.proto.spec) for chart in at.get("echarts_chart")]


def test_teaches_start_to_end_and_draws(panel: AppTest) -> None:
    at = panel
    at.number_input(key="teach seconds td3_bc fast").set_value(2).run()
    at.button(key="teach start").click().run()
    assert not at.exception and at.button(key="teach start").disabled
    wait(at, lambda at: "teach use" in [button.key for button in at.button])
    assert "normalised return of **" in words(at) and not at.button(key="teach start").disabled
    losses, returns = specs(at)
    assert [series["name"] for series in losses["series"][::2]] == ["critic", "distance to the data"]
    assert losses["xAxis"]["name"] == returns["xAxis"]["name"] == "updates"
    assert returns["series"][0]["data"][-1][0] == losses["xAxis"]["max"]
    assert len(list(teachers_dir().iterdir())) == 1


def test_stop_keeps_a_teacher(panel: AppTest) -> None:
    at = panel
    at.segmented_control(key="teach algorithm").set_value("bc").run()
    at.selectbox(key="teach preset bc").select("long").run()
    at.number_input(key="teach seconds bc long").set_value(3600).run()
    at.button(key="teach start").click().run()
    wait(at, lambda at: "teach stop" in [button.key for button in at.button])
    at.button(key="teach stop").click().run()
    wait(at, lambda at: "teach use" in [button.key for button in at.button])
    assert "Behaviour cloning" in words(at) and "budget" not in words(at)
    assert "where the validation error was lowest" in words(at)
    returns = specs(at)[1]  # with the data's mean beside the clone's
    assert any(series.get("markLine", {}).get("data", [{}])[0].get("yAxis") for series in returns["series"])


def test_the_distil_form_offers_what_fits(panel: AppTest, tmp_path: Path) -> None:
    content = (tmp_path / "teacher.safetensors").read_bytes()
    path = teaching.open_teacher_file("mine.safetensors", content, "Pendulum-v1")

    def choice(dataset_id: str) -> None:
        import streamlit as st

        from obd.ui.teacher_choice import choose_teacher

        st.markdown(choose_teacher(dataset_id))

    at = AppTest.from_function(choice, args=(DATASET,)).run()
    assert at.selectbox[0].options == ["RANDOM (opened)"] and at.markdown[0].value == str(path)
    at = AppTest.from_function(choice, args=("obd/halfcheetah/medium-replay-v0",)).run()
    assert at.selectbox[0].options == ["TD3+BC (shipped)"] and at.markdown[0].value == ""
    path.unlink()
    at = AppTest.from_function(choice, args=(DATASET,)).run()
    assert "None yet" in at.selectbox[0].options[0]


def test_a_wrong_upload_is_one_sentence(panel: AppTest) -> None:
    at = panel
    at.get("file_uploader")[0].set_value(("wrong.safetensors", b"nothing useful", "application/octet-stream")).run()
    assert len(at.error) == 1 and "wrong.safetensors is not a safetensors file" in at.error[0].value
    assert not list(teachers_dir().glob("*.safetensors"))


def test_sentences_and_charts_follow_the_numbers() -> None:
    job = Teaching(TeachRequest(DATASET, "iql"))
    assert "soon" in sentence(job)
    job.returns = [Measured(10, 40.0, 39.0, 41.0), Measured(20, 30.0, 29.0, 31.0)]
    assert "**30.0** after 20 updates" in sentence(job) and "best so far is 40.0" in sentence(job)
    job.taught = Taught(Path("x"), 10, job.returns[0], job.returns[1], True, False, 20, 3.0)
    assert "**40.0 ± 1.0** (kept from update 10; the last network returns 30.0)" in sentence(job)
    assert "stopped by itself after 20 updates, because nothing improved" in sentence(job)
    assert teach_panel.advice(job, 38.9) == "" == teach_panel.advice(job, None)
    assert "That is not clearly more than the mean episode of the data (39.5)" in teach_panel.advice(job, 39.5)
    assert "That is less than" in teach_panel.advice(job, 41.1) and "AWR" in teach_panel.advice(job, 41.1)
    rows = [{"step": 1.0, "critic_loss": 2.0, "penalty": -1.0}, {"step": 2.0, "critic_loss": 0.0}, {"step": 3.0}]
    (curve,) = loss_curves(rows)
    assert curve.losses.tolist() == [2.0]  # a log axis has no zero
    spec = losses_chart([curve], 100)
    assert spec["xAxis"]["max"] == 100
    teach_panel.mark_kept(spec, 10)
    assert [mark["xAxis"] for series in spec["series"] for mark in series.get("markLine", {}).get("data", ())] == [10]
    assert returns_chart([], 0, {}, raw=True)["yAxis"]["name"].startswith("raw return")
    assert teach_panel.alt([]).endswith("no update is done yet")
    assert (
        teacher_choice.label(TeacherFile("", "bc", "taught", "E", "today", -12.0, False, False))
        == "Behaviour cloning, return −12.0 raw (today), no action values"
    )
    assert teacher_choice.when("2025-11-22 20:51") == "22 Nov 20:51"


def test_behaviour_cloning_tells_the_errors_of_the_kept_and_of_the_last_network() -> None:
    job = Teaching(TeachRequest(DATASET, "bc"), normalized=False)
    best, last = Measured(3000, -1325.0, -1330.0, -1320.0), Measured(9000, -20.0, -21.0, -19.0)
    job.taught = Taught(Path("x"), 3000, best, last, True, False, 9000, 3.0, errors=(0.00521, 0.0088))
    said = sentence(job)
    assert "return of **−1,325.0 ± 5.0** (kept from update 3,000" in said
    assert "where the validation error was lowest: 0.00521;" in said
    assert "the last network returns −20.0, with an error of 0.0088" in said and "validation error did not fall" in said
    assert "AWR" in teach_panel.advice(job, 0.0)
