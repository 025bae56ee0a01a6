"""What the map of states shows: a sample of the data with its colours, and the distilled states projected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
import torch
from numpy.typing import NDArray

from obd.errors import ObdError
from obd.insight.coverage import density_percentile, neighbour_distance
from obd.insight.projection import TsneMap, fit_pca, fit_tsne
from obd.insight.report import sample_index
from obd.render.schematic import limbs
from obd.runs.store import Run
from obd.ui import state
from obd.ui.maps import Figures, MovingSet
from obd.ui.tasks import Task

Array = NDArray[np.floating[Any]]
Place = Callable[[Array], Array]


@dataclass(frozen=True)
class Background:
    """Original states ``[M, obs_dim]`` (normalised) and what they can be coloured by, ``[M]`` each.

    They are the sample that :func:`obd.insight.report.measure_reference` measures.
    """

    normalized: Array
    mean: Array
    std: Array
    values: dict[str, Array]

    def normalize(self, observations: Array) -> Array:
        result: Array = (observations - self.mean) / self.std
        return result


@dataclass(frozen=True)
class Projected:
    """A finished map: original states ``[M, dimensions]`` and how any normalised states are placed among them."""

    identity: str
    original: Array
    axes: tuple[str, ...]
    place: Place


@st.cache_resource(max_entries=4, show_spinner=False)  # half a second; a background thread may ask too
def background(dataset_id: str, teacher_path: str) -> Background:
    """The sample of a dataset; without a teacher it has no action values."""
    dataset = state.shelf().get(dataset_id)
    index = sample_index(dataset)
    observations = dataset.observations[index]
    normalized = dataset.normalize(observations)
    distances = neighbour_distance(normalized, normalized)
    episodes = dataset.episode_index[index]
    values: dict[str, Array] = {
        "density": density_percentile(distances, distances),
        "return": dataset.normalized(dataset.episode_returns)[episodes],
        "time": (index - dataset.episode_starts[episodes]).astype(np.float64),
    }
    try:
        teacher = state.teacher(dataset_id, teacher_path)
        teacher.check_matches(dataset)
        states, actions = torch.from_numpy(observations), torch.from_numpy(dataset.actions[index])
        values["q"] = teacher.q(states, actions).numpy()
        values["advantage"] = values["q"] - teacher.q(states, teacher.act(states)).numpy()
    except ObdError:
        pass
    return Background(normalized, dataset.observation_mean, dataset.observation_std, values)


@st.cache_resource(max_entries=8, show_spinner=False)
def pca(dataset_id: str, teacher_path: str, dimensions: int) -> Projected:
    """The directions of largest variance of the original states."""
    behind = background(dataset_id, teacher_path)
    plane = fit_pca(behind.normalized, dimensions)
    shares = [f"{100 * share:.0f} %" for share in plane.explained_variance_ratio]
    names = (
        f"1st component ({shares[0]} of variance)",
        *(f"{nth} component ({share})" for nth, share in zip(("2nd", "3rd"), shares[1:], strict=False)),
    )
    identity = f"pca {dimensions} {dataset_id}"
    return Projected(identity, plane.transform(behind.normalized), names, plane.transform)


def layout(task: Task, behind: Background, *, perplexity: float, seed: int) -> TsneMap:
    """The t-SNE layout of the original states; takes seconds, reports to ``task``.  One serves all runs."""
    return fit_tsne(behind.normalized, perplexity, seed, on_progress=task.progress, should_stop=task.should_stop)


def tsne(dataset_id: str, tsne_map: TsneMap, seed: int) -> Projected:
    """A finished layout as a map."""
    identity = f"tsne {dataset_id} {tsne_map.perplexity} {seed}"
    return Projected(identity, tsne_map.reference_xy, (), tsne_map.transform)


def moving_set(run: Run, behind: Background, projected: Projected) -> MovingSet:
    """All snapshots of a run placed on the map; each is read and placed once."""
    steps = run.snapshot_steps()
    frames = [
        _placed(str(run.path), step, _stamp(run, step), projected.identity, run, behind, projected) for step in steps
    ]
    newest = _figures(str(run.path), steps[-1], _stamp(run, steps[-1]), run) if steps else None
    return MovingSet(run.config.objective, steps, frames, newest)


@st.cache_resource(max_entries=24, show_spinner=False)
def _figures(path: str, step: int, stamp: int, _run: Run) -> Figures | None:
    """Side views of a snapshot's states; None for a robot that has none."""
    info = state.dataset_info(_run.config.dataset)
    try:
        return None if info is None else Figures(*limbs(info.env_id, _run.snapshot(step).observations))
    except ObdError:
        return None


@st.cache_resource(max_entries=4000, show_spinner=False)  # a background thread may ask too
def _placed(
    path: str, step: int, stamp: int, identity: str, _run: Run, _behind: Background, _projected: Projected
) -> Array:
    return _projected.place(_behind.normalize(_run.snapshot(step).observations))


def _stamp(run: Run, step: int) -> int:
    """Changes when a snapshot is written again, as a resumed run does."""
    try:
        return (run.path / "snapshots" / f"{step:08d}.npz").stat().st_mtime_ns
    except OSError:
        return 0
