"""Chart specifications of the Compare page: several runs in one picture.  Pure functions, like ``charts``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from obd.ui.charts import (
    GRID,
    MAX_POINTS,
    SQUARE,
    Estimate,
    Spec,
    _line,
    _whiskers,
    half_life,
    pairs,
    reference_line,
    return_axis,
    return_number,
)
from obd.ui.series import Values, log_extent, log_ticks, smooth, thin
from obd.ui.theme import CIVIDIS, NEUTRAL, style

PAPER = "#D55E00"  # vermilion of the Okabe-Ito palette: no method has it
SPLIT = {"show": True, "lineStyle": {"opacity": 0.35}}


@dataclass(frozen=True)
class Trace:
    """One run in an overlay: its look, its losses and its measured returns over one kind of x (steps or seconds)."""

    label: str
    colour: str
    dash: str
    symbol: str
    x: Values
    losses: Values
    points: tuple[Estimate, ...] = ()  # ``step`` holds the x

    def smoothed(self) -> Values:
        return smooth(self.losses, half_life(len(self.losses)))


@dataclass(frozen=True)
class BarRow:
    """One bar: a mean with its interval and the paper's figure for the same method, if it has one."""

    label: str
    key: str
    estimate: Estimate
    ensemble: bool = False
    paper: float | None = None


def loss_overlay(traces: Sequence[Trace], x_name: str) -> Spec:
    """Smoothed losses on a log axis."""
    smoothed = [trace.smoothed() for trace in traces]
    low, high = log_extent(np.concatenate(smoothed)) if smoothed else log_extent(np.empty(0))
    series = []
    for trace, mean in zip(traces, smoothed, strict=True):
        keep = thin(len(mean), MAX_POINTS)
        series.append(_line(trace.label, pairs(trace.x[keep], mean[keep]), trace.colour, trace.dash, width=2.5))
    axis = {"type": "log", "min": low, "max": high, "name": "loss", "nameGap": 12, "splitLine": SPLIT}
    ticks = {"customValues": log_ticks(low, high)}
    return _overlay(traces, x_name, axis | {"axisLabel": ticks, "axisTick": ticks}, series, "losses", "%.4f")


def return_overlay(traces: Sequence[Trace], x_name: str, *, raw: bool = False) -> Spec:
    """Returns measured on the way, with 95 % whiskers."""
    series = []
    for index, trace in enumerate(traces):
        shift = (index - (len(traces) - 1) / 2) * 0.006 * x_end(traces)  # whiskers of runs must not cover each other
        xs = [min(max(point.step + shift, 0.0), x_end(traces)) for point in trace.points]
        data = [[x, round(point.mean, 3)] for x, point in zip(xs, trace.points, strict=True)]
        series.append(
            _line(trace.label, data, trace.colour, trace.dash, width=2)
            | {"showSymbol": True, "symbol": trace.symbol, "symbolSize": 9}
        )
        series.append(_whiskers(list(zip(xs, trace.points, strict=True)), trace.colour))
    axis = trace_axis(traces, raw) | {"nameGap": 12, "nameTextStyle": {"align": "left"}}
    return _overlay(traces, x_name, axis, series, "returns", return_number(raw))


def trace_axis(traces: Sequence[Trace], raw: bool) -> Spec:
    """The axis of the returns measured on the way."""
    ends = [end for trace in traces for point in trace.points for end in (point.low, point.high)]
    return return_axis(ends, raw=raw)


def x_end(traces: Sequence[Trace]) -> float:
    """The common end of the x axis."""
    ends = [*(t.x[-1] for t in traces if len(t.x)), *(p.step for t in traces for p in t.points)]
    return float(max(ends, default=1.0)) or 1.0


def _overlay(traces: Sequence[Trace], x_name: str, y_axis: Spec, series: list[Spec], file: str, number: str) -> Spec:
    legend = [{"name": t.label, "icon": t.symbol, "lineStyle": {"width": 2.5, "opacity": 1}} for t in traces]
    return {
        "animation": False,
        "grid": {**GRID, "top": 60},
        "legend": {"type": "scroll", "top": 4, "left": 4, "right": 44, **SQUARE, "itemGap": 16, "data": legend},
        "tooltip": {"trigger": "item", "valueFormatter": number},
        "toolbox": toolbox(file),
        "xAxis": {
            "type": "value",
            "min": 0,
            "max": round(x_end(traces), 1),
            "name": x_name,
            "nameLocation": "middle",
            "nameGap": 28,
            "axisLabel": {"showMaxLabel": False},
            "splitLine": {"show": False},
        },
        "yAxis": y_axis,
        "series": series,
    }


def toolbox(file: str) -> Spec:
    """The chart's own button that saves it as a PNG; the page adds the background of its theme."""
    return {
        "right": 4,
        "top": 0,
        "itemSize": 16,
        "feature": {"saveAsImage": {"name": f"obd-{file}", "title": "Save as PNG", "pixelRatio": 2}},
    }


def comparison_bars(rows: Sequence[BarRow], *, raw: bool = False) -> Spec:
    """Horizontal bars with whiskers, paler ones for ensembles, and diamonds at the paper's figures.

    Raw returns are points instead: a bar from zero would be longest for the worst where returns are negative.
    """
    bars: list[Spec] = []
    marks = []
    for index, row in enumerate(rows):
        look = style(row.key)
        item = {"color": look.colour, "borderColor": look.colour, "opacity": 0.5 if row.ensemble else 1.0}
        if raw:
            bars.append({"value": [row.estimate.mean, index], "symbol": look.symbol, "itemStyle": item})
        else:
            bars.append({"value": round(row.estimate.mean, 2), "itemStyle": item | {"borderRadius": [0, 3, 3, 0]}})
        if row.paper is not None:
            marks.append([row.paper, index])
    names: Spec = {"type": "category", "inverse": True, "axisTick": {"show": False}, "axisLine": {"show": False}}
    points = [(index, row.estimate) for index, row in enumerate(rows)]
    means = {"type": "scatter", "symbolSize": 14, "z": 6} if raw else {"type": "bar", "barWidth": "58%"}
    series: list[Spec] = [
        means | {"data": bars, "silent": True},
        _whiskers([(float(index), e) for index, e in points], NEUTRAL, horizontal=True),
        {
            "type": "scatter",
            "name": "the paper",
            "data": marks,
            "symbol": "diamond",
            "symbolSize": 13,
            "itemStyle": {"color": PAPER, "borderColor": "#FFFFFF", "borderWidth": 1.5},
            "z": 8,
        },
    ]
    return {
        "animation": False,
        "grid": {**GRID, "top": 34, "right": 8},
        "legend": {
            "top": 4,
            "left": 4,
            "data": [{"name": "the paper", "icon": "diamond"}],
            "itemWidth": 13,
            "show": bool(marks),
        },
        "tooltip": {"trigger": "item", "valueFormatter": return_number(raw)},
        "toolbox": toolbox("bars"),
        "xAxis": bar_axis(rows, raw) | {"nameLocation": "middle", "nameGap": 28},
        "yAxis": [
            names
            | {
                "data": [row.label for row in rows],
                "axisLabel": {"width": 124, "overflow": "break", "lineHeight": 13},
            },
            names
            | {"data": [bar_text(row, raw) for row in rows], "position": "right", "axisLabel": {"fontWeight": "bold"}},
        ],
        "series": series,
    }


def bars_height(rows: Sequence[BarRow]) -> int:
    """Pixels of the bars: a long name takes several lines of some twenty letters beside its bar."""
    lines = max((math.ceil(len(row.label) / 20) for row in rows), default=1)
    return 96 + max(34, 13 * lines + 8) * len(rows)


def bar_text(row: BarRow, raw: bool) -> str:
    """The numbers of a bar: the mean and, after a diamond, the paper's figure."""
    return return_number(raw) % row.estimate.mean + (f"  ◆ {row.paper:.1f}" if row.paper is not None else "")


def bar_axis(rows: Sequence[BarRow], raw: bool) -> Spec:
    """The axis of the final returns."""
    ends = [end for row in rows for end in (row.estimate.low, row.estimate.high, row.paper) if end is not None]
    if not raw:  # a whisker that hardly crosses zero moves no axis, and the longest bar keeps clear of its end
        ends = [1.08 * end for end in ends if not -2 <= end < 0]
    return return_axis(ends, raw=raw, at_least=10.0)


def heat_map(
    cells: Mapping[tuple[str, str], float],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    framed: tuple[str, str] | None = None,
    beside: Mapping[tuple[str, str], float] | None = None,
) -> Spec:
    """``cells[row, column]`` as coloured, numbered squares; a missing cell stays empty.

    Args:
        framed: the cell with a frame around it.
        beside: bare numbers, in rows and columns of their own, that share no scale with the cells.
    """
    values = list(cells.values())
    low, high = min(values), max(values)
    data = []
    for (row, column), value in sorted(cells.items(), key=lambda cell: cell[0] == framed):  # the frame is drawn last
        bright = (value - low) > 0.6 * (high - low)
        position = [columns.index(column), rows.index(row), round(value, 1)]
        point: Spec = {"value": position}
        point["label"] = {"color": "#15181E" if bright else "#FFFFFF", "formatter": f"{value:.1f}"}
        if (row, column) == framed:
            point["itemStyle"] = {"borderColor": PAPER, "borderWidth": 3}
        data.append(point)
    notes = [
        {
            "value": [columns.index(column), rows.index(row)],
            # Above the point by less than nothing: in the middle, and still in the theme's colour of text.
            "label": {
                "show": True,
                "position": "top",
                "distance": -6,
                "fontStyle": "italic",
                "formatter": f"{value:.1f}",
            },
        }
        for (row, column), value in (beside or {}).items()
    ]
    bare = {"axisTick": {"show": False}, "axisLine": {"show": False}, "splitLine": {"show": False}}
    return {
        "animation": False,
        "grid": {"left": 8, "right": 8, "top": 44, "bottom": 4},
        "tooltip": {"show": False},
        "toolbox": toolbox("generalisation"),
        "xAxis": {"type": "category", "data": list(columns), "position": "top"}
        | {"axisLabel": {"interval": 0, "width": 64, "overflow": "break", "lineHeight": 13}}
        | bare,
        "yAxis": {"type": "category", "data": list(rows), "inverse": True, "axisLabel": {"interval": 0}} | bare,
        "visualMap": {
            "show": False,
            "seriesIndex": 0,
            "min": low,
            "max": high if high > low else low + 1,
            "dimension": 2,
            "inRange": {"color": list(CIVIDIS)},
        },
        "series": [
            {
                "type": "heatmap",
                "data": data,
                "label": {"show": True, "fontWeight": "bold"},
                "itemStyle": {"borderWidth": 2, "borderColor": "transparent"},
            },
            {
                "type": "scatter",
                "data": notes,
                "symbolSize": 1,
                "silent": True,
                "itemStyle": {"color": "transparent"},
                "z": 6,
            },
        ],
    }


@dataclass(frozen=True)
class SizeLine:
    """A curve over the number of pairs; ``step`` of an estimate holds the number."""

    label: str
    key: str  # whose colour, symbol and dash it has
    estimates: tuple[Estimate, ...]
    pale: bool = False  # a thinner dotted line, without whiskers


def size_curve(ours: Sequence[SizeLine], paper: Mapping[int, float], teacher: float | None = None) -> Spec:
    """Return over the number of pairs (log-2 axis) with whiskers, the paper's dashed, the teacher as a line across."""
    series: list[Spec] = []
    for index, line in enumerate(ours):
        look = style(line.key)
        shift = 2 ** (0.06 * (index - (len(ours) - 1) / 2))  # whiskers of two curves must not cover each other
        data = [[round(e.step * shift, 3), round(e.mean, 2)] for e in line.estimates]
        symbol = {"showSymbol": True, "symbol": look.symbol, "symbolSize": 5 if line.pale else 9}
        dash, width = ("dotted", 1.5) if line.pale else (look.dash, 2.5)
        series.append(_line(line.label, data, look.colour, dash, width=width) | symbol)
        if not line.pale:
            series.append(_whiskers([(e.step * shift, e) for e in line.estimates], look.colour))
    if paper:
        points: list[Any] = [[size, value] for size, value in paper.items()]
        series.append(
            _line("Av-PBC in the paper", points, PAPER, "dashed", width=1.5)
            | {"showSymbol": True, "symbol": "diamond", "symbolSize": 10}
        )
    legend = [s["name"] for s in series if "name" in s]
    if teacher is not None:
        name = {"formatter": f"Teacher {teacher:.1f}", "position": "insideStartTop"}  # curves come near the other end
        series.append(reference_line("teacher", teacher, name))
    every = [e for line in ours for e in line.estimates]
    sizes = sorted({int(e.step) for e in every} | set(paper))
    ends = [*(end for e in every for end in (e.low, e.high)), *paper.values(), 1.06 * (teacher or 0.0)]
    return {
        "animation": False,
        "grid": {**GRID, "top": 64},
        "legend": {"top": 4, "left": 4, "right": 44, **SQUARE, "data": legend},
        "tooltip": {"trigger": "item", "valueFormatter": "%.1f"},
        "toolbox": toolbox("sizes"),
        "xAxis": {
            "type": "log",
            "logBase": 2,
            "min": round(sizes[0] * 0.85, 3),
            "max": round(sizes[-1] / 0.85, 3),
            "name": "pairs",
            "nameLocation": "middle",
            "nameGap": 28,
            "axisLabel": {"customValues": sizes},
            "axisTick": {"customValues": sizes},
            "splitLine": {"show": False},
        },
        "yAxis": return_axis(ends) | {"nameTextStyle": {"align": "left"}},
        "series": series,
    }


def table_dots(table: Mapping[str, Mapping[str, Estimate]], paper: Mapping[str, float]) -> Spec:
    """Dataset -> method -> estimate as dots with whiskers, one band per dataset; diamonds at the paper's figures."""
    names = list(table)
    methods = list(dict.fromkeys(method for row in table.values() for method in row))
    series: list[Spec] = []
    for place, method in enumerate(methods):
        shift = (place + 0.5) / len(methods) - 0.5  # within the band of a dataset
        points = [
            (index + 0.8 * shift, table[name][method]) for index, name in enumerate(names) if method in table[name]
        ]
        look = style(method)
        series.append(_whiskers(points, look.colour, horizontal=True) | {"yAxisIndex": 1})
        series.append(
            {
                "type": "scatter",
                "name": look.label,
                "data": [[round(e.mean, 2), y] for y, e in points],
                "symbol": look.symbol,
                "symbolSize": 10,
                "itemStyle": {"color": look.colour},
                "yAxisIndex": 1,
                "z": 6,
            }
        )
    marks = [[value, names.index(name)] for name, value in paper.items() if name in table]
    if marks:
        series.append(
            {"type": "scatter", "name": "Av-PBC in the paper", "data": marks, "symbol": "diamond", "symbolSize": 12}
            | {"itemStyle": {"color": "transparent", "borderColor": PAPER, "borderWidth": 2}, "yAxisIndex": 1, "z": 8}
        )
    every = [e for row in table.values() for e in row.values()]
    ends = [*(end for e in every for end in (e.low, e.high)), *paper.values()]
    hidden: Spec = {"axisLabel": {"show": False}, "axisTick": {"show": False}, "axisLine": {"show": False}}
    return {
        "animation": False,
        "grid": {**GRID, "top": 64},
        "legend": {"top": 4, "left": 4, "width": "90%", **SQUARE, "data": [s["name"] for s in series if "name" in s]},
        "tooltip": {"trigger": "item", "valueFormatter": "%.1f"},
        "toolbox": toolbox("table"),
        "xAxis": return_axis(ends) | {"nameLocation": "middle", "nameGap": 28},
        "yAxis": [
            {"type": "category", "inverse": True, "data": names, "splitLine": {**SPLIT, "interval": 0}}
            | {"axisTick": {"show": False}, "axisLine": {"show": False}},
            {"type": "value", "inverse": True, "min": -0.5, "max": len(names) - 0.5, "splitLine": {"show": False}}
            | hidden,
        ],
        "series": series,
    }
