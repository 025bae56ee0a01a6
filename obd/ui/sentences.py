"""The sentences the app says about numbers.  Pure functions: results in, one plain sentence out."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from obd.config import DistillConfig
from obd.runs.manage import read_label
from obd.runs.store import Run
from obd.ui.charts import Estimate
from obd.ui.monitor import GroupProgress, RunView
from obd.ui.theme import style

Array = NDArray[np.floating[Any]]

STATE_WORDS = {
    "queued": "waiting its turn",
    "calibrating": "measuring the speed of this machine",
    "running": "distilling",
    "evaluating": "measuring returns",
    "finished": "finished",
    "paused": "paused",
    "stopped": "stopped",
    "failed": "failed",
    "interrupted": "interrupted",
}

FEW_STEPS = 100  # the showcase is at 70 % of its teacher after 54 outer steps and at 90 % after 154


def result_sentence(views: Sequence[RunView], teacher: float | None, transitions: int | None) -> str:
    """The outcome of a finished group: the best objective, its return and its share of the teacher's."""
    results = [(view, result) for view in views if (result := view.result()) is not None]
    if not results:
        return "The runs ended before students were measured, so there is no return to report."
    best, result = max(results, key=lambda pair: pair[1].mean)
    half_width = (result.high - result.low) / 2
    kind = "normalised return" if best.normalised else "raw return"
    source = f" distilled from {transitions:,} transitions" if transitions else ""
    sentence = (
        f"Students trained on {best.size} {style(best.objective).label} pairs{source} reach a {kind} of "
        f"**{result.mean:.1f} ± {half_width:.1f}**"
    )
    if teacher is not None and teacher > 0:
        sentence += f", {share(result.mean, teacher)} of the teacher's {teacher:.1f}"
    others = [f"{style(v.objective).label} {r.mean:.1f}" for v, r in results if v is not best]
    sentence += f" ({', '.join(others)})." if others else "."
    if best.run.config.seconds is not None and best.step < FEW_STEPS:
        sentence += f" Only {count(best.step, 'outer step')} fitted into the time on this machine; more time helps."
    return minus(sentence)


def share(value: float, whole: float) -> str:
    """``value`` as a percentage of ``whole``, in whole percent."""
    return f"{100 * value / whole:.0f} %"


def percent(change: float) -> str:
    """A relative change with its sign: ``−54 %``."""
    return minus(f"{100 * change:+.0f} %")


def progress_sentence(progress: GroupProgress, position: int | None) -> str:
    """What the group is doing now.  ``position`` counts the groups ahead of it in the queue."""
    if progress.state == "queued":
        if position:
            return f"Queued: {count(position, 'run')} ahead of this one, it starts by itself."
        return "Queued: it starts by itself in a moment."
    return STATE_WORDS.get(progress.state, progress.state).capitalize() + "."


def points(value: float) -> str:
    """A return with one decimal, thousands grouped, a real minus: ``−1,325.0``."""
    return minus(f"{value:,.1f}")


def minus(text: str) -> str:
    """``text`` with real minus signs before its numbers, none before a zero; hyphens inside words and names stay."""
    text = re.sub(r"(?<![\w.)-])-(?=0(?:\.0+)?(?!\.?\d))", "", text)
    return re.sub(r"(?<![\w.)-])-(?=\d)", "−", text)


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """``75 s`` below two minutes, else ``4 min``, else ``2.5 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def group_label(runs: Sequence[Run]) -> str:
    """A short name of a group for a list: when it was started, and its own name or its objectives.

    It must not change with time: Streamlit tells a list's entries apart by their labels.
    """
    started = time.strftime("%d %b %H:%M", time.localtime(float(runs[0].header()["created"])))
    names = {read_label(run).name for run in runs}
    labels = ", ".join(dict.fromkeys(style(run.config.objective).label for run in runs))
    return f"{started} · {names.pop() if len(names) == 1 and '' not in names else labels}"


def distinct(labels: Mapping[str, str]) -> dict[str, str]:
    """The same labels by key, numbered where one occurs twice, oldest (last) first."""
    seen: dict[str, int] = {}
    result = {}
    for key, label in reversed(list(labels.items())):
        seen[label] = seen.get(label, 0) + 1
        result[key] = label if seen[label] == 1 else f"{label} ({seen[label]})"
    return {key: result[key] for key in labels}


def movement(start: Array, moved: Array) -> float:
    """Mean distance per dimension (root mean square) between two sets of normalised states ``[N, obs_dim]``."""
    distance = np.sqrt(((moved - start) ** 2).mean(axis=1))
    return float(distance.mean())


def movement_sentence(distance: float, step: int, objective: str, size: int) -> str:
    """The message of the map of states."""
    label = style(objective).label
    if step == 0:
        return f"The {size} {label} states begin as real ones, drawn at random from the data."
    return (
        f"After {count(step, 'outer step')} the {size} {label} states have moved **{distance:.2f}** standard "
        "deviations per dimension from the real states they began as."
    )


FILMING = "The students are being trained and filmed; all start from the same state."


class Filmed(Protocol):
    """What a sentence about a video needs of each of its policies."""

    @property
    def key(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def score(self) -> float: ...
    @property
    def distance(self) -> float | None: ...


def rollouts_sentence(shots: Sequence[Filmed], view: str) -> str:
    """The message of a video: who of the students returns most, or in a race who is ahead in the end."""
    students = [shot for shot in shots if shot.key not in ("teacher", "random_selection", "whole_bc")]
    if view == "race":
        places = sorted((s for s in shots if s.distance is not None), key=lambda s: -(s.distance or 0.0))
        if places:
            others = [f"{shot.label} {shot.distance:z.1f} m" for shot in places[1:]]
            end = f"; then {', '.join(others)}." if others else "."
            return minus(f"**{places[0].label}** is ahead in the end with {places[0].distance:z.1f} m{end}")
    if not students:
        return minus("In this episode " + ", ".join(f"{shot.label} returns {shot.score:z.1f}" for shot in shots) + ".")
    best = max(students, key=lambda shot: shot.score)
    text = f"In this episode **{best.label}** returns {best.score:z.1f}"
    others = [
        f"{words} {shot.score:z.1f}"
        for key, words in (
            ("random_selection", "a student of as many random pairs"),
            ("whole_bc", "behaviour cloning of the whole dataset"),
            ("teacher", "the teacher"),
        )
        if (shot := next((shot for shot in shots if shot.key == key), None)) is not None
    ]
    return minus(text + "".join(f", {other}" for other in others) + ".")


def interval(estimate: Estimate) -> str:
    """``38.1 (35.0 to 41.2)``."""
    return minus(f"{estimate.mean:.1f} ({estimate.low:.1f} to {estimate.high:.1f})")


def settings_line(config: DistillConfig) -> str:
    """The settings that matter, in one line."""
    budget = count(config.steps, "step") if config.steps else f"{duration(config.seconds or 0)} each"
    density = f"density power {config.density_power:g} · " if config.density_power else ""
    columns = f" in {config.columns} columns" if config.columns > 1 else ""
    visited = f"visitation share {config.share_of_states:g} · " if config.share_of_states < 1 else ""
    return (
        f"{config.dataset} · {config.size} pairs · {budget} · {config.inner_steps} inner steps · "
        f"{config.hidden_layers} layers of {config.hidden_width}{columns} · {density}{visited}"
        f"seed {config.seed} · preset {config.preset}"
    )
