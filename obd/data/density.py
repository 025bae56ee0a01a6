"""How dense the states of a dataset are, by an estimator that stays honest in 11 to 17 dimensions.

On normalised states, with m of them as reference points x_j, the density is the variable kernel estimate of Breiman,
Meisel and Purcell (Technometrics 1977): a Gaussian on every point, as wide as the neighbourhood of that point,

    d(s) = 1/m sum_j N(s; x_j, h_j^2 I),      h_j = c r_k(x_j) / sqrt(D),

where r_k is the distance to the k-th nearest reference point.  Unlike the plain k-nearest-neighbour estimate
k / (m V_D r_k(s)^D) it integrates to one, so its likelihood of held-out states can be compared with another model's.
A reference point's own kernel says nothing about its density and is left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from obd.data.dataset import Float, OfflineDataset

REFERENCE = 5000  # points that carry a kernel
NEIGHBOURS = 10  # k
WIDTH = 0.75  # c
NARROWEST = 0.01  # of h: repeated states would have no width at all
CHUNK = 128  # rows at a time: their exponents stay in the processor's cache
HELD_OUT = 0.1  # share of the episodes
TESTED = 3000  # held-out states
RIDGE = 1e-6  # added to the Gaussian's covariance


@dataclass(frozen=True)
class KernelDensity:
    """Kernels at ``points [m, d]`` of standard deviations ``widths [m]``."""

    points: Float
    widths: Float

    def log_density(self, states: Float, left_out: NDArray[np.int64] | None = None) -> Float:
        """log d(s) of ``states [B, d]``; for row b without the kernel ``left_out[b]``, when given.  ``[B]``."""
        count, dim = self.points.shape
        terms = max(count if left_out is None else count - 1, 1)
        # The exponent -|s - x|^2 / 2 h^2 - D log h + const is linear in (s, |s|^2, 1): one matrix product gives all.
        inverse = 1 / np.square(self.widths)
        constant = -0.5 * np.square(self.points).sum(axis=1) * inverse - dim * np.log(self.widths)
        constant -= 0.5 * dim * math.log(2 * math.pi) + math.log(terms)
        right = np.column_stack([self.points * inverse[:, None], -0.5 * inverse, constant]).astype(np.float32).T
        left = np.column_stack([states, np.square(states).sum(axis=1), np.ones(len(states), np.float32)])
        found = np.empty(len(states), np.float32)
        for start in range(0, len(states), CHUNK):
            exponents = left[start : start + CHUNK] @ right
            if left_out is not None:
                exponents[np.arange(len(exponents)), left_out[start : start + CHUNK]] = -np.inf
            highest = exponents.max(axis=1, keepdims=True)
            exponents -= highest
            np.exp(exponents, out=exponents)
            found[start : start + CHUNK] = highest[:, 0] + np.log(exponents.sum(axis=1))
        return found


def squared_distances(points: Float, others: Float) -> Float:
    """``[B, d]``, ``[m, d]`` -> ``[B, m]``."""
    squared: Float = np.square(points).sum(axis=1)[:, None] - 2 * points @ others.T
    squared += np.square(others).sum(axis=1)
    return np.maximum(squared, 0, out=squared)


def fit_density(points: Float) -> KernelDensity:
    """The estimate of the module's docstring from reference points ``[m, d]``, m at least 2."""
    rank = min(NEIGHBOURS, len(points) - 1)
    widths = np.empty(len(points), np.float32)
    for start in range(0, len(points), CHUNK):
        squared = squared_distances(points[start : start + CHUNK], points)
        squared[np.arange(len(squared)), start + np.arange(len(squared))] = -1  # first in order, whatever the rounding
        widths[start : start + CHUNK] = np.sqrt(np.partition(squared, rank, axis=1)[:, rank])
    widths *= WIDTH / math.sqrt(points.shape[1])
    return KernelDensity(points, np.maximum(widths, NARROWEST, out=widths))


def state_log_density(dataset: OfflineDataset, seed: int = 0) -> Float:
    """log d(s) of all states of a dataset, ``[M]``, in units of normalised states.

    ``seed`` chooses the reference points.  The same seed gives the same bits; a set of 200,000 states takes about
    three seconds of one core.
    """
    states = dataset.normalize(dataset.observations)
    chosen = np.sort(np.random.default_rng((seed, 0)).permutation(len(states))[:REFERENCE])
    with threadpool_limits(1):  # small products: several threads wait for each other; and the bits stay the same
        estimate = fit_density(states[chosen])
        found = estimate.log_density(states)
        found[chosen] = estimate.log_density(states[chosen], np.arange(len(chosen)))
    return found


def held_out_likelihood(dataset: OfflineDataset, seed: int = 0) -> dict[str, float]:
    """Mean log-likelihood (nats per state) of states in episodes that were not used, under the estimate and a Gaussian.

    A tenth of the episodes is held out: the neighbours in time of a state must not vouch for it.  With a single
    episode its last tenth is held out.  Both models see the same states in the same units; the Gaussian has the full
    covariance of *all* other states.  Returns ``{"kernels": ..., "gaussian": ...}``.
    """
    rng = np.random.default_rng((seed, 1))
    states, episodes = dataset.normalize(dataset.observations), len(dataset.episode_starts)
    if episodes > 1:
        out = np.isin(dataset.episode_index, rng.permutation(episodes)[: max(1, round(HELD_OUT * episodes))])
    else:
        out = np.arange(len(states)) >= (1 - HELD_OUT) * len(states)
    known, held = states[~out], rng.permutation(states[out])[:TESTED]
    with threadpool_limits(1):
        kernels = fit_density(rng.permutation(known)[:REFERENCE]).log_density(held)
        return {"kernels": float(kernels.mean()), "gaussian": float(gaussian_log_density(known, held).mean())}


def gaussian_log_density(known: Float, states: Float) -> NDArray[np.floating[Any]]:
    """log-density of ``states [B, d]`` under a Gaussian with mean and covariance of ``known [M, d]``; ``[B]``."""
    dim = known.shape[1]
    covariance = np.cov(known.T.astype(np.float64)).reshape(dim, dim) + RIDGE * np.eye(dim)
    root = np.linalg.cholesky(covariance)
    standard = np.linalg.solve(root, (states - known.mean(axis=0, dtype=np.float64)).T)
    found: NDArray[np.floating[Any]] = (
        -0.5 * np.square(standard).sum(axis=0) - np.log(np.diag(root)).sum() - 0.5 * dim * math.log(2 * math.pi)
    )
    return found
