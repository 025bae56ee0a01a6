"""Chart specification of the map of states: original states as small points, distilled ones as large symbols."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obd.ui.charts import Spec
from obd.ui.theme import CIVIDIS, NEUTRAL, style

Points = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Extent:
    """Fixed ends of a map's axes, so that only points move."""

    left: float
    right: float
    bottom: float
    top: float


def extent(*clouds: Points, margin: float = 0.04) -> Extent:
    """The common extent of all ``[n, 2]`` clouds with a margin."""
    every = np.concatenate([cloud[np.isfinite(cloud).all(axis=1)] for cloud in clouds])
    low, high = every.min(axis=0), every.max(axis=0)
    pad = np.maximum((high - low) * margin, 1e-6)
    low, high = low - pad, high + pad
    return Extent(float(low[0]), float(high[0]), float(low[1]), float(high[1]))


def colour_range(values: Points) -> tuple[float, float]:
    """The 2nd and 98th percentile: a few extreme states must not use up the colour scale."""
    low, high = np.percentile(values, [2, 98])
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(low) + 0.5)


def map_chart(
    original: Points,
    start: Points,
    moved: Points,
    objective: str,
    frame: Extent,
    *,
    values: Points | None = None,
    value_name: str = "",
    axis_names: tuple[str, str] = ("", ""),
) -> Spec:
    """Original states ``[M, 2]`` (coloured by ``values [M]``), distilled ones at ``moved [N, 2]``.

    A thin line leads from where each distilled state started (``start [N, 2]``) to where it is.  The points of
    the distilled series glide when the chart is updated in place; everything else stays still.
    """
    look = style(objective)
    background: Spec = {
        "type": "scatter",
        "name": "original states",
        "data": _rows(original, values),
        "symbolSize": 4,
        "silent": True,
        "animation": False,
        "itemStyle": {"opacity": 0.6, "color": NEUTRAL},
        "z": 1,
    }
    paths: Spec = {
        "type": "lines",
        "coordinateSystem": "cartesian2d",
        "data": [{"coords": [a, b]} for a, b in zip(_rows(start), _rows(moved), strict=True)],
        "silent": True,
        "animation": False,
        "lineStyle": {"color": look.colour, "width": 1, "opacity": 0.35, "curveness": 0},
        "z": 2,
    }
    distilled: Spec = {
        "type": "scatter",
        "name": f"distilled states ({look.label})",
        "data": _rows(moved),
        "symbol": look.symbol,
        "symbolSize": 10,
        "itemStyle": {"color": look.colour, "borderColor": "#FFFFFF", "borderWidth": 1, "opacity": 1},
        "animationDurationUpdate": 350,
        "animationEasingUpdate": "cubicOut",
        "animationDuration": 0,
        "z": 3,
    }
    spec: Spec = {
        "animationDuration": 0,
        "grid": {"left": 4, "right": 84 if values is not None else 8, "top": 30, "bottom": 8},
        "legend": {"top": 0, "left": 12, "data": [background["name"], distilled["name"]]},
        "tooltip": {"show": False},
        "xAxis": _bare_axis(axis_names[0], frame.left, frame.right),
        "yAxis": _bare_axis(axis_names[1], frame.bottom, frame.top) | {"nameRotate": 90},
        "series": [background, paths, distilled],
    }
    if values is not None:
        low, high = colour_range(values)
        spec["visualMap"] = {
            "type": "continuous",
            "seriesIndex": 0,
            "dimension": 2,
            "min": round(low, 3),
            "max": round(high, 3),
            "precision": 0 if high - low > 20 else 1,
            "inRange": {"color": list(CIVIDIS)},
            "orient": "vertical",
            "right": 0,
            "top": "middle",
            "itemHeight": 200,
            "itemWidth": 14,
            "text": [value_name, ""],
            "textGap": 12,
            "calculable": True,
        }
    return spec


def _rows(points: Points, values: Points | None = None) -> list[list[float]]:
    columns = points if values is None else np.column_stack([points, values])
    return [[float(f"{value:.4g}") for value in row] for row in columns]


def _bare_axis(name: str, low: float, high: float) -> Spec:
    """An axis without numbers: in a projection only neighbourhood has a meaning."""
    return {
        "type": "value",
        "min": low,
        "max": high,
        "name": name,
        "nameLocation": "middle",
        "nameGap": 10,
        "axisLabel": {"show": False},
        "axisTick": {"show": False},
        "axisLine": {"show": True, "onZero": False, "lineStyle": {"opacity": 0.5}},
        "splitLine": {"show": False},
    }
