from __future__ import annotations

import pytest

from obd.engine.playground import Settings
from obd.ui import story


def test_bounds_grow_with_the_square_and_with_the_horizon() -> None:
    assert story.bound_factors(0.9) == pytest.approx((200, 10))
    assert story.bound_factors(0.95) == pytest.approx((800, 20))  # twice the horizon
    assert "20 steps" in story.bounds_sentence(0.95) and "800" in story.bounds_sentence(0.95)
    marks = [series["data"][0] for series in story.bounds_chart(0.95)["series"] if series["type"] == "scatter"]
    assert marks == [[pytest.approx(20), pytest.approx(800)], [pytest.approx(20), pytest.approx(20)]]


def test_crowd_sentence_counts() -> None:
    assert story.crowd_sentence([-150, -300, -1400]).startswith("2 of 3 fresh students")
    assert "-1400" in story.crowd_sentence([-150, -300, -1400])
    assert "being trained" in story.crowd_sentence([])


def test_every_moving_step_has_pictures_and_a_sentence() -> None:
    lane = {"agreement": 0.5, "returns": [[0, -900]], "steps": 3, "inner_steps": 40, "label": "DBC", "losses": []}
    for key in story.KEYS:
        scene = story.scene(key, Settings())
        assert (scene is None) == (key not in story.VIEWS)
        if scene is None:
            continue
        references = {"teacher": -160.0, "nothing": -1300.0}
        frame = {"lanes": [lane] * len(scene.lanes), "references": references, "inner": 5, "crowd": [-900]}
        assert "900" in story.said(key, frame) or "50 %" in story.said(key, frame)


@pytest.mark.parametrize(("key", "drawn"), [("loops", True), ("aims", False)])
def test_arrows_are_sent_where_they_are_drawn(key: str, drawn: bool) -> None:
    lane = {"agreement": 0.5, "returns": [[0, -900]], "steps": 0, "inner_steps": 40, "label": "PBC", "losses": []}
    frame = {"lanes": [lane | {"arrows": [[0, 1]]}], "references": {"teacher": -160.0}, "inner": None, "crowd": []}
    shown = story.shown(key, frame)
    assert ("arrows" in shown["lanes"][0]) == drawn and shown["lanes"][0]["label"] == "PBC"
    assert shown["said"] == story.said(key, frame)


def test_the_two_loops_are_told_by_what_each_of_them_does() -> None:
    lane = {"agreement": 0.5, "returns": [[0, -900]], "steps": 0, "inner_steps": 40, "label": "PBC", "losses": []}
    frame = {"lanes": [lane], "references": {}, "inner": 0, "crowd": []}
    assert story.said("loops", frame).startswith("After 0 of 40 inner steps an untrained student pushes")
    assert story.said("loops", frame | {"inner": 5}).startswith("After 5 of 40 inner steps the student pushes")
    assert "40 of 40 inner" in story.said("loops", frame | {"inner": None})
    further = lane | {"steps": 2, "losses": [0.8, 0.6]}
    said = story.said("loops", frame | {"lanes": [further], "inner": None})
    assert "After 2 outer steps" in said and "0.80 before the first step, 0.60 before the last" in said


def test_figures_sentence_says_when_the_order_is_not_established() -> None:
    from obd.ui.charts import Estimate

    paper = {"dbc": 20.9, "pbc": 30.4, "av_pbc": 38.2}
    ours = {"dbc": Estimate(2, 1, 3), "pbc": Estimate(26, 20, 32), "av_pbc": Estimate(28, 22, 34)}
    assert "overlap" in story.figures_sentence(paper, ours)
    apart = {**ours, "av_pbc": Estimate(40, 36, 44)}
    assert "overlap" not in story.figures_sentence(paper, apart)
