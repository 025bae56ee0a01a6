"""The live map of a run that goes on: the synthetic states of all its objectives moving over the original ones.

Nothing here may slow the page or the run: opening the data and fitting the plane happen once, in a background task,
and an update reads one small snapshot file per objective.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obd.data.dataset import OfflineDataset
from obd.insight.projection import Projection, fit_pca, sample_states
from obd.runs.store import Run
from obd.ui import state
from obd.ui.charts import Spec, pairs
from obd.ui.maps import Extent, bare_axis, extent
from obd.ui.monitor import RunView
from obd.ui.sentences import count, movement
from obd.ui.tasks import Task, TaskRegistry
from obd.ui.theme import NEUTRAL, style

ORIGINAL, PER_OBJECTIVE = 800, 300  # points on the map: about 2,000 with three objectives and their trails
MARGIN = 0.2  # of the data's extent on each side: distilled states leave it, and the axes must not move
GLIDE = 900  # milliseconds in which a state moves from one snapshot to the next

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)  # told apart by identity: one per dataset
class Plane:
    """The plane of largest variance of a dataset and ``original``, M pairs: a sample of it in that plane."""

    projection: Projection
    mean: Array
    std: Array
    original: list[list[float]]
    frame: Extent

    def normalize(self, observations: Array) -> Array:
        result: Array = (observations - self.mean) / self.std
        return result

    def place(self, observations: Array) -> Array:
        """Raw observations ``[N, obs_dim]`` -> ``[N, 2]``; beyond the frame they are put on its edge."""
        low, high = (self.frame.left, self.frame.bottom), (self.frame.right, self.frame.top)
        result: Array = np.clip(self.projection.transform(self.normalize(observations)), low, high)
        return result


@dataclass(frozen=True)
class Moving:
    """The states of one objective: where they began and where they are, N pairs each, after ``step`` outer steps.

    ``distance`` is the mean way of all of them, in standard deviations per dimension.
    """

    objective: str
    step: int
    start: list[list[float]]
    now: list[list[float]]
    distance: float


def fit_plane(dataset: OfflineDataset) -> Plane:
    """The plane of a dataset; takes milliseconds once the dataset is open."""
    chosen = dataset.observations[sample_states(dataset, ORIGINAL, 0)]
    normalized = dataset.normalize(chosen)
    projection = fit_pca(normalized)
    original = projection.transform(normalized)
    frame = extent(original, margin=MARGIN)
    return Plane(projection, dataset.observation_mean, dataset.observation_std, _rows(original), frame)


def plane(dataset_id: str) -> Plane | None:
    """The plane of a dataset, or None while it is being made in the background or the data are not there yet."""
    shelf, info = state.shelf(), state.dataset_info(dataset_id)
    if dataset_id not in shelf and (info is None or not info.available):
        return None  # not collected yet; whoever only looks on does not start that
    task = order_plane(dataset_id, shelf, state.tasks())
    return task.result if task.state == "done" else None


def settled(dataset_id: str) -> bool:
    """Whether there is no plane to wait for: it is there, or it cannot be made now."""
    if plane(dataset_id) is not None:
        return True
    task = state.tasks().get(("plane", dataset_id))
    return task is None or task.state != "running"


def order_plane(dataset_id: str, shelf: state.DatasetShelf, tasks: TaskRegistry) -> Task:
    """The background task that makes the plane of a dataset."""

    def work(task: Task) -> Plane:
        return fit_plane(shelf.get(dataset_id, task.progress, task.should_stop))

    return tasks.start_once(("plane", dataset_id), work, f"plane of {dataset_id}")


@lru_cache(maxsize=64)
def observations(path: str, step: int) -> Array:
    """The raw synthetic observations of a snapshot ``[N, obs_dim]``; a snapshot never changes."""
    return Run(Path(path)).snapshot(step).observations


@lru_cache(maxsize=64)
def placed(plane: Plane, objective: str, path: str, first: int, last: int) -> Moving:
    """One objective at snapshot ``last``; the same until the next one comes."""
    before, after = observations(path, first), observations(path, last)
    distance = movement(plane.normalize(before), plane.normalize(after))
    start, now = (_rows(plane.place(states[:PER_OBJECTIVE])) for states in (before, after))
    return Moving(objective, last, start, now, distance)


def _rows(points: Array) -> list[list[float]]:
    return pairs(points[:, 0], points[:, 1])


def positions(views: Sequence[RunView], plane: Plane) -> list[Moving]:
    """Every objective at its newest snapshot; those without one are left out."""
    return [
        placed(plane, view.objective, str(view.run.path), steps[0], steps[-1])
        for view in views
        if (steps := view.run.snapshot_steps())
    ]


def live_map(plane: Plane | None, moving: Sequence[Moving]) -> Spec:
    """Original states faint, distilled ones in colour and symbol, a thin trail from where each began.

    Updated in place, the distilled states glide to where the new snapshot has them.  Without a plane the frame alone.
    """
    frame = plane.frame if plane is not None else Extent(0, 1, 0, 1)
    shares = plane.projection.explained_variance_ratio if plane is not None else None
    names = (
        ("", "") if shares is None else (f"1st component ({100 * shares[0]:.0f} %)", f"2nd ({100 * shares[1]:.0f} %)")
    )
    series: list[Spec] = [
        {
            "type": "scatter",
            "name": "original states",
            "data": [] if plane is None else plane.original,
            "symbolSize": 3,
            "silent": True,
            "animation": False,
            "itemStyle": {"color": NEUTRAL, "opacity": 0.45},
            "z": 1,
        }
    ]
    legend: list[Spec] = [{"name": "original states", "icon": "circle"}]
    for states in moving:
        look = style(states.objective)
        legend.append({"name": look.label, "icon": look.symbol})
        series.append(
            {
                "type": "lines",
                "name": look.label,
                "coordinateSystem": "cartesian2d",
                "data": [{"coords": [a, b]} for a, b in zip(states.start, states.now, strict=True)],
                "silent": True,
                "animation": False,
                "lineStyle": {"color": look.colour, "width": 1, "opacity": 0.25, "curveness": 0},
                "z": 2,
            }
        )
        series.append(
            {
                "type": "scatter",
                "name": look.label,
                "data": states.now,
                "symbol": look.symbol,
                "symbolSize": 6,
                "silent": True,
                "itemStyle": {"color": look.colour, "opacity": 0.8},
                "animationDuration": 0,
                "animationDurationUpdate": GLIDE,
                "animationEasingUpdate": "cubicInOut",
                "z": 3,
            }
        )
    return {
        "animationDuration": 0,
        "grid": {"left": 8, "right": 8, "top": 34, "bottom": 12},
        "legend": {"top": 0, "left": 8, "itemWidth": 12, "itemHeight": 10, "itemGap": 14, "data": legend},
        "tooltip": {"show": False},
        "xAxis": bare_axis(names[0], frame.left, frame.right),
        "yAxis": bare_axis(names[1], frame.bottom, frame.top) | {"nameRotate": 90},
        "series": series,
    }


def map_sentence(moving: Sequence[Moving], waiting: str) -> str:
    """What the map says: how far each objective has moved its states; ``waiting`` while there is nothing to say."""
    if not moving:
        return waiting
    step = max(states.step for states in moving)
    if step == 0:
        return "Every synthetic state begins as a real one; lines will lead from there to where it goes."
    parts = [f"{style(states.objective).label} {states.distance:.2f}" for states in moving]
    return f"Moved after {count(step, 'outer step')}, in standard deviations per dimension: {', '.join(parts)}."
