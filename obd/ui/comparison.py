"""What the Compare page shows of several runs: looks, differences, bars and their sentences.  Pure functions."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from obd.config import DistillConfig, options
from obd.errors import ObdError
from obd.runs.baselines import dataset_baselines
from obd.runs.manage import read_label
from obd.runs.published import GPU_HOURS, published_returns
from obd.runs.store import Run
from obd.ui.charts import Estimate
from obd.ui.monitor import RunView, estimate
from obd.ui.overlays import BarRow, Trace
from obd.ui.sentences import count, distinct, duration, interval, minus
from obd.ui.theme import style

MOST = 8  # runs in one picture; more lines cannot be told apart
BASELINES = ("random_selection", "whole_bc", "teacher")
X_NAMES = {"steps": "outer steps", "seconds": "seconds"}
SYMBOLS = ("circle", "triangle", "rect", "diamond", "emptyCircle", "emptyRect", "emptyDiamond")


@dataclass(frozen=True)
class Compared:
    """A run with the name it has in this comparison and its look."""

    view: RunView
    label: str
    dash: str
    symbol: str

    @property
    def run(self) -> Run:
        return self.view.run

    @property
    def config(self) -> DistillConfig:
        return self.view.run.config


def compare(views: Sequence[RunView]) -> list[Compared]:
    """Give every run its name and look: the colour says the objective, dash and symbol tell its runs apart."""
    names, seen, found = labels(views), dict[str, int](), []
    for view, name in zip(views, names, strict=True):
        look, number = style(view.objective), seen.get(view.objective, 0)
        seen[view.objective] = number + 1
        symbol = SYMBOLS[(SYMBOLS.index(look.symbol) + number) % len(SYMBOLS)] if number else look.symbol
        found.append(Compared(view, name, look.dash_of(number), symbol))
    return found


def labels(views: Sequence[RunView]) -> list[str]:
    """Short distinct names: the objective, then what people called the run or the settings that tell it apart."""
    plain = [style(view.objective).label for view in views]
    names = []
    for view, name in zip(views, plain, strict=True):
        alike = [other for other in views if other.objective == view.objective]
        if len(alike) > 1:
            own = read_label(view.run).name
            if own and [read_label(other.run).name for other in alike].count(own) == 1:
                parts = [own]
            else:
                differing = differences([other.run.config for other in alike], ("objective",))
                index = next(i for i, other in enumerate(alike) if other is view)
                parts = [f"{setting.lower()} {cells[index]}" for setting, cells in differing[:2] if cells[index] != "–"]
            name = " · ".join([name, *parts])
        names.append(name)
    numbered = distinct({str(number): name for number, name in reversed(list(enumerate(names)))})
    return [numbered[str(number)] for number in range(len(names))]


def differences(configs: Sequence[DistillConfig], leave_out: Sequence[str] = ()) -> list[tuple[str, list[str]]]:
    """The settings in which the runs differ: (name for people, one value per run)."""
    found = []
    for name, described in options(DistillConfig).items():
        values = [getattr(config, name) for config in configs]
        if name not in leave_out and len(set(values)) > 1:
            found.append((described.label, [spoken(name, value) for value in values]))
    return found


def spoken(name: str, value: Any) -> str:
    """A setting's value for people."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "objective":
        return style(value).label
    if name == "teacher":
        return Path(value).name or "shipped"
    return f"{value:,g}" if isinstance(value, int | float) else str(value)


def traces(compared: Sequence[Compared], x: str) -> list[Trace]:
    """The curves over outer steps or over seconds (``x``)."""
    found = []
    for one in compared:
        view, points = one.view, one.view.estimates()
        xs = np.asarray(view.steps if x == "steps" else view.seconds, dtype=np.float64)
        if x == "seconds":
            known, at = [0.0, *view.steps], [0.0, *view.seconds]
            points = [Estimate(p.mean, p.low, p.high, float(np.interp(p.step, known, at))) for p in points]
        colour = style(view.objective).colour
        found.append(Trace(one.label, colour, one.dash, one.symbol, xs, np.asarray(view.losses), tuple(points)))
    return found


# -- bars ----------------------------------------------------------------------------------------------------


def env_of(run: Run) -> str:
    """The environment that the run's set is for, or "" when it has none yet."""
    try:
        return str(run.distilled().card.get("env_id", ""))
    except ObdError:
        return ""


def bar_rows(compared: Sequence[Compared]) -> list[BarRow]:
    """Single students, their ensemble below, then what the common dataset's baselines reached."""
    rows = []
    for one in compared:
        view, paper = one.view, published_returns(env_of(one.run), one.view.dataset)
        for part in ("students", "ensemble"):
            score = view.evaluation.get(part)
            if score:
                key = view.objective + ("_ensemble" if part == "ensemble" else "")
                label = f"{one.label}, ensemble" if part == "ensemble" else one.label
                rows.append(BarRow(label, view.objective, estimate(score), part == "ensemble", paper.get(key)))
    sources = {(one.view.dataset, one.view.size) for one in compared}
    if rows and len(sources) == 1:
        ((dataset, size),) = sources
        paper = published_returns(env_of(compared[0].run), dataset)
        known = dataset_baselines(dataset, size)
        for key in BASELINES:
            if known.get(key):
                rows.append(BarRow(style(key).label, key, estimate(known[key]), paper=paper.get(key)))
    return rows


# -- sentences -----------------------------------------------------------------------------------------------


def loss_sentence(compared: Sequence[Compared]) -> str:
    """Whose loss fell most, in its own measure: heights of different objectives do not compare."""
    falls = {}
    for one in compared:
        values = one.view.losses
        if len(values) >= 2:
            smoothed = traces([one], "steps")[0].smoothed()
            falls[one.label] = (1 - smoothed[-1] / smoothed[0], smoothed[0], smoothed[-1])
    if not falls:
        return "No loss has been written down for these runs."
    best = max(falls, key=lambda label: falls[label][0])
    share, first, last = falls[best]
    verb = "fell" if share >= 0 else "rose"
    text = f"The loss of {best} {verb} by {abs(100 * share):.0f} %, from {first:.3g} to {last:.3g} (smoothed)"
    return text + (", more than any other here." if len(falls) > 1 else ".")


def return_sentence(compared: Sequence[Compared]) -> str:
    """Who ends (or, without a final measurement, stands) highest, and whether the next one's interval overlaps."""
    results = [(one.label, points[-1]) for one in compared if (points := one.view.estimates())]
    if not results:
        return "No students of these runs have been measured yet."
    final = all(one.view.result() is not None for one in compared if one.view.estimates())
    results.sort(key=lambda pair: pair[1].mean, reverse=True)
    (label, best), others = results[0], results[1:]
    text = f"{label} {'ends highest' if final else 'is highest so far'}: {interval(best)}"
    if not others:
        text = f"Students of {label} {'end' if final else 'stand'} at {interval(best)}"
    if others:
        name, second = others[0]
        overlap = "overlaps, so the order may be chance" if second.high >= best.low else "lies below it"
        text += f"; the 95 % interval of {name}, {interval(second)}, {overlap}"
    return text + "."


def bars_sentence(compared: Sequence[Compared], rows: Sequence[BarRow]) -> str:
    """The best set beside the paper's figure for its objective, and what the ensemble changes."""
    single = [row for row in rows if not row.ensemble and row.key in {one.view.objective for one in compared}]
    if not single:
        return "These runs have no measured students yet."
    if len({env_of(one.run) for one in compared} - {""}) > 1:  # a run without a set yet has no returns either
        return "These runs are of different robots, so their returns do not compare; each stands beside its own figure."
    best = max(single, key=lambda row: row.estimate.mean)
    if len(single) > 1 and len({f"{row.estimate.mean:.1f}" for row in single}) == 1:
        return minus(f"The sets here all return {best.estimate.mean:.1f}; none is ahead.")
    text = f"The best set here is {best.label} at {best.estimate.mean:.1f}"
    together = next((row for row in rows if row.ensemble and row.label == f"{best.label}, ensemble"), None)
    if together is not None:
        change = together.estimate.mean - best.estimate.mean
        word = "gains" if change >= 0 else "loses"
        if round(abs(change), 1):
            text += f" (the mean action of its students {word} {abs(change):.1f})"
    level = [row.label for row in single if row is not best and row.estimate.high >= best.estimate.low]
    if level:
        text += (
            f", {' and '.join(level)} within chance of it" if len(level) < 3 else ", most others within chance of it"
        )
    if best.paper is not None:
        text += (
            f"; the paper reports {best.paper:.1f} for {style(best.key).label} on D4RL's set of this kind, another "
            f"dataset, after {GPU_HOURS} GPU-hours"
        )
    return minus(text + ".")


def differences_sentence(configs: Sequence[DistillConfig]) -> str:
    total = len(options(DistillConfig))
    if len(configs) < 2:
        return f"One run alone differs from nothing; it has {total} settings. Choose a second run in the table."
    differing = [name.lower() for name, _ in differences(configs)]
    if not differing:
        return f"All {total} settings of these {len(configs)} runs are equal."
    return f"These {len(configs)} runs differ in {len(differing)} of {total} settings: {', '.join(differing)}."


# -- tables --------------------------------------------------------------------------------------------------

RESULT_HEADER = ("run", "return", "95 % low", "95 % high", "the paper")


def result_table(rows: Sequence[BarRow]) -> list[tuple[object, ...]]:
    """The bars as numbers."""
    return [
        (r.label, *(round(v, 2) for v in (r.estimate.mean, r.estimate.low, r.estimate.high)), r.paper or "")
        for r in rows
    ]


def csv_text(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table as CSV.  A text that a spreadsheet would run as a formula gets a quotation mark in front."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow([f"'{cell}" if isinstance(cell, str) and cell[:1] in "=+-@\t" else cell for cell in row])
    return stream.getvalue()


def curve_rows(found: Sequence[Trace], part: str) -> tuple[list[str], list[tuple[object, ...]]]:
    """The numbers behind an overlay: ``part`` is ``losses`` or ``returns``."""
    if part == "losses":
        rows = [(t.label, float(x), float(y)) for t in found for x, y in zip(t.x, t.losses, strict=True)]
        return ["run", "x", "loss"], list(rows)
    points = [(t.label, round(p.step, 2), p.mean, p.low, p.high) for t in found for p in t.points]
    return ["run", "x", "return", "95 % low", "95 % high"], list(points)


def numbers_line(config: DistillConfig, seconds: float) -> str:
    """How a run was made, in a few words."""
    return f"{count(config.size, 'pair')}, {duration(seconds)}, seed {config.seed}"


def score_text(evaluation: Mapping[str, Any]) -> str:
    """``27.7 ± 7.8`` or nothing."""
    score = evaluation.get("students")
    if not score:
        return ""
    value = estimate(score)
    return minus(f"{value.mean:.1f} ± {(value.high - value.low) / 2:.1f}")
