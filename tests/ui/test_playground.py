from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from obd.engine.playground import HIDDEN, Settings, act
from obd.ui import playground
from obd.ui.playground import Lane, Runner, Scene
from obd.ui.playground_frame import pack_weights, problem, still_life

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
    assert still_life()["widths"] == widths
    size = sum(i * o + o for i, o in itertools.pairwise(widths))
    assert len(lane["weights"]["values"]) == pytest.approx(2 * size, abs=4)
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


def test_what_comes_late_from_another_scene_is_ignored() -> None:
    tab, _ = paused()
    tab.edit([{"seq": 1, "kind": "play"}], "another")
    assert not tab.moving(TINY)
    tab.edit([{"seq": 1, "kind": "step"}], "tiny")
    frame = wait(tab, lambda frame: frame["ack"] == 1)
    assert frame["lanes"][0]["steps"] == 1 and not frame["playing"]


def test_frames_keep_coming_until_an_edit_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    tab, _ = paused()
    tab.close()  # a thread that has no time at all
    monkeypatch.setattr(Runner, "_run", lambda self: None)
    tab.edit([{"seq": 1, "kind": "step"}])
    assert tab.moving(TINY)


def test_frames_keep_coming_until_a_pause_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    tab, _ = paused()
    tab.edit([{"seq": 1, "kind": "play"}])
    wait(tab, lambda frame: frame["playing"])
    monkeypatch.setattr(Runner, "_publish", lambda *args, **rest: None)  # the last frame takes its time
    tab.playing = False
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


def test_it_pauses_by_itself_after_some_steps_or_some_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playground, "ROUND", 3)
    tab = Runner()
    tab.show(Scene("short", TINY.lanes))
    assert wait(tab, lambda frame: not frame["playing"])["lanes"][0]["steps"] == 3
    monkeypatch.setattr(playground, "ROUND_SECONDS", -1.0)
    tab.edit([{"seq": 1, "kind": "play"}])
    assert wait(tab, lambda frame: frame["ack"] == 1 and not frame["playing"])["lanes"][0]["steps"] == 4


def unpack(packed: dict[str, Any], tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """What the browser reads: two numbers in every three bytes."""
    triples = np.frombuffer(base64.b64decode(packed["values"]), np.uint8).reshape(-1, 3).astype(int)
    first, second = triples[:, 0] << 4 | triples[:, 1] >> 4, (triples[:, 1] & 15) << 8 | triples[:, 2]
    flat = np.stack([first, second], 1).ravel() - 2048
    ends = np.cumsum([tensor.numel() for tensor in tensors])
    assert len(flat) - ends[-1] in (0, 1)
    return [
        torch.tensor(scale * values.reshape(tensor.shape), dtype=tensor.dtype)
        for scale, values, tensor in zip(packed["scales"], np.split(flat, ends), tensors, strict=False)
    ]


@pytest.mark.parametrize("steps", [0, 60])
def test_weights_on_the_wire_give_the_same_picture(steps: int) -> None:
    ground = Lane(Settings("av_pbc", 24, 40), "Student").begin()
    for _ in range(steps):
        ground.step()
    student = ground.students()
    tensors = [tensor for layer in student for tensor in layer]
    shown = unpack(pack_weights([tensor[0].numpy() for tensor in tensors]), tensors)
    angles, velocities = (x.ravel() for x in np.meshgrid(np.linspace(-3, 3, 61), np.linspace(-8, 8, 41)))
    exact, seen = (
        act(s, problem(), angles, velocities) for s in (student, list(zip(shown[::2], shown[1::2], strict=True)))
    )
    assert np.abs(exact).max() > 0.5
    np.testing.assert_allclose(seen, exact, atol=2 / 255)  # one of the shades that a screen tells apart


def test_all_weights_may_be_nothing() -> None:
    zeros = [np.zeros((2, 2)), np.zeros(1)]
    shown = unpack(pack_weights(zeros), [torch.zeros(2, 2), torch.zeros(1)])
    assert all(bool((tensor == 0).all()) for tensor in shown)


def test_the_film_of_the_inner_loop_ends_with_the_trained_student(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playground, "INNER_PER_SECOND", 20)
    monkeypatch.setattr(playground, "INNER_PAUSE", 5)
    tab = Runner()
    tab.show(Scene("film", TINY.lanes, mode="inner"))
    seen = {wait(tab, lambda frame: frame["playing"])["inner"]}
    assert seen <= set(range(10))
    ended = wait(tab, lambda frame: not frame["playing"])
    assert ended["inner"] is None and ended["lanes"][0]["steps"] == 0
    tab.edit([{"seq": 1, "kind": "play"}])
    assert wait(tab, lambda frame: frame["ack"] == 1)["playing"]


def test_a_frame_holds_nothing_that_never_changes_and_no_whole_history() -> None:
    tab, frame = paused()
    tab.edit([{"seq": n, "kind": "step"} for n in range(1, 31)])
    later = wait(tab, lambda frame: frame["ack"] == 30)
    assert len(later["lanes"][0]["losses"]) == 2
    assert len(json.dumps(later)) < len(json.dumps(frame)) + 500 < 6000


def test_what_is_asked_for_differs_between_the_objectives() -> None:
    still = still_life()
    assert still["targets"]["dbc"] != still["targets"]["pbc"]
    weights = np.frombuffer(base64.b64decode(still["weights"]), np.int8)
    assert weights.max() == 127 and weights.min() < 40
