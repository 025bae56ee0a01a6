from __future__ import annotations

import base64
import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from obd.engine.playground import HIDDEN, Settings
from obd.ui import playground
from obd.ui.playground import Lane, Runner, Scene, still_life

TINY = Scene("tiny", (Lane(Settings("pbc", 4, 5), "Student"),), autoplay=False)


def wait(tab: Runner, over: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    end = time.monotonic() + 60
    while True:
        frame = tab.frame()
        if frame is not None and over(frame):
            return frame
        assert time.monotonic() < end and not tab.error
        time.sleep(0.02)


def paused() -> tuple[Runner, dict[str, Any]]:
    tab = Runner()
    tab.show(TINY)
    return tab, wait(tab, lambda _: True)


def test_a_frame_holds_what_the_browser_draws() -> None:
    tab, frame = paused()
    (lane,) = frame["lanes"]
    assert not frame["playing"] and lane["steps"] == 0 and len(lane["points"]) == len(lane["arrows"]) == 4
    widths = [3, *HIDDEN, 1]
    assert frame["still"]["widths"] == widths
    size = sum(i * o + o for i, o in itertools.pairwise(widths))
    assert len(base64.b64decode(lane["weights"])) == 4 * size
    assert 0 <= lane["agreement"] <= 1 and lane["returns"][0][1] < 0
    assert not tab.moving(TINY)


def test_a_dragged_point_changes_the_student_and_is_acknowledged_once() -> None:
    tab, frame = paused()
    drag = {"seq": 1, "kind": "move", "lane": 0, "index": 2, "x": 0.25, "y": -0.5}
    tab.edit([drag])
    moved = wait(tab, lambda frame: frame["ack"] == 1)
    np.testing.assert_allclose(moved["lanes"][0]["points"][2][:2], [0.25, -0.5], atol=1e-3)
    assert moved["lanes"][0]["weights"] != frame["lanes"][0]["weights"]
    tab.edit([drag | {"x": 0.9}, {"seq": 2, "kind": "add", "x": 0.0, "y": 0.0}])  # the first is known already
    added = wait(tab, lambda frame: frame["ack"] == 2)
    assert len(added["lanes"][0]["points"]) == 5 and added["lanes"][0]["points"][2][0] == pytest.approx(0.25, abs=1e-3)
    tab.edit([{"seq": 3, "kind": "delete", "index": 4}])
    assert len(wait(tab, lambda frame: frame["ack"] == 3)["lanes"][0]["points"]) == 4


def test_frames_keep_coming_until_an_edit_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    tab, _ = paused()
    tab.close()  # a thread that has no time at all
    monkeypatch.setattr(Runner, "_run", lambda self: None)
    tab.edit([{"seq": 1, "kind": "step"}])
    assert tab.moving(TINY)


def test_nonsense_from_the_browser_is_ignored() -> None:
    tab, _ = paused()
    nonsense = [
        {"seq": "x"},
        {"seq": 1, "kind": "format disk"},
        {"seq": 2, "kind": "move", "lane": 9, "index": "0", "x": 0.1, "y": 0.1},
        {"seq": 3, "kind": "move", "index": 0, "x": float("nan"), "y": 1},
        {"seq": 4, "kind": "turn", "index": 99, "action": 1},
        {"seq": 5, "kind": "inner", "index": 10**9},
    ]
    tab.edit(nonsense)
    assert wait(tab, lambda frame: frame["ack"] == 5)["lanes"][0]["steps"] == 0


def test_play_step_inner_and_reset() -> None:
    tab, first = paused()
    tab.edit([{"seq": 1, "kind": "inner", "index": 0}])
    assert wait(tab, lambda frame: frame["ack"] == 1)["inner"] == 0
    tab.edit([{"seq": 2, "kind": "step"}])
    stepped = wait(tab, lambda frame: frame["ack"] == 2)
    assert stepped["lanes"][0]["steps"] == 1 and stepped["inner"] is None
    tab.edit([{"seq": 3, "kind": "play"}])
    wait(tab, lambda frame: frame["lanes"][0]["steps"] > 4 and frame["playing"])
    tab.edit([{"seq": 4, "kind": "pause"}, {"seq": 5, "kind": "reset"}])
    reset = wait(tab, lambda frame: frame["ack"] == 5)
    assert reset["lanes"][0]["points"] == first["lanes"][0]["points"] and reset["lanes"][0]["steps"] == 0


def test_other_settings_go_on_from_the_same_points_and_another_scene_starts_afresh() -> None:
    tab, first = paused()
    tab.show(Scene("tiny", (Lane(Settings("dbc", 6, 5), "Student"),), autoplay=False))
    wider = wait(tab, lambda frame: len(frame["lanes"][0]["points"]) == 6)
    assert wider["lanes"][0]["points"][:4] == first["lanes"][0]["points"]
    frozen = Lane(Settings("dbc", 4, 5), "Random", frozen=True)
    tab.show(Scene("race", (frozen, TINY.lanes[0])))
    race = wait(tab, lambda frame: len(frame["lanes"]) == 2 and frame["lanes"][1]["steps"] > 2)
    assert race["lanes"][0]["steps"] == 0 and race["lanes"][0]["key"] == "random_selection"


def test_the_thread_ends_when_nobody_looks_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playground, "GONE_SECONDS", 0.2)
    tab, frame = paused()
    thread = tab._thread
    assert thread is not None
    thread.join(30)
    assert not thread.is_alive()
    tab.edit([{"seq": 1, "kind": "move", "lane": 0, "index": 0, "x": 0.5, "y": 0.5}])
    moved = wait(tab, lambda frame: frame["ack"] == 1)
    assert moved["lanes"][0]["points"][1] == frame["lanes"][0]["points"][1]


def test_it_pauses_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playground, "ROUND", 3)
    tab = Runner()
    tab.show(Scene("short", TINY.lanes))
    assert wait(tab, lambda frame: not frame["playing"])["lanes"][0]["steps"] == 3


def test_what_is_asked_for_differs_between_the_objectives() -> None:
    still = still_life()
    assert still["targets"]["dbc"] != still["targets"]["pbc"]
    weights = np.frombuffer(base64.b64decode(still["weights"]), np.int8)
    assert weights.max() == 127 and weights.min() < 40
