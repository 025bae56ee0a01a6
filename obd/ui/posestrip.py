"""The live strip of poses: the robot in a few synthetic states, beside the real states these began as.

Drawn schematically on purpose: a strip costs 20 ms of one core, with MuJoCo's renderer it would be ten times that
and the run would feel it.  A background task draws a new strip at most every few seconds.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from obd.insight.pose import supports_pose
from obd.ui import state
from obd.ui.livemap import observations
from obd.ui.monitor import RunView
from obd.ui.tasks import Task
from obd.ui.theme import NEUTRAL, style

POSES = 4  # the first pairs of the set, whose order is random: not picked
WIDTH, HEIGHT, GAP = 176, 104, 6
EVERY = 3.0  # seconds between two strips at least


@dataclass(frozen=True)
class Strip:
    """``rows``: (key of the objective, or "start" for the real states; picture ``[height, width, 3]`` uint8)."""

    steps: tuple[int, ...]
    rows: list[tuple[str, NDArray[np.uint8]]]


@dataclass
class Board:
    """The newest strip of a group and the task that draws the next one; shared by tabs."""

    strip: Strip | None = None
    task: Task | None = None
    asked: float = 0.0


@st.cache_resource(max_entries=8, show_spinner=False)
def board(_group: str) -> Board:
    return Board()


def newest(group: str, views: Sequence[RunView]) -> Strip | None:
    """The newest strip of a group, at once; a newer one is ordered when there are newer snapshots.

    None before the first one, and for a robot whose poses cannot be drawn.
    """
    info = state.dataset_info(views[0].dataset)
    shown = board(group)
    if info is None or not supports_pose(info.env_id):
        return None
    if shown.task is not None and shown.task.state == "done":
        shown.strip, shown.task = shown.task.result, None
    ready = [(view.objective, str(view.run.path), steps) for view in views if (steps := view.run.snapshot_steps())]
    newest_steps = tuple(steps[-1] for _, _, steps in ready)
    due = shown.strip is None or shown.strip.steps != newest_steps
    if ready and due and shown.task is None and time.monotonic() - shown.asked > EVERY:
        env_id, shown.asked = info.env_id, time.monotonic()
        shown.task = Task(lambda _task: draw(env_id, ready), "poses")
    return shown.strip


def draw(env_id: str, ready: Sequence[tuple[str, str, list[int]]]) -> Strip:
    """Strips of (objective, run directory, snapshot steps); the real states too when all began at the same ones."""
    from obd.render.poses import poses_strip  # MuJoCo, not before it is needed

    starts = [observations(path, steps[0])[:POSES] for _, path, steps in ready]
    rows = []
    if all(np.array_equal(starts[0], start) for start in starts):
        rows.append(("start", starts[0], NEUTRAL))
    rows += [
        (key, observations(path, steps[-1])[:POSES], style(key).colour) for key, path, steps in ready if steps[-1] > 0
    ]
    pictures = [
        (key, poses_strip(env_id, states, WIDTH, HEIGHT, accents=colour, gap=GAP, schematic=True))
        for key, states, colour in rows
    ]
    return Strip(tuple(steps[-1] for _, _, steps in ready), pictures)
