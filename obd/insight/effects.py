"""How much larger one group of numbers is than another, with bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % bootstrap interval (percentiles)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Effect:
    """A group of values compared with a reference.

    Attributes:
        mean, reference_mean: of the two groups.
        ratio: mean / reference_mean; None where it has no meaning (a mean is or may well be zero or negative).
        difference: mean - reference_mean.
        superiority: P(X > Y) + P(X = Y) / 2 for a random member of each, or within pairs; 0.5 is no effect
            (Vargha and Delaney, J. Educ. Behav. Stat. 2000).
    """

    mean: float
    reference_mean: float
    ratio: Interval | None
    difference: Interval
    superiority: Interval

    @property
    def cliffs_delta(self) -> float:
        """P(X > Y) - P(X < Y), from -1 to 1."""
        return 2 * self.superiority.value - 1

    @property
    def direction(self) -> int:
        """1 or -1 when the 95 % interval of the ratio (or the difference) excludes no effect, else 0."""
        interval, neutral = (self.ratio, 1.0) if self.ratio is not None else (self.difference, 0.0)
        return 1 if interval.low > neutral else -1 if interval.high < neutral else 0


def compare(
    values: Array, reference: Array, *, paired: bool = False, resamples: int = RESAMPLES, seed: int = 0
) -> Effect:
    """Compare ``values [n]`` with ``reference [m]``; ``paired`` resamples rows together and needs n = m."""
    x, y = np.asarray(values, np.float64), np.asarray(reference, np.float64)
    x_weights = _weights(len(x), resamples, 2 * seed)
    y_weights = x_weights if paired else _weights(len(y), resamples, 2 * seed + 1)
    wins = _wins(x, y) if paired else _wins(x[:, None], y[None, :])
    # Unpaired: the mean over all resampled pairs, without listing them.
    superiority = x_weights @ wins if paired else ((x_weights @ wins) * y_weights).sum(axis=1)
    x_means, y_means = x_weights @ x, y_weights @ y
    ratio = None
    if x.mean() > 0 and y_means.min() > 0:
        ratio = _interval(float(x.mean() / y.mean()), x_means / y_means)
    return Effect(
        mean=float(x.mean()),
        reference_mean=float(y.mean()),
        ratio=ratio,
        difference=_interval(float(x.mean() - y.mean()), x_means - y_means),
        superiority=_interval(float(wins.mean()), superiority),
    )


def mean_interval(values: Array, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The mean of ``values [n]`` with its interval."""
    x = np.asarray(values, np.float64)
    return _interval(float(x.mean()), _weights(len(x), resamples, seed) @ x)


def median_interval(values: Array, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The median of ``values [n]`` with its interval."""
    x = np.asarray(values, np.float64)
    drawn = np.random.default_rng(seed).integers(len(x), size=(resamples, len(x)))
    return _interval(float(np.median(x)), np.median(x[drawn], axis=1))


@lru_cache(maxsize=4)  # a report compares many measures of the same few groups
def _weights(count: int, resamples: int, seed: int) -> NDArray[np.float64]:
    """How often each of ``count`` members is in each resample, as shares: ``[resamples, count]``."""
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    shares: NDArray[np.float64] = drawn / count
    return shares


def _wins(x: Array, y: Array) -> NDArray[np.float64]:
    wins: NDArray[np.float64] = (x > y) + 0.5 * (x == y)
    return wins


def _interval(value: float, resampled: Array) -> Interval:
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Interval(value, float(low), float(high))
