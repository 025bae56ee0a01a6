"""Chart specifications: numbers in, ECharts dictionaries out.  Pure functions; nothing here imports Streamlit.

Axes have fixed ends and animation is off in the live charts, so nothing jumps while numbers stream in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from obd.ui.series import Values, fitted_extent, linear_extent, log_extent, log_ticks, smooth, thin
from obd.ui.theme import NEUTRAL, style

Spec = dict[str, Any]

GRID = {"left": 8, "right": 24, "top": 48, "bottom": 12}  # labels and axis names are kept inside by ECharts
SQUARE = {"itemWidth": 12, "itemHeight": 12}  # of a legend: wider ones stretch the symbols out of shape
DASHDOT = [9, 3, 2, 3]  # ECharts has no name for it
BESIDE = 88  # pixels right of a chart for the names of the lines across it, where no curve can cover them
NEAR = 0.2  # of the axis: two-line names of lines nearer than this would touch
MAX_POINTS = 1000  # per series: 2,000 for a curve with its raw and its smoothed line


@dataclass(frozen=True)
class Curve:
    """The losses of one run: ``steps`` and ``losses`` of equal length; ``name`` for the legend."""

    objective: str
    name: str
    steps: Values
    losses: Values


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval; ``step`` is the outer step it was measured at."""

    mean: float
    low: float
    high: float
    step: float = 0.0


def loss_chart(curves: Sequence[Curve], outer_steps: int) -> Spec:
    """Raw (thin) and smoothed (thick) loss of every run on a log axis, x from 0 to ``outer_steps``."""
    smoothed = [smooth(curve.losses, half_life(outer_steps)) for curve in curves]
    low, high = log_extent(np.concatenate(smoothed)) if curves else log_extent(np.empty(0))
    series: list[Spec] = []
    for curve, mean in zip(curves, smoothed, strict=True):
        keep = thin(len(curve.steps), MAX_POINTS)
        look = style(curve.objective)
        # A raw value outside the axis is drawn at its edge: ECharts would let the line leave the frame.
        raw = np.clip(curve.losses[keep], low, high)
        series.append(
            _line(curve.name, pairs(curve.steps[keep], raw), look.colour, "solid", width=1, opacity=0.28)
            | {"tooltip": {"show": False}, "silent": True, "legendHoverLink": False}
        )
        series.append(_line(curve.name, pairs(curve.steps[keep], mean[keep]), look.colour, look.dash, width=2.5))
    return {
        "animation": False,
        "grid": GRID,
        "legend": _legend(curves),
        "tooltip": {"trigger": "axis", "valueFormatter": "%.4f"},
        "xAxis": _x_axis("outer steps", outer_steps),
        "yAxis": {
            "type": "log",
            "min": low,
            "max": high,
            "name": "loss",
            "nameGap": 12,
            "axisLabel": {"customValues": log_ticks(low, high)},
            "axisTick": {"customValues": log_ticks(low, high)},
            "splitLine": {"show": True, "lineStyle": {"opacity": 0.35}},
        },
        "series": series,
    }


def half_life(outer_steps: int) -> float:
    """Steps after which a loss has half its weight in the smoothed curve: 1 % of the run."""
    return max(3.0, outer_steps / 100)


def return_name(raw: bool) -> str:
    """What an axis of returns is called; raw ones have no reference returns to be measured by."""
    return "raw return (higher is better)" if raw else "normalised return"


def return_number(raw: bool) -> str:
    """The format of a return in a chart: raw ones may lie below one or in the thousands."""
    return "%.4g" if raw else "%.1f"


def return_axis(values: Sequence[float], *, raw: bool = False, at_least: float = 20.0) -> Spec:
    """The axis of a chart of returns, which holds ``values``.

    Normalised ones mean something at 0 (random) and 100 (expert), so the axis holds 0 and ``at_least``.  Raw ones do
    not, so it fits the values.
    """
    axis: Spec = {
        "type": "value",
        "name": return_name(raw),
        "splitLine": {"show": True, "lineStyle": {"opacity": 0.35}},
    }
    if raw:
        low, high, step = fitted_extent(min(values), max(values)) if values else (0.0, 1.0, 0.2)
        return axis | {"min": low, "max": high, "interval": step}
    low, high = linear_extent(min([0.0, *values]), max([at_least, *values]), step=10.0)
    return axis | {"min": low, "max": high}


def return_chart(
    points: Mapping[str, Sequence[Estimate]],
    outer_steps: int,
    references: Mapping[str, float],
    *,
    raw: bool = False,
) -> Spec:
    """Returns measured at snapshots with 95 % whiskers; baselines as horizontal lines."""
    measured = [e for estimates in points.values() for e in estimates]
    ends = [*references.values(), *(end for e in measured for end in (e.low, e.high))]
    axis = return_axis(ends, raw=raw, at_least=40.0)
    height = axis["max"] - axis["min"]
    series: list[Spec] = []
    for index, (key, estimates) in enumerate(points.items()):
        look = style(key)
        # Runs of a group are measured at the same steps: shift them a little so that the whiskers do not overlap.
        shift = (index - (len(points) - 1) / 2) * 0.008 * max(outer_steps, 1)
        line = [[min(max(e.step + shift, 0), outer_steps), round(e.mean, 3)] for e in estimates]
        series.append(
            _line(look.label, line, look.colour, look.dash, width=2)
            | {"showSymbol": True, "symbol": look.symbol, "symbolSize": 9}
        )
        series.append(_whiskers([(x, e) for (x, _), e in zip(line, estimates, strict=True)], look.colour))
    for key, value in references.items():
        gaps = [value - other for name, other in references.items() if name != key]
        nearest = min(gaps, key=abs, default=height)
        side = "middle" if abs(nearest) > NEAR * height else "bottom" if nearest > 0 else "top"
        series.append(reference_line(key, value, {"position": "end", "verticalAlign": side, "distance": 9}))
    return {
        "animation": False,
        "grid": {**GRID, "right": BESIDE} if references else GRID,
        "legend": {"show": False},
        "tooltip": {"trigger": "item", "valueFormatter": return_number(raw)},
        "xAxis": _x_axis("outer steps", outer_steps),
        "yAxis": axis | {"nameTextStyle": {"align": "left"}, "nameGap": 12},
        "series": series,
    }


def return_bars(rows: Sequence[tuple[str, Estimate]]) -> Spec:
    """Horizontal bars of normalised returns with 95 % whiskers, one per method, in the order given (top first)."""
    names = [style(key).label for key, _ in rows]
    bars = [
        {"value": round(estimate.mean, 2), "itemStyle": {"color": style(key).colour, "borderRadius": [0, 3, 3, 0]}}
        for key, estimate in rows
    ]
    labels = [
        {
            "value": [max(estimate.high, 0.0), index],
            "label": {"show": True, "position": "right", "formatter": f"{estimate.mean:.1f}"},
        }
        for index, (_, estimate) in enumerate(rows)
    ]
    ends = [*(e.low for _, e in rows if e.low < -5), *(1.12 * e.high for _, e in rows if e.high > 0)]
    whiskers = _whiskers([(index, e) for index, (_, e) in enumerate(rows)], NEUTRAL, horizontal=True)
    return {
        "animation": False,
        "grid": {**GRID, "top": 4},
        "legend": {"show": False},
        "tooltip": {"trigger": "item", "valueFormatter": "%.1f"},
        "xAxis": return_axis(ends, at_least=10.0) | {"nameLocation": "middle", "nameGap": 28},
        "yAxis": {
            "type": "category",
            "data": names,
            "inverse": True,
            "axisTick": {"show": False},
            "axisLine": {"show": False},
        },
        "series": [
            {"type": "bar", "data": bars, "barWidth": "58%"},
            whiskers,
            {
                "type": "scatter",
                "data": labels,
                "symbolSize": 1,
                "silent": True,
                "itemStyle": {"color": "transparent"},
                "z": 6,
            },
        ],
    }


def pairs(x: Values, y: Values) -> list[list[float]]:
    """``[[x, y], ...]`` with four significant digits: half the bytes on the wire."""
    return [[float(a), float(f"{b:.4g}")] for a, b in zip(x, y, strict=True)]


def _line(name: str, data: list[Any], colour: str, dash: str, *, width: float, opacity: float = 1.0) -> Spec:
    return {
        "type": "line",
        "name": name,
        "data": data,
        "showSymbol": False,
        "itemStyle": {"color": colour},
        "lineStyle": {
            "color": colour,
            "type": DASHDOT if dash == "dashdot" else dash,
            "width": width,
            "opacity": opacity,
        },
        "emphasis": {"disabled": True},
    }


def _whiskers(points: Sequence[tuple[float, Estimate]], colour: str, *, horizontal: bool = False) -> Spec:
    """Vertical (or horizontal) intervals as one line with gaps: ECharts' error bars need JavaScript."""
    data: list[list[Any]] = []
    for position, estimate in points:
        for value in (estimate.low, estimate.high):
            data.append([round(value, 3), position] if horizontal else [position, round(value, 3)])
        data.append(["-", "-"])
    return {
        "type": "line",
        "data": data,
        "symbol": "rect",
        "symbolSize": [2, 9] if horizontal else [9, 2],
        "showSymbol": True,
        "connectNulls": False,
        "silent": True,
        "tooltip": {"show": False},
        "itemStyle": {"color": colour},
        "lineStyle": {"color": colour, "type": "solid", "width": 1.5},
        "z": 5,
    }


def reference_line(key: str, value: float, label: Spec) -> Spec:
    """A line across the chart with its name and value in two lines; ``label`` says where these stand."""
    look = style(key)
    return {
        "type": "line",
        "name": look.label,
        "data": [],
        "markLine": {
            "silent": True,
            "symbol": "none",
            "animation": False,
            "data": [{"yAxis": round(value, 2)}],
            "lineStyle": {"color": look.colour, "type": look.dash, "width": 1.5},
            "label": {"formatter": f"{look.label} {value:.1f}".replace(" ", "\n", 1), "lineHeight": 14, **label},
        },
    }


def _legend(curves: Sequence[Curve]) -> Spec:
    data = [
        {"name": curve.name, "icon": style(curve.objective).symbol, "lineStyle": {"width": 2.5, "opacity": 1}}
        for curve in curves
    ]
    return {"top": 4, "left": 48, **SQUARE, "itemGap": 20, "data": data}


def _x_axis(name: str, high: int) -> Spec:
    return {
        "type": "value",
        "min": 0,
        "max": max(high, 1),
        "name": name,
        "nameLocation": "middle",
        "nameGap": 28,
        "axisLabel": {"show": high > 0},  # the number of steps is not known before the calibration
        "splitLine": {"show": False},
    }
