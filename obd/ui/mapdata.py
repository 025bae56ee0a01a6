"""What the map of states shows: a sample of the data with its colours, and the distilled states projected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
import torch
from numpy.typing import NDArray

from obd.errors import ObdError
from obd.insight.projection import TsneMap, fit_pca, fit_tsne, sample_states
from obd.runs.store import Run
from obd.ui import state
from obd.ui.maps import Extent, extent
from obd.ui.sentences import movement
from obd.ui.tasks import Task

SAMPLE = 2000  # original states on the map: enough for its shape, few enough to update smoothly
SAMPLE_SEED = 0

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Background:
    """Original states ``[M, obs_dim]`` (normalised) and what they can be coloured by, ``[M]`` each."""

    normalized: Array
    mean: Array
    std: Array
    values: dict[str, Array]

    def normalize(self, observations: Array) -> Array:
        result: Array = (observations - self.mean) / self.std
        return result


@dataclass(frozen=True)
class Projected:
    """Original states ``[M, 2]`` and, for each snapshot step, the distilled ones ``[N, 2]``, with fixed axes.

    ``distances[i]`` is how far the states have moved since step 0, in standard deviations per dimension.
    """

    kind: str
    original: Array
    steps: list[int]
    frames: list[Array]
    distances: list[float]
    frame: Extent
    axis_names: tuple[str, str]


@st.cache_resource(max_entries=4, show_spinner="Drawing states from the dataset …")
def background(dataset_id: str, teacher_path: str) -> Background:
    """The sample of a dataset; without a teacher it has no Q values."""
    dataset = state.shelf().get(dataset_id)
    index = sample_states(dataset, SAMPLE, SAMPLE_SEED)
    observations, actions = dataset.observations[index], dataset.actions[index]
    values: dict[str, Array] = {
        "action": np.linalg.norm(actions, axis=1),
        "return": dataset.normalized(dataset.episode_returns)[dataset.episode_index[index]],
    }
    try:
        teacher = state.teacher(dataset_id, teacher_path)
        teacher.check_matches(dataset)
        values["q"] = teacher.q(torch.from_numpy(observations), torch.from_numpy(actions)).numpy()
    except ObdError:
        pass
    return Background(dataset.normalize(observations), dataset.observation_mean, dataset.observation_std, values)


def snapshots(background: Background, run: Run, steps: Sequence[int]) -> Array:
    """The distilled states of all snapshots, normalised, ``[S, N, obs_dim]``."""
    return np.stack([background.normalize(run.snapshot(step).observations) for step in steps])


def pca(background: Background, run: Run, steps: Sequence[int]) -> Projected:
    """The plane of largest variance of the original states."""
    moving = snapshots(background, run, steps)
    plane = fit_pca(background.normalized)
    shares = plane.explained_variance_ratio
    names = (f"first component ({100 * shares[0]:.0f} % of variance)", f"second ({100 * shares[1]:.0f} %)")
    flat = plane.transform(moving.reshape(-1, moving.shape[-1]))
    return _projected("PCA", plane.transform(background.normalized), steps, moving, flat, names)


def layout(task: Task, background: Background, *, perplexity: float, seed: int) -> TsneMap:
    """The t-SNE layout of the original states; takes seconds, reports to ``task``.  One serves all runs."""
    return fit_tsne(background.normalized, perplexity, seed, on_progress=task.progress, should_stop=task.should_stop)


def tsne(background: Background, tsne_map: TsneMap, run: Run, steps: Sequence[int]) -> Projected:
    """The distilled states of all snapshots placed in a finished layout."""
    moving = snapshots(background, run, steps)
    flat = tsne_map.transform(moving.reshape(-1, moving.shape[-1]))
    return _projected("t-SNE", tsne_map.reference_xy, steps, moving, flat, ("", ""))


def _projected(
    kind: str, original: Array, steps: Sequence[int], moving: Array, flat: Array, names: tuple[str, str]
) -> Projected:
    frames = list(flat.reshape(*moving.shape[:2], 2))
    distances = [movement(moving[0], states) for states in moving]
    return Projected(kind, original, list(steps), frames, distances, extent(original, *frames), names)
