"""Preparing numbers for charts: smoothing, thinning, round axis ends.  Pure functions, no chart library."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating[Any]]


def smooth(values: Values, half_life: float) -> Values:
    """Exponential moving average in log space, bias-corrected, same length.

    Losses fall over orders of magnitude, so their logarithm is what is averaged.
    """
    if len(values) == 0:
        return np.asarray(values, dtype=np.float64)
    logs = np.log(np.maximum(np.asarray(values, dtype=np.float64), 1e-12))
    decay = 0.5 ** (1.0 / max(half_life, 1e-6))
    # A window of 12 half-lives holds all but 0.02 % of the weight and keeps this a plain convolution.
    window = decay ** np.arange(min(len(logs), math.ceil(12 * half_life) + 1))
    weighted = np.convolve(logs, window)[: len(logs)]
    weight = np.convolve(np.ones(len(logs)), window)[: len(logs)]
    averaged: Values = np.exp(weighted / weight)
    return averaged


def thin(length: int, limit: int) -> NDArray[np.int64]:
    """At most ``limit`` evenly spaced indices below ``length``, first and last included."""
    if length <= limit:
        return np.arange(length)
    return np.unique(np.linspace(0, length - 1, limit).round().astype(np.int64))


def nice_floor(value: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not above ``value`` (> 0)."""
    power = 10.0 ** math.floor(math.log10(value) + 1e-12)
    for factor in (5.0, 2.0):
        if factor * power <= value * (1 + 1e-9):
            return float(f"{factor * power:.6g}")
    return float(f"{power:.6g}")


def nice_ceil(value: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below ``value`` (> 0)."""
    floor = nice_floor(value)
    if floor >= value * (1 - 1e-9):
        return floor
    return next(tick for tick in _ticks_from(floor) if tick >= value * (1 - 1e-9))


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 times powers of ten from ``low`` to ``high``."""
    ticks: list[float] = []
    for tick in _ticks_from(nice_floor(low)):
        if tick > high * (1 + 1e-9):
            return ticks
        if tick >= low * (1 - 1e-9):
            ticks.append(tick)
    return ticks


def _ticks_from(first: float) -> list[float]:
    power = math.floor(math.log10(first) + 1e-12)
    grid = [float(f"{m}e{power + k}") for k in range(24) for m in (1, 2, 5)]
    return [tick for tick in grid if tick >= first * (1 - 1e-9)]


def log_extent(values: Values) -> tuple[float, float]:
    """Round ends of a log axis that change rarely while a curve falls: at least a factor of five below its top."""
    positive = np.asarray(values, dtype=np.float64)
    positive = positive[np.isfinite(positive) & (positive > 0)]
    if len(positive) == 0:
        return 0.01, 1.0
    high = nice_ceil(float(positive.max()))
    low = min(nice_floor(float(positive.min())), high / 5)
    return nice_floor(max(low, high * 1e-6)), high


def linear_extent(low: float, high: float, step: float = 20.0) -> tuple[float, float]:
    """Ends rounded outwards to multiples of ``step``; never empty."""
    span = max(abs(low), abs(high))
    while span > 15 * step:
        step *= 5
    start = math.floor(low / step) * step
    end = math.ceil(high / step) * step
    return start, end if end > start else start + step


def fitted_extent(low: float, high: float) -> tuple[float, float, float]:
    """Round ends a little outside ``low`` and ``high``, wherever zero is, and the step between ticks; never empty."""
    room = max(0.05 * (high - low), 0.01 * max(abs(low), abs(high))) or 1.0
    step = nice_floor((high - low + 2 * room) / 4)
    start, end = math.floor((low - room) / step) * step, math.ceil((high + room) / step) * step
    return float(f"{start:.9g}"), float(f"{end:.9g}"), step
