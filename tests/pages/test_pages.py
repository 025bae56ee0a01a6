from __future__ import annotations

import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from streamlit.config import get_option
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.forward_msg_cache import populate_hash_if_needed
from streamlit.testing.v1 import AppTest

from obd.paths import teachers_dir
from obd.runs.showcase import showcase_dir
from obd.runs.store import Run, create_run, list_groups
from obd.teachers.teacher import load_teacher, save_teacher
from obd.ui import state
from tests.helpers import tiny_config
from tests.pages.conftest import Open

PAGES = ("home", "distill", "states", "rollouts", "compare")


def words(at: AppTest) -> str:
    """Everything the page says in running text."""
    kinds = ("title", "subheader", "markdown", "caption", "info", "warning", "error")
    return "\n".join(element.value for kind in kinds for element in getattr(at, kind))


def spec(at: AppTest, number: int = 0) -> dict[str, Any]:
    """The specification of an ECharts chart on the page."""
    chart = at.get("echarts_chart")[number].proto
    value: dict[str, Any] = json.loads(chart.spec)
    return value


def wait_until(at: AppTest, over: Any, seconds: float = 60) -> None:
    """Rerun the page until ``over(at)``; timers do not fire in an AppTest."""
    deadline = time.monotonic() + seconds
    while not over(at):
        assert time.monotonic() < deadline and "failed" not in words(at), words(at)
        time.sleep(0.2)
        at.run()
        assert not at.exception


@pytest.mark.parametrize("page", PAGES)
def test_every_page_is_designed_for_no_runs_at_all(page: str, open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "showcase_runs", list)
    at = open_page(page)
    assert not at.error
    assert len(words(at)) > 40
    assert at.button


def test_pages_are_compiled_without_a_syntax_tree(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.11 may fail to build one while another thread does (TorchScript reads its functions that way)."""

    def never(*_: object) -> None:
        raise SystemError("AST constructor recursion depth mismatch")

    monkeypatch.setattr("streamlit.runtime.scriptrunner.magic.add_magic", never)
    assert open_page("learn").segmented_control


def test_a_page_does_not_end_with_a_search_for_garbage() -> None:
    """It holds the interpreter's lock for 50 ms and more, and a timer's tick is such an end: distillations wait."""
    assert get_option("runner.postScriptGC") is False


def test_the_server_never_refers_to_what_a_page_was_sent_before() -> None:
    """It forgets large messages after two runs; with many on their way it ends with "Cached ForwardMsg MISS"."""
    message = ForwardMsg()
    message.delta.new_element.markdown.body = "x" * 10_000_000
    populate_hash_if_needed(message)
    assert not message.metadata.cacheable


@pytest.mark.parametrize("page", PAGES)
def test_bad_addresses_are_answered_with_a_sentence(page: str, group: list[Run], open_page: Open) -> None:
    at = open_page(page, group="../../etc/passwd", objective="bogus", view="4d")
    assert not at.error
    if page != "home":
        assert "not here any more" in words(at)
    if page in ("distill", "states", "rollouts"):  # a page that runs again by itself must not take the words back
        assert "not here any more" in words(at.run())


def test_home_starts_a_comparison_of_all_objectives(open_page: Open) -> None:
    at = open_page()
    at.button(key="quick start").click().run()
    assert not at.exception
    (runs,) = list_groups().values()
    assert [(run.config.objective, run.config.seconds) for run in runs] == [("av_pbc", 60.0)]
    assert at.query_params["group"] == runs[0].group


def test_home_shows_numbers_from_the_showcase(
    group: list[Run], open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("obd.ui.headline.showcase_runs", lambda: group)
    at = open_page()
    assert at.metric
    assert spec(at)["yAxis"]["data"] == ["DBC", "PBC"]


def test_distil_shows_losses_returns_and_the_result(group: list[Run], open_page: Open) -> None:
    at = open_page("distill")
    assert "**20.0 ± 1.0**" in words(at)
    losses, returns = spec(at, 0), spec(at, 2)
    assert losses["xAxis"]["max"] == group[0].status()["outer_steps"]
    assert len(losses["series"][1]["data"]) == losses["xAxis"]["max"]
    assert [series["name"] for series in returns["series"] if "name" in series] == ["DBC", "PBC"]
    assert at.query_params["group"] == group[0].group


def fill_in_form(at: AppTest, steps: int) -> None:
    """Eight DBC pairs of the Pendulum dataset."""
    at.selectbox(key="dataset").select("test/pendulum/random-v0")
    at.button_group(key="objectives").set_value(["dbc"])
    at.number_input(key="setting main size").set_value(8)
    at.number_input(key="setting default steps").set_value(steps)


def test_distil_runs_start_to_end(teacher: Path, open_page: Open) -> None:
    at = open_page("distill")
    fill_in_form(at, steps=6)
    at.number_input(key="setting default hidden_width").set_value(8)
    at.number_input(key="setting default inner_steps").set_value(3)
    at.button(key="start").click().run()
    assert not at.exception
    (runs,) = list_groups().values()
    assert runs[0].config.steps == 6 and runs[0].config.seconds is None and runs[0].config.size == 8
    wait_until(at, lambda _: runs[0].status()["state"] in ("finished", "failed"))
    at.run()
    assert runs[0].status()["state"] == "finished", runs[0].status()
    assert "normalised return" in words(at)


def test_distil_without_objective_says_so_and_starts_nothing(open_page: Open) -> None:
    at = open_page("distill")
    at.button_group(key="objectives").set_value([])
    at.button(key="start").click().run()
    assert [error.value for error in at.error] == ["Choose at least one objective."]
    assert list_groups() == {}


def test_distil_without_a_fitting_teacher_says_so_and_starts_nothing(teacher: Path, open_page: Open) -> None:
    at = open_page("distill")
    at.selectbox(key="dataset").select("test/pendulum/random-v0")
    at.number_input(key="setting main size").set_value(8)
    at.button(key="start").click().run()
    assert len(at.error) == 1 and "there is none for this dataset yet" in at.error[0].value
    without_values = dataclasses.replace(load_teacher(teacher), critics=())
    teachers_dir().mkdir(parents=True, exist_ok=True)
    save_teacher(teachers_dir() / "cloned.safetensors", without_values)
    at.button_group(key="objectives").set_value(["dbc", "av_pbc"])
    at.button(key="start").click().run()
    assert len(at.error) == 1 and "no action values" in at.error[0].value
    at.run()  # as a timer does
    assert len(at.error) == 1
    at.number_input(key="setting main size").set_value(9).run()
    assert not at.error
    assert list_groups() == {}


def test_distil_stop_then_resume(teacher: Path, open_page: Open) -> None:
    at = open_page("distill")
    fill_in_form(at, steps=100_000)
    at.button(key="start").click().run()
    (runs,) = list_groups().values()
    wait_until(at, lambda _: runs[0].status()["state"] == "running")
    at.button(key="stop").click().run()
    wait_until(at, lambda at: "resume" in [b.key for b in at.button])
    assert "Stopped" in words(at)
    at.button(key="resume").click().run()
    assert not at.exception
    wait_until(at, lambda _: runs[0].status()["state"] == "running")
    at.button(key="stop").click().run()
    wait_until(at, lambda _: runs[0].status()["state"] == "stopped")


def test_a_second_start_is_queued_and_says_so(teacher: Path, open_page: Open) -> None:
    at = open_page("distill")
    fill_in_form(at, steps=100_000)
    at.button(key="start").click().run()
    wait_until(at, lambda _: state.job_queue().active() is not None)
    at.button(key="start").click().run()
    assert len(list_groups()) == 1 and "under way already" in at.toast[0].value  # it would come out the same
    at.number_input(key="setting main seed").set_value(1)
    at.button(key="start").click().run()
    assert "Queued: 1 run ahead" in words(at)
    assert len(list_groups()) == 2
    own = [label for label in at.selectbox(key="run choice").options if not label.startswith("Showcase")]
    assert len(set(own)) == 2
    at.button(key="stop").click().run()  # of the queued one, which stays on show
    second = at.query_params["group"]
    assert list_groups()[second][0].status()["state"] == "stopped"
    assert "Stopped" in words(at)


def test_a_processor_without_matrix_units_starts_with_lighter_students_of_four_columns(
    teacher: Path, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("obd.config", "obd.ui.widgets"):
        monkeypatch.setattr(f"{module}.usual_preset", lambda: "light")
    at = open_page("distill")
    assert at.selectbox(key="preset").value == "light"
    at.selectbox(key="dataset").select("test/pendulum/random-v0")
    at.button_group(key="objectives").set_value(["dbc"])
    at.button(key="start").click().run()
    (runs,) = list_groups().values()
    config = runs[0].config
    assert (config.preset, config.hidden_width, config.columns) == ("light", 256, 4)


def test_distil_pause_then_continue(teacher: Path, open_page: Open) -> None:
    at = open_page("distill")
    fill_in_form(at, steps=100_000)
    at.button(key="start").click().run()
    (runs,) = list_groups().values()
    wait_until(at, lambda _: runs[0].status()["state"] == "running")
    at.run().button(key="pause").click().run()
    wait_until(at, lambda at: "resume" in [b.key for b in at.button])
    assert runs[0].status()["state"] == "paused" and state.job_queue().active() is None
    assert "Paused" in words(at)
    assert at.button(key="resume").label == "Continue"
    at.button(key="resume").click().run()
    wait_until(at, lambda _: runs[0].status()["state"] == "running")
    at.run().button(key="stop").click().run()
    wait_until(at, lambda _: runs[0].status()["state"] == "stopped")


def test_distil_maps_the_states_of_every_objective(group: list[Run], open_page: Open) -> None:
    at = open_page("distill")
    wait_until(at, lambda at: "standard deviations per dimension" in words(at))
    (live,) = (spec(at, n) for n in range(3) if any(s["type"] == "lines" for s in spec(at, n)["series"]))
    moved = {s["name"]: s["data"] for s in live["series"] if s["type"] == "scatter"}
    assert list(moved) == ["original states", "DBC", "PBC"]
    assert len(moved["DBC"]) == len(moved["PBC"]) == group[0].config.size
    assert moved["DBC"] != moved["PBC"]
    trails = {s["name"]: [line["coords"] for line in s["data"]] for s in live["series"] if s["type"] == "lines"}
    assert [end for _, end in trails["PBC"]] == moved["PBC"]
    assert [begin for begin, _ in trails["PBC"]] == [begin for begin, _ in trails["DBC"]]  # the same real states


def test_use_these_settings_fills_in_the_form(teacher: Path, open_page: Open) -> None:
    config = tiny_config(teacher, objective="pbc", steps=6, seed=11, outer_step_size=0.3, learn_step_sizes=False)
    run = create_run(config)
    run.write_status(state="stopped")
    at = open_page("distill", group=run.group)
    at.button(key="duplicate").click().run()
    assert not at.exception and not at.error
    at.button(key="start").click().run()
    started = next(runs for name, runs in list_groups().items() if name != run.group)
    assert [one.config for one in started] == [config]


def test_the_command_line_has_the_recorded_steps(group: list[Run], open_page: Open) -> None:
    at = open_page("distill")
    commands = [code.value for code in at.code]
    assert len(commands) == 2
    assert all(f"--steps {group[0].status()['outer_steps']} " in command for command in commands)
    assert [("--objective dbc" in c, "--objective pbc" in c) for c in commands] == [(True, False), (False, True)]


def test_a_waiting_run_can_be_seen_and_taken_out_of_the_queue(teacher: Path, open_page: Open) -> None:
    at = open_page("distill")
    fill_in_form(at, steps=100_000)
    at.button(key="start").click().run()
    wait_until(at, lambda _: state.job_queue().active() is not None)
    first = at.query_params["group"]
    at.number_input(key="setting main seed").set_value(1)
    at.button(key="start").click().run()
    second = at.query_params["group"]
    said = words(at)
    assert "Queue" in said
    labels = at.selectbox(key="run choice").options  # both of the same minute: numbered there and in the queue
    assert all(label in said for label in labels if not label.startswith("Showcase"))
    at.button(key=f"show {first}").click().run()
    assert at.query_params["group"] == first
    at.button(key=f"unqueue {second}").click().run()
    assert state.job_queue().waiting() == []
    assert list_groups()[second][0].status()["state"] == "stopped"
    assert list_groups()[first][0].status()["state"] in ("calibrating", "running")


def test_home_says_what_the_clip_shows_and_leads_on(open_page: Open) -> None:
    at = open_page()
    shots = json.loads((showcase_dir() / "rollouts.json").read_text())["shots"]
    shown = next(line.value for line in at.caption if line.value.startswith("One episode"))
    assert all(f"{shot['score']:.0f}" in shown for shot in shots)
    assert {"Race the objectives", "Map the states"} <= {link.proto.label for link in at.get("page_link")}


def test_the_run_on_show_is_chosen_above_the_form(open_page: Open) -> None:
    at = open_page("distill")
    assert [choice.key for choice in at.sidebar.selectbox][:2] == ["run choice", "dataset"]


def test_an_interrupted_run_is_explained_once(group: list[Run], open_page: Open) -> None:
    for run in group:
        run.write_status(state="interrupted", message="The process ended while this run was active; resume it.")
    said = words(open_page("distill", group=group[0].group))
    assert "Resume goes on" in said and "resume it" not in said


def test_a_run_deleted_while_it_is_shown(group: list[Run], open_page: Open) -> None:
    at = open_page("distill")
    for run in group:
        shutil.rmtree(run.path)
    at.run()
    assert not at.exception


def test_a_damaged_run_is_a_sentence(group: list[Run], open_page: Open) -> None:
    (group[0].path / "snapshots" / "00000000.npz").write_bytes(b"no zip")
    at = open_page("states", objective="dbc")
    assert len(at.error) == 1
    assert "damaged" in at.error[0].value


def test_an_unexpected_error_shows_no_traceback(
    group: list[Run], open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("obd.ui.mapdata.pca", broken)
    at = open_page("states")
    assert len(at.error) == 1
    assert "secret" not in words(at)


WIDGETS = ("button_group", "selectbox", "number_input", "radio", "multiselect", "slider", "text_input")


@pytest.mark.parametrize("page", ("data", "distill", "states", "rollouts", "compare", "learn"))
def test_a_rerun_does_not_overwrite_what_somebody_is_choosing(page: str, group: list[Run], open_page: Open) -> None:
    """A value that is sent to the browser again undoes a click that was made while the page was being drawn."""
    at = open_page(page)
    at.run()
    drawn = [element.proto for kind in WIDGETS for element in at.get(kind)]
    assert drawn
    assert [proto.label for proto in drawn if proto.set_value] == []
