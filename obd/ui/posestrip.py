"""The live strip of poses: the robot in a few synthetic states, beside the real states these began as.

Drawn schematically on purpose: a strip costs 20 ms of one core, with MuJoCo's renderer it would be ten times that
and the run would feel it.  A background task draws a new strip at most every few seconds.
"""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image

from obd.insight.pose import supports_pose
from obd.ui import state
from obd.ui.livemap import observations
from obd.ui.monitor import RunView
from obd.ui.tasks import Task
from obd.ui.theme import NEUTRAL, style

POSES = 4  # the first pairs of the set, whose order is random: not picked
WIDTH, HEIGHT, GAP = 176, 104, 6
EVERY = 3.0  # seconds between two strips at least


Rows = list[tuple[str, str]]  # (objective, or "start" for the real states; picture as a data: address)


@dataclass
class Board:
    """The newest strip of a group and the task that draws the next one; shared by tabs."""

    rows: Rows | None = None
    steps: tuple[int, ...] = ()  # the snapshots of the strip that was ordered last
    task: Task | None = None
    asked: float = -EVERY


@st.cache_resource(max_entries=8, show_spinner=False)
def board(group: str) -> Board:  # one per group; an argument with a leading underscore would not count
    return Board()


def newest(group: str, views: Sequence[RunView]) -> Rows | None:
    """The newest strip of a group, at once; a newer one is ordered when there are newer snapshots.

    None before the first one, and for a robot whose poses cannot be drawn.
    """
    shown, ready, env_id = board(group), _ready(views), _env_id(views)
    if shown.task is not None and shown.task.state != "running":  # one that failed is not tried again
        shown.rows, shown.task = shown.task.result or shown.rows, None
    due = env_id is not None and bool(ready) and _steps(ready) != shown.steps
    if due and shown.task is None and time.monotonic() - shown.asked > EVERY:
        shown.steps, shown.asked = _steps(ready), time.monotonic()
        shown.task = Task(lambda _task: draw(str(env_id), ready), "poses")
    return shown.rows


def settled(group: str, views: Sequence[RunView]) -> bool:
    """Whether there is no strip to wait for."""
    shown = board(group)
    return shown.task is None and (_env_id(views) is None or _steps(_ready(views)) in ((), shown.steps))


def _ready(views: Sequence[RunView]) -> list[tuple[str, str, list[int]]]:
    """(objective, run directory, snapshot steps) of the runs that have snapshots."""
    return [(view.objective, str(view.run.path), steps) for view in views if (steps := view.run.snapshot_steps())]


def _steps(ready: Sequence[tuple[str, str, list[int]]]) -> tuple[int, ...]:
    return tuple(steps[-1] for _, _, steps in ready)


def _env_id(views: Sequence[RunView]) -> str | None:
    """The robot, if its poses can be drawn."""
    info = state.dataset_info(views[0].dataset)
    return info.env_id if info is not None and supports_pose(info.env_id) else None


def draw(env_id: str, ready: Sequence[tuple[str, str, list[int]]]) -> Rows:
    """Strips of (objective, run directory, snapshot steps); the real states too when all began at the same ones."""
    from obd.render.poses import poses_strip  # MuJoCo, not before it is needed

    starts = [observations(path, steps[0])[:POSES] for _, path, steps in ready]
    rows = []
    if all(np.array_equal(starts[0], start) for start in starts):
        rows.append(("start", starts[0], NEUTRAL))
    rows += [
        (key, observations(path, steps[-1])[:POSES], style(key).colour) for key, path, steps in ready if steps[-1] > 0
    ]
    return [
        (key, _address(poses_strip(env_id, states, WIDTH, HEIGHT, accents=colour, gap=GAP, schematic=True)))
        for key, states, colour in rows
    ]


def _address(picture: NDArray[np.uint8]) -> str:
    """The picture ``[height, width, 3]`` as an address: a file would be gone before a slow browser asks for it."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "webp", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"


def as_html(rows: Rows) -> str:
    """One line per row: the sign of the objective and its poses."""
    lines = []
    for key, address in rows:
        name = "real states they began as" if key == "start" else f"{style(key).label} states now"
        label = "Start" if key == "start" else f'<span style="color:{style(key).colour}">{style(key).glyph}</span>'
        label += "" if key == "start" else f"&nbsp;<b>{style(key).label}</b>"
        lines.append(f'<span>{label}</span><img src="{address}" alt="Poses of the robot: {name}">')
    return f'<div class="obd-poses">{"".join(lines)}</div>'
