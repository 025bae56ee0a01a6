"""Where a small set of states lies among many: how much of them it covers, and whether it sits in dense places.

States are normalised; distances are root mean squares over the dimensions, so 1 is one standard deviation in every
dimension.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 10  # of the density
SELECTIONS = 5  # random selections that the radius is averaged over
CHUNK = 1024
SAME = 1e-4  # closer than this is the state itself

Array = NDArray[np.floating[Any]]


def nearest(points: Array, data: Array, count: int = 1) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The ``count`` nearest of ``data [M, d]`` for each of ``points [B, d]``: indices and distances, ``[B, count]``."""
    points, data = np.asarray(points, np.float32), np.asarray(data, np.float32)
    count = min(count, len(data))
    norms = np.square(data).sum(axis=1)
    indices = np.empty((len(points), count), np.int64)
    distances = np.empty((len(points), count))
    for start in range(0, len(points), CHUNK):
        chunk = points[start : start + CHUNK]
        squared = norms - 2 * chunk @ data.T
        found = np.argpartition(squared, count - 1, axis=1)[:, :count]
        # Exact distances of the few: the expansion above loses digits where points coincide.
        exact = np.sqrt(np.square(chunk[:, None] - data[found]).mean(axis=2, dtype=np.float64))
        order = exact.argsort(axis=1, kind="stable")
        indices[start : start + CHUNK] = np.take_along_axis(found, order, axis=1)
        distances[start : start + CHUNK] = np.take_along_axis(exact, order, axis=1)
    return indices, distances


def cover_radius(data: Array, size: int, seed: int = 0) -> float:
    """The radius at which ``size`` states drawn at random from ``data [M, d]`` cover half of it, on average."""
    rng = np.random.default_rng(seed)
    radii = []
    for _ in range(SELECTIONS):
        chosen = rng.permutation(len(data))[: max(1, min(size, len(data) // 2))]
        rest = np.setdiff1d(np.arange(len(data)), chosen)
        radii.append(np.median(nearest(data[rest], data[chosen])[1]))
    return float(np.mean(radii))


def covered(states: Array, data: Array, radius: float) -> NDArray[np.bool_]:
    """Which of ``data [M, d]`` have one of ``states [N, d]`` within ``radius``; ``[M]``."""
    within: NDArray[np.bool_] = nearest(data, states)[1][:, 0] <= radius
    return within


def neighbour_distance(points: Array, data: Array, count: int = NEIGHBOURS) -> NDArray[np.float64]:
    """Distance to the ``count``-th nearest state of ``data [M, d]``, not counting the point itself; ``[B]``."""
    distances = nearest(points, data, count + 1)[1]
    itself = distances[:, 0] < SAME
    last: NDArray[np.float64] = np.where(itself, distances[:, -1], distances[:, max(0, distances.shape[1] - 2)])
    return last


def density_percentile(distances: Array, data_distances: Array) -> NDArray[np.float64]:
    """Percentage of the data that lies sparser: 50 is typical, 0 is sparser than all data; ``[B]``.

    Both arguments come from :func:`neighbour_distance`: of the points ``[B]`` and of the data ``[M]``.
    """
    ordered = np.sort(data_distances)
    denser = np.searchsorted(ordered, distances, side="left") + np.searchsorted(ordered, distances, side="right")
    percentile: NDArray[np.float64] = 100 * (1 - denser / (2 * len(ordered)))
    return percentile
