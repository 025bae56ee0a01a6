"""Ridge lines: how a measure is distributed in several groups of states, one above the other on one axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obd.ui.charts import Spec, pairs
from obd.ui.theme import NEUTRAL, style

Array = NDArray[np.floating[Any]]

POINTS = 120  # of each curve
HEIGHT = 0.82  # of the highest ridge, in rows


@dataclass(frozen=True)
class Group:
    """Values ``[n]`` of one row; ``key`` is an objective or baseline for its colour, "data" or "start"."""

    key: str
    label: str
    values: Array


def ridge_chart(groups: Sequence[Group], axis_name: str) -> Spec:
    """One density curve per group, top first, with the 10, 50 and 90 % quantiles below it.

    The axis spans the middle 98 % of all groups, each weighing the same.
    """
    low = min(float(np.percentile(group.values, 1)) for group in groups)
    high = max(float(np.percentile(group.values, 99)) for group in groups)
    high = high if high > low else low + 1.0
    grid = np.linspace(low, high, POINTS)
    curves = [density(group.values, grid) for group in groups]
    tallest = max(float(curve.max()) for curve in curves) or 1.0
    count = len(groups)
    series: list[Spec] = []
    for row, (group, curve) in enumerate(zip(groups, curves, strict=True)):
        base = count - row - 0.9
        look = style(group.key)
        colour = look.colour if look.colour else NEUTRAL
        series.append(
            {
                "type": "line",
                "name": group.label,
                "data": pairs(grid, base + HEIGHT * curve / tallest),
                "showSymbol": False,
                "silent": True,
                "lineStyle": {"color": colour, "width": 1.8, "type": "solid"},
                "areaStyle": {"color": colour, "opacity": 0.3, "origin": base},
                "yAxisIndex": 1,
            }
        )
        quantiles = np.clip(np.percentile(group.values, [10, 50, 90]), low, high)
        series.append(
            {
                "type": "line",
                "data": [[float(f"{x:.4g}"), base - 0.03] for x in quantiles],
                "symbol": "rect",
                "symbolSize": [3, 11],
                "showSymbol": True,
                "silent": True,
                "itemStyle": {"color": colour},
                "lineStyle": {"color": colour, "width": 1.5, "type": "solid"},
                "yAxisIndex": 1,
            }
        )
    return {
        "animation": False,
        "grid": {"left": 8, "right": 20, "top": 8, "bottom": 12},
        "legend": {"show": False},
        "tooltip": {"show": False},
        "xAxis": {
            "type": "value",
            "min": float(f"{low:.3g}"),
            "max": float(f"{high:.3g}"),
            "axisLabel": {"showMinLabel": False, "showMaxLabel": False},  # they are not round
            "name": axis_name,
            "nameLocation": "middle",
            "nameGap": 28,
            "splitLine": {"show": True, "lineStyle": {"opacity": 0.35}},
        },
        "yAxis": [
            {
                "type": "category",
                "data": [group.label for group in groups],
                "inverse": True,
                "axisTick": {"show": False},
                "axisLine": {"show": False},
            },
            {"type": "value", "min": 0, "max": count, "show": False},
        ],
        "series": series,
    }


def density(values: Array, grid: Array) -> Array:
    """Gaussian kernel density on ``grid``, with Silverman's bandwidth (1986, eq. 3.31)."""
    spread = min(float(values.std()), float(np.subtract(*np.percentile(values, [75, 25]))) / 1.34 or np.inf)
    width = max(0.9 * spread * len(values) ** -0.2, float(grid[-1] - grid[0]) / 100)
    kernels = np.exp(-0.5 * np.square((grid[:, None] - values[None, :]) / width))
    curve: Array = kernels.mean(axis=1) / (width * np.sqrt(2 * np.pi))
    return curve
