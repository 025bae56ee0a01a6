from __future__ import annotations

import time
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from obd.ui import story
from tests.pages.conftest import Open


def words(at: AppTest) -> str:
    kinds = ("title", "subheader", "markdown", "caption", "info", "warning", "error")
    return "\n".join(element.value for kind in kinds for element in getattr(at, kind))


def runner(at: AppTest) -> Any:
    return at.session_state["playground"]


def wait_for_frame(at: AppTest, over: Any = lambda frame: True) -> dict[str, Any]:
    end = time.monotonic() + 60
    while (frame := runner(at).frame()) is None or not over(frame):
        assert time.monotonic() < end and not runner(at).error
        time.sleep(0.05)
    return dict(frame)


@pytest.mark.parametrize("step", story.STEPS, ids=lambda step: step.key)
def test_every_step_opens_from_its_address(step: story.Step, open_page: Open) -> None:
    at = open_page("learn", step=step.key)
    assert not at.error and not at.warning
    assert at.query_params["step"] == step.key
    if step.text:
        assert step.title in words(at) and step.text.strip() in words(at)
    if step.key in story.VIEWS:
        wait_for_frame(at)
        at.run()
        assert not at.exception and not at.error
        assert len(at.get("bidi_component")) == 1


def test_next_and_back_walk_through_the_story(open_page: Open) -> None:
    at = open_page("learn")
    seen = [at.query_params["step"]]
    while not at.button(key="next").disabled:
        at.button(key="next").click().run()
        assert not at.exception
        seen.append(at.query_params["step"])
    assert tuple(seen) == story.KEYS
    at.button(key="back").click().run()
    assert at.query_params["step"] == story.KEYS[-2]


def test_an_unknown_step_is_a_sentence(open_page: Open) -> None:
    at = open_page("learn", step="../9")
    assert [warning.value for warning in at.warning] == ["There is no such step; this is the first one."]
    assert at.query_params["step"] == story.KEYS[0]


def test_sliders_of_the_playground_reach_the_thread(open_page: Open) -> None:
    at = open_page("learn", step="playground", points="7", aim="DBC")
    assert len(wait_for_frame(at)["lanes"][0]["points"]) == 7
    at.slider(key="points").set_value(5).run()
    assert not at.exception
    frame = wait_for_frame(at, lambda frame: len(frame["lanes"][0]["points"]) == 5)
    assert frame["lanes"][0]["key"] == "dbc"


def test_gamma_moves_the_bounds(open_page: Open) -> None:
    at = open_page("learn", step="bounds")
    at.select_slider(key="gamma").set_value(0.99).run()
    assert story.bounds_sentence(0.99) in words(at)


def test_figures_without_a_showcase(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("obd.ui.headline.showcase_runs", list)
    at = open_page("learn", step="figures")
    assert not at.error
    assert "no measured results" in words(at)


def test_the_code_of_the_pictures_is_sent_until_the_browser_has_it(open_page: Open) -> None:
    at = open_page("learn", step="limits")
    wait_for_frame(at)
    at.run()
    (first,) = at.get("bidi_component")
    assert "export default function" in first.proto.json and "agrees with the teacher" in first.proto.json
    runner(at).browser_has_code = True
    at.run()
    (later,) = at.get("bidi_component")
    assert '"code": null' in later.proto.json and len(later.proto.json) < 6000
