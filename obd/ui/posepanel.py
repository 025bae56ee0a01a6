"""The pose of one distilled state, what its action does, and its nearest relatives in the data."""

from __future__ import annotations

import base64
import io
import math
from concurrent.futures import wait
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image as PillowImage

from obd.data.dataset import OfflineDataset
from obd.errors import Cancelled
from obd.insight.pose import has_torso, torso
from obd.insight.report import SetReport, nearest_originals
from obd.insight.transition import step_from
from obd.paths import cache_dir
from obd.render.poses import PosePainter, Sheet, pose_sheet
from obd.render.scene import Image
from obd.runs.store import Run
from obd.ui import state
from obd.ui.sentences import minus
from obd.ui.tasks import Task, TaskRegistry
from obd.ui.theme import NEUTRAL, style

SIDE = 320  # pixels; a square picture is framed wide enough for a robot that stands upright
RELATIVES = 3
PATIENCE = 1.5  # seconds in which a picture may come before its place is shown empty
EMPTY = (
    "data:image/svg+xml;utf8,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 1 1'>"
    "<rect width='1' height='1' fill='%238A8F98' opacity='0.15'/></svg>"
)

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Pose:
    """Pictures (as ``data:`` addresses) of a state, of the state after its action, and of its relatives.

    ``postures [2, 2]``: height and pitch before and after, None for a robot that has none.
    ``distances``: of the relatives, in standard deviations.
    """

    before: str
    after: str
    relatives: list[str]
    distances: Array
    postures: Array | None
    kind: str


def _close(painter: PosePainter) -> None:
    painter.close()


@st.cache_resource(on_release=_close, show_spinner=False)
def painter() -> PosePainter:
    """The one drawing thread of the app."""
    return PosePainter()


@st.cache_resource(show_spinner=False)
def _drawings() -> TaskRegistry:
    """Poses drawn lately.  A registry of their own: a dozen clicks must not push out a measurement."""
    return TaskRegistry()


def draw(
    task: Task, brush: PosePainter, dataset: OfflineDataset, observation: Array, action: Array, accent: str
) -> Pose:
    """Draw one distilled pair ``[obs_dim]``, ``[act_dim]`` (raw, unit range) with its nearest original states."""
    env_id = dataset.env_id
    following = step_from(env_id, observation[None], action[None])[0]
    task.progress(0.2)
    indices, distances = nearest_originals(dataset, observation, RELATIVES)
    task.progress(0.3)
    pair = np.stack([observation, following])
    jobs = [
        brush.paint(env_id, pair, SIDE, SIDE, accent=accent),
        brush.paint(env_id, dataset.observations[indices], SIDE, SIDE, accent=NEUTRAL),
    ]
    while wait(jobs, timeout=0.1).not_done:
        if task.should_stop():
            raise Cancelled
    (before, after), relatives = ([as_address(picture) for picture in job.result()] for job in jobs)
    kind = brush.kind(env_id, SIDE, SIDE)
    return Pose(before, after, relatives, distances, torso(env_id, pair) if has_torso(env_id) else None, kind)


def as_address(picture: Image) -> str:
    """The picture itself as an address: Streamlit deletes picture files that a slow browser may still ask for."""
    buffer = io.BytesIO()
    PillowImage.fromarray(picture).save(buffer, "WEBP", quality=85)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def pose(run: Run, step: int, index: int) -> Task:
    """The drawing of a state at a snapshot: usually done, after ``PATIENCE`` seconds perhaps still running."""
    key = ("pose", str(run.path), step, index)
    snapshot, accent = run.snapshot(step), style(run.config.objective).colour
    shelf, brush, dataset_id = state.shelf(), painter(), run.config.dataset

    def work(task: Task) -> Pose:
        return draw(task, brush, shelf.get(dataset_id), snapshot.observations[index], snapshot.actions[index], accent)

    task = _drawings().start(key, work, "pose")
    task.join(PATIENCE)
    return task


def sheet(run: Run, step: int, env_id: str) -> tuple[tuple[object, ...], Sheet | None]:
    """All poses of a snapshot in one file, and its task's key; None while it is drawn."""
    key = ("sheet", str(run.path), step)
    observations, accent = run.snapshot(step).observations, style(run.config.objective).colour
    brush, folder = painter(), cache_dir() / "poses"

    def work(task: Task) -> Sheet:
        return pose_sheet(
            brush,
            env_id,
            observations,
            folder,
            accent=accent,
            on_progress=task.progress,
            should_stop=task.should_stop,
        )

    task = state.tasks().start_once(key, work, "gallery")
    task.join(0.3)
    if task.state == "done" and not task.result.path.is_file():  # the cache has been emptied since
        state.tasks().forget(key)
        return sheet(run, step, env_id)
    return key, task.result if task.state == "done" else None


def posture_words(posture: Array) -> str:
    """``pitch +12.0°, height −0.05 m``."""
    return minus(f"pitch {math.degrees(posture[1]):+z.1f}°, height {posture[0]:+z.2f} m")


def standing_sentence(index: int, report: SetReport, reference_values: dict[str, Array]) -> str:
    """Where one state stands among the data."""
    if "criticality" not in report.values:
        return f"It sits in a denser place than {report.values['density'][index]:.0f} % of the data."
    below = 100 * float((reference_values["criticality"] < report.values["criticality"][index]).mean())
    dense = report.values["density"][index]
    text = f"More critical than **{below:.0f} %** of the data, in a denser place than {dense:.0f} %"
    if "imbalance" in report.values:
        text += "; posture " + (
            "outside the teacher's usual range" if report.values["imbalance"][index] > 0 else "usual for the teacher"
        )
    return text + "."
