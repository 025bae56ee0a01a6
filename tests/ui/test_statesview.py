from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from obd.ui import statesview


def chosen(steps: list[int]) -> int:
    return statesview.chosen_step(SimpleNamespace(group="g", snapshot_steps=lambda: steps))  # type: ignore[arg-type]


def test_the_pose_follows_a_run_that_goes_on_unless_the_time_line_was_left_earlier(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session: dict[str, Any] = {"group": "g"}
    monkeypatch.setattr(statesview.st, "session_state", session)

    def pick(step: int, newest: bool) -> None:
        session["state map"] = {"picked": {"key": "pbc", "indices": [3], "step": step, "newest": newest}}
        statesview._map_picked()

    pick(12, newest=True)  # the map goes on to step 15 by itself, and the pose with it
    assert (session["state"], chosen([0, 12]), chosen([0, 12, 15])) == (3, 12, 15)
    pick(12, newest=False)
    assert chosen([0, 12, 15, 18]) == 12
    session["state map"] = {"step": {"step": 18, "newest": True}}
    statesview._map_moved()
    assert chosen([0, 12, 15, 18, 21]) == 21
