"""The report of a comparison: fills ``obd.runs.report`` with the drawings, tables and pictures of some runs."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from obd.config import DistillConfig, options
from obd.errors import ObdError
from obd.insight.pose import supports_pose
from obd.runs.manage import is_own, read_label
from obd.runs.published import SOURCE
from obd.runs.report import MAX_CLIP, Bar, Line, Media, Section, Table, bars_svg, html_report, lines_svg, round_ticks
from obd.runs.showcase import showcase_dir
from obd.ui import comparison
from obd.ui.charts import return_number
from obd.ui.comparison import RESULT_HEADER, X_NAMES, Compared
from obd.ui.live import raw_returns
from obd.ui.overlays import BarRow, Trace, bar_axis, trace_axis, x_end
from obd.ui.series import log_extent, log_ticks, thin
from obd.ui.theme import style

POSES, POINTS = 6, 300


def build(compared: Sequence[Compared], x: str) -> str:
    """The whole report of the runs as HTML; takes about a second when poses are drawn."""
    curves, rows = comparison.traces(compared, x), comparison.bar_rows(compared)
    configs = [one.config for one in compared]
    sections = [Section("Runs", comparison.differences_sentence(configs), table=overview(compared))]
    if rows:
        sentence = comparison.bars_sentence(compared, rows)
        table = Table(RESULT_HEADER, comparison.result_table(rows))
        drawing = bars_drawing(rows, raw_returns([one.view for one in compared]))
        sections.append(Section("Returns of students", sentence, svg=drawing, table=table))
    clip = film(compared)
    if clip is not None:
        sections.append(Section("Students at work", clip.alt, media=clip))
    if any(len(curve.x) for curve in curves):
        sections.append(Section("Losses", comparison.loss_sentence(compared), svg=loss_drawing(curves, x)))
    if any(curve.points for curve in curves):
        drawing = return_drawing(curves, x, raw_returns([one.view for one in compared]))
        sections.append(Section("Returns on the way", comparison.return_sentence(compared), svg=drawing))
    sections += [section for one in compared if (section := poses(one)) is not None]
    sections.append(Section("Settings", "All settings of the runs.", table=settings(compared)))
    made = time.strftime("%d %B %Y, %H:%M")
    subtitle = f"Offline behaviour distillation ({SOURCE}); made with the OBD studio on {made}."
    *names, last = [one.label for one in compared]
    title = f"Comparison of {', '.join(names)} and {last}" if names else f"Distillation with {last}"
    return html_report(title, subtitle, sections)


def overview(compared: Sequence[Compared]) -> Table:
    rows = []
    for one in compared:
        label, status = read_label(one.run), one.run.status()
        made = comparison.numbers_line(one.config, float(status.get("seconds") or 0))
        rows.append((one.label, one.view.dataset, made, one.view.state, label.note))
    return Table(("run", "dataset", "made", "state", "note"), rows)


def settings(compared: Sequence[Compared]) -> Table:
    configs = [one.config for one in compared]
    rows = [
        (described.label, *(comparison.spoken(name, getattr(config, name)) for config in configs))
        for name, described in options(DistillConfig).items()
    ]
    return Table(("setting", *(one.label for one in compared)), rows)


def bars_drawing(rows: Sequence[BarRow], raw: bool) -> str:
    bars = [
        Bar(r.label, style(r.key).colour, r.estimate.mean, r.estimate.low, r.estimate.high, r.paper, r.ensemble)
        for r in rows
    ]
    axis = bar_axis(rows, raw)
    return bars_svg(
        bars,
        axis_name=axis["name"],
        ends=(axis["min"], axis["max"]),
        reference_name="diamond: the paper",
        number=return_number(raw),
        points=raw,
    )


def loss_drawing(curves: Sequence[Trace], x: str) -> str:
    lines = []
    for curve in curves:
        keep = thin(len(curve.x), POINTS)
        lines.append(Line(curve.label, curve.colour, curve.dash, curve.x[keep], curve.smoothed()[keep]))
    ends = log_extent(np.concatenate([line.y for line in lines]))
    ticks = log_ticks(*ends)
    return lines_svg(
        lines,
        x_name=X_NAMES[x],
        y_name="loss",
        x_end=x_end(curves),
        ends=ends,
        ticks=ticks[:: -(-len(ticks) // 8)],
        log=True,
    )


def return_drawing(curves: Sequence[Trace], x: str, raw: bool) -> str:
    lines = [
        Line(
            curve.label,
            curve.colour,
            curve.dash,
            *(np.array([getattr(p, part) for p in curve.points]) for part in ("step", "mean", "low", "high")),
        )
        for curve in curves
    ]
    axis = trace_axis(curves, raw)
    ends = axis["min"], axis["max"]
    ticks = round_ticks(axis["max"], axis["min"])
    return lines_svg(lines, x_name=X_NAMES[x], y_name=axis["name"], x_end=x_end(curves), ends=ends, ticks=ticks)


def film(compared: Sequence[Compared]) -> Media | None:
    """The newest video of the first run that has one and is small enough; the shipped one for the showcase."""
    for one in compared:
        folder = one.run.path / "videos" if is_own(one.run) else showcase_dir()
        for path in sorted(folder.glob("*.mp4"), key=_changed, reverse=True):
            if 0 < path.stat().st_size <= MAX_CLIP:
                return Media("video/mp4", path.read_bytes(), _clip_words(path.stem))
    return None


def _clip_words(stem: str) -> str:
    """What a clip shows; its file is called after its view."""
    how = "race on one track" if stem.startswith("race") else "side by side"
    return f"Students of these sets {how}, from one start state."


def _changed(path: Path) -> float:
    return path.stat().st_mtime


def poses(one: Compared) -> Section | None:
    """A strip of distilled states as side views, evenly chosen by number."""
    from obd.render.poses import poses_strip  # imports MuJoCo

    try:
        distilled = one.run.distilled()
        env_id = str(distilled.card.get("env_id", ""))
        if not supports_pose(env_id):
            return None
        chosen = thin(len(distilled), POSES)
        strip = poses_strip(
            env_id, distilled.observations[chosen], accents=style(one.view.objective).colour, schematic=True
        )
    except ObdError:  # a report is not refused for a missing picture
        return None
    stream = io.BytesIO()
    Image.fromarray(strip).save(stream, "PNG", optimize=True)
    text = f"Distilled states {', '.join(str(i + 1) for i in chosen)} of {len(distilled)}, drawn from the side."
    return Section(f"Poses of {one.label}", text, media=Media("image/png", stream.getvalue(), text))
