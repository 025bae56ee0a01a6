"""Intervals and robust means of returns over seeds and students."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from obd.evaluation import Returns

RESAMPLES = 2_000


def interquartile_mean(values: NDArray[np.float64]) -> float:
    """The mean of the middle half (Agarwal et al. 2021, arXiv 2108.13264): half as noisy as a median.

    By hand: a page imports this while another thread may be importing torch, into which scipy.stats looks.
    """
    cut = values.size // 4
    return float(np.sort(values, axis=None)[cut : values.size - cut].mean())


def bootstrap_interval(seeds: Sequence[Returns], level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of the mean return, drawing seeds and, within each, students anew.

    Args:
        seeds: one array ``[students, episodes]`` per distillation seed.

    A single seed is resampled over its students alone, so the interval then says nothing about other seeds.
    """
    source = np.random.default_rng(0)
    means = [returns.mean(1) for returns in seeds]
    chosen = source.integers(len(means), size=(RESAMPLES, len(means)))
    drawn = np.zeros(RESAMPLES)
    for index, students in enumerate(means):
        samples, _ = np.nonzero(chosen == index)  # a sample that drew this seed twice draws its students twice
        again = source.integers(len(students), size=(len(samples), len(students)))
        np.add.at(drawn, samples, students[again].mean(1) / len(means))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
