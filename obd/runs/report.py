"""A report as one HTML file: text, tables, drawn curves and bars, pictures and a clip, without a single request.

This module knows nothing about runs or colours; ``obd.ui.comparison`` fills it.  All text is escaped here.
"""

from __future__ import annotations

import base64
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating[Any]]

MAX_CLIP = 3 * 2**20  # bytes; base64 makes four thirds of them
WIDTH, HEIGHT, ROW = 760, 300, 30  # of a drawing, and of a row of bars
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 12, 40  # margins around the axes
NAME = 30  # letters that fit beside a bar
VALUES = 110  # the column of numbers at the right of the bars
DASHES = {"solid": "", "dashed": "7 4", "dotted": "3 3", "dashdot": "8 3 2 3"}


@dataclass(frozen=True)
class Line:
    """A curve ``x, y`` of equal length; with ``low`` and ``high`` every point has a whisker."""

    name: str
    colour: str
    dash: str
    x: Values
    y: Values
    low: Values | None = None
    high: Values | None = None


@dataclass(frozen=True)
class Bar:
    """A mean with its interval; ``reference`` is a published figure, drawn as a diamond."""

    name: str
    colour: str
    mean: float
    low: float
    high: float
    reference: float | None = None
    hollow: bool = False


@dataclass(frozen=True)
class Table:
    """A table; every cell becomes text."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True)
class Media:
    """A picture or clip that is put into the file."""

    kind: str  # "image/png", "video/mp4"
    content: bytes
    alt: str


@dataclass(frozen=True)
class Section:
    """A heading, the sentence that is its message, and what shows it (``svg`` is trusted, it comes from here)."""

    heading: str
    sentence: str
    svg: str = ""
    table: Table | None = None
    media: Media | None = None


def html_report(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """The whole file."""
    body = "\n".join(_section(section) for section in sections)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{_CSS}</style></head>
<body><main><h1>{escape(title)}</h1><p class="lead">{escape(subtitle)}</p>
{body}
</main></body></html>
"""


def _section(section: Section) -> str:
    parts = [f"<section><h2>{escape(section.heading)}</h2>"]
    if section.sentence:
        parts.append(f"<p>{escape(section.sentence)}</p>")
    if section.svg:
        parts.append(f'<figure class="scroll">{section.svg}</figure>')
    if section.table is not None:
        parts.append(_table(section.table))
    if section.media is not None:
        parts.append(_media(section.media))
    return "\n".join([*parts, "</section>"])


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(str(cell))}</th>" for cell in table.header)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(str(c))}</td>' for c in row)}</tr>" for row in table.rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _media(media: Media) -> str:
    source = f"data:{media.kind};base64,{base64.b64encode(media.content).decode()}"
    if media.kind.startswith("video/"):
        return (
            f'<video controls autoplay loop muted playsinline aria-label="{escape(media.alt)}" src="{source}"></video>'
        )
    return f'<img alt="{escape(media.alt)}" src="{source}">'


# -- drawings ------------------------------------------------------------------------------------------------


def lines_svg(
    lines: Sequence[Line],
    *,
    x_name: str,
    y_name: str,
    x_end: float,
    ends: tuple[float, float],
    ticks: Sequence[float],
    log: bool = False,
) -> str:
    """Curves on common axes: x from 0 to ``x_end``, y between ``ends`` (a log axis if ``log``)."""
    low, high = (math.log(ends[0]), math.log(ends[1])) if log else ends

    def place_x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(max(value / max(x_end, 1e-9), 0.0), 1.0)

    def place_y(value: float) -> float:
        level = math.log(max(value, 1e-12)) if log else value
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(max((level - low) / (high - low), 0.0), 1.0)

    legend_rows = -(-len(lines) // 3)
    parts = [_grid_line(LEFT, place_y(tick), WIDTH - RIGHT, place_y(tick)) for tick in ticks]
    parts += [_text(LEFT - 6, place_y(tick) + 4, f"{tick:g}", "end") for tick in ticks]
    for tick in round_ticks(x_end):
        parts.append(_text(place_x(tick), HEIGHT - BOTTOM + 16, f"{tick:g}", "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_name, "middle"))
    parts.append(
        _text(14, (HEIGHT - BOTTOM) / 2, y_name, "middle", f'transform="rotate(-90 14 {(HEIGHT - BOTTOM) / 2:.0f})"')
    )
    for number, line in enumerate(lines):
        points = [(place_x(x), place_y(y)) for x, y in zip(line.x, line.y, strict=True)]
        stroke = f'fill="none" stroke="{escape(line.colour)}" stroke-width="2"'
        parts.append(f'<polyline {stroke} stroke-dasharray="{DASHES.get(line.dash, "")}" points="{_points(points)}"/>')
        if line.low is not None and line.high is not None:
            for (x, y), a, b in zip(points, line.low, line.high, strict=True):
                parts.append(f'<path {stroke} d="M{x:.1f} {place_y(a):.1f}V{place_y(b):.1f}"/>')
                parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{escape(line.colour)}"/>')
        x, y = LEFT + (number % 3) * 235, HEIGHT + 14 + 18 * (number // 3)
        parts.append(f'<path {stroke} stroke-dasharray="{DASHES.get(line.dash, "")}" d="M{x} {y - 4}h28"/>')
        parts.append(_text(x + 34, y, line.name, "start"))
    return _svg(HEIGHT + 18 * legend_rows + 6, f"{y_name} over {x_name}", parts)


def bars_svg(
    bars: Sequence[Bar],
    *,
    axis_name: str,
    ends: tuple[float, float],
    reference_name: str,
    number: str = "%.1f",
    points: bool = False,
) -> str:
    """Horizontal bars from zero (``points``: circles) with 95 % whiskers; diamonds mark published figures.

    ``number`` is the format of the means.
    """
    left, low, high = 210, *ends
    bottom = ROW * len(bars) + TOP

    def place(value: float) -> float:
        return left + (WIDTH - left - VALUES) * min(max((value - low) / max(high - low, 1e-9), 0.0), 1.0)

    parts: list[str] = []
    for tick in round_ticks(high, low):
        parts.append(_grid_line(place(tick), TOP, place(tick), bottom))
        parts.append(_text(place(tick), bottom + 16, f"{tick:g}", "middle"))
    for row, bar in enumerate(bars):
        y = TOP + ROW * row + ROW / 2
        look = f'fill="{escape(bar.colour)}" fill-opacity="{0.35 if bar.hollow else 1}" stroke="{escape(bar.colour)}"'
        if points:
            parts.append(f'<circle cx="{place(bar.mean):.1f}" cy="{y:.1f}" r="7" {look}/>')
        else:
            start, end = sorted((place(0.0), place(bar.mean)))
            parts.append(f'<rect x="{start:.1f}" y="{y - 8:.1f}" width="{end - start:.1f}" height="16" {look}/>')
        whisker = f"M{place(bar.low):.1f} {y - 5:.1f}v10m0-5H{place(bar.high):.1f}m0-5v10"
        parts.append(f'<path class="ink" d="{whisker}"/>')
        name = textwrap.wrap(bar.name, NAME, max_lines=2, placeholder=" …")
        for nth, line in enumerate(name):
            parts.append(_text(left - 8, y + 4 + 13 * (nth - (len(name) - 1) / 2), line, "end"))
        parts.append(_text(WIDTH - VALUES + 12, y + 4, number % bar.mean, "start"))
        if bar.reference is not None:
            parts.append(_text(WIDTH - VALUES + 52, y + 4, f"◆ {bar.reference:.1f}", "start"))
            parts.append(f'<path class="mark" d="M{place(bar.reference):.1f} {y - 9:.1f}l6 9l-6 9l-6-9z"/>')
    marked = f"; {reference_name}" if any(bar.reference is not None for bar in bars) else ""
    parts.append(_text(left, bottom + 34, f"{axis_name}; whiskers: 95 % interval{marked}", "start"))
    return _svg(bottom + 42, f"{axis_name} of {len(bars)} methods", parts)


def round_ticks(high: float, low: float = 0.0, count: int = 6) -> list[float]:
    """Round numbers between ``low`` and ``high``, about ``count`` of them."""
    span = max(high - low, 1e-9)
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor * count >= span)
    return [index * step for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _svg(height: float, label: str, parts: Sequence[str]) -> str:
    inside = "\n".join(parts)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}" role="img" '
        f'aria-label="{escape(label)}"><style>{_SVG_CSS}</style>{inside}</svg>'
    )


def svg_file(svg: str) -> str:
    """A drawing as a file of its own; inside HTML the name of the language is not needed."""
    return svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(text)}</text>'


def _grid_line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path class="grid" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/>'


_SVG_CSS = (
    "text{font:12px system-ui,sans-serif;fill:#555B66}.grid{stroke:#8A8F98;stroke-opacity:.3;fill:none}"
    ".ink{stroke:#555B66;stroke-width:1.5;fill:none}.mark{fill:#fff;stroke:#20242C;stroke-width:1.5}"
    "@media(prefers-color-scheme:dark){text{fill:#C3C9D4}.ink{stroke:#C3C9D4}}"
)
_CSS = (
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:0;background:Canvas;color:CanvasText}"
    "main{max-width:50rem;margin:0 auto;padding:2rem 1rem}h1{line-height:1.2}h2{margin-top:2.5rem}"
    ".lead{opacity:.75}figure{margin:0}.scroll{overflow-x:auto}img,video{max-width:100%;height:auto;border-radius:.4rem}"
    "svg{max-width:100%;height:auto}@media(max-width:40rem){figure svg{max-width:none;width:46rem}}"
    "table{border-collapse:collapse;font-size:.9rem}th,td{text-align:left;padding:.3rem .8rem;"
    "border-bottom:1px solid #8A8F9855}"
)
