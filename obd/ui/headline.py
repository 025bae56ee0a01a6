"""The numbers of the first screen, read from the shipped showcase runs and baselines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from obd.errors import ObdError
from obd.runs.baselines import dataset_baselines
from obd.runs.showcase import showcase_dir, showcase_runs
from obd.runs.store import Run, read_json
from obd.ui.charts import Estimate
from obd.ui.monitor import estimate
from obd.ui.sentences import share
from obd.ui.theme import OBJECTIVE_KEYS, style


@dataclass(frozen=True)
class Number:
    """One headline number."""

    label: str
    value: str
    help: str


@dataclass(frozen=True)
class Headline:
    """Bars, their sentence and the numbers."""

    rows: list[tuple[str, Estimate]]
    sentence: str
    numbers: list[Number]


@dataclass(frozen=True)
class Clip:
    """The looping video of the first screen and the (key, normalised return) of the episodes in it."""

    path: Path
    scores: list[tuple[str, float]]


def clip() -> Clip | None:
    """The shipped video; None when it or its notes are missing or damaged."""
    path = showcase_dir() / "rollouts.mp4"
    try:
        shots = read_json(path.with_suffix(".json"))["shots"]
        return Clip(path, [(str(shot["key"]), float(shot["score"])) for shot in shots]) if path.is_file() else None
    except (ObdError, KeyError, TypeError, ValueError):
        return None


def load() -> Headline | None:
    """The shipped result, or None when the showcase is missing or not evaluated; ObdError when damaged."""
    runs = [run for run in showcase_runs() if run.evaluation().get("students")]
    if not runs:
        return None
    config = runs[0].config
    scores = {run.config.objective: estimate(run.evaluation()["students"]) for run in runs}
    baselines = {key: estimate(score) for key, score in dataset_baselines(config.dataset, config.size).items() if score}
    return summarise(scores, baselines, runs)


def summarise(scores: dict[str, Estimate], baselines: dict[str, Estimate], runs: list[Run]) -> Headline:
    """Put the scores of objectives and baselines (by key) in the order they are shown in."""
    rows = [("random_selection", baselines["random_selection"])] if "random_selection" in baselines else []
    rows += [(key, scores[key]) for key in OBJECTIVE_KEYS if key in scores]
    rows += [(key, baselines[key]) for key in ("whole_bc", "teacher") if key in baselines]
    best = max(scores, key=lambda key: scores[key].mean)
    best_run = next(run for run in runs if run.config.objective == best)
    return Headline(rows, sentence(best, scores[best], baselines, best_run), numbers(best_run, scores[best], baselines))


def sentence(best: str, score: Estimate, baselines: dict[str, Estimate], run: Run) -> str:
    """What the bars say."""
    size = run.config.size
    text = f"{size} {style(best).label} pairs carry a student to {score.mean:.0f} (0 is random, 100 expert)"
    if "random_selection" in baselines:
        selection = baselines["random_selection"].mean
        text += f"; {size} pairs picked at random, trained in the way that suits them best, {selection:.0f}"
    return text + ". Whiskers: 95 % intervals."


def numbers(run: Run, score: Estimate, baselines: dict[str, Estimate]) -> list[Number]:
    """Compression, training time of a student, share of the teacher: those the files know."""
    found = []
    transitions = source_transitions(run)
    if transitions:
        found.append(
            Number(
                "Transitions → pairs",
                f"{_short(transitions)} → {run.config.size}",
                f"{transitions:,} transitions in {run.config.dataset}",
            )
        )
    seconds = student_seconds(run.evaluation())
    steps = run.config.inner_steps
    if seconds is not None:
        found.append(Number("Training a student", f"{seconds:.1f} s", f"{steps} gradient steps on the distilled pairs"))
    else:
        found.append(Number("Training a student", f"{steps} steps", "gradient steps on the distilled pairs"))
    if "teacher" in baselines and baselines["teacher"].mean > 0:
        found.append(
            Number(
                "Of the teacher's return",
                share(score.mean, baselines["teacher"].mean),
                "normalised return of students, as a share of the teacher's",
            )
        )
    return found


def source_transitions(run: Run) -> int | None:
    """How many transitions the run was distilled from, as its card says."""
    return _find(run.distilled().card, "transitions") if (run.path / "distilled.npz").is_file() else None


def student_seconds(evaluation: dict[str, Any]) -> float | None:
    """Seconds that training one student took, when the evaluation recorded them."""
    for part in (evaluation.get("students", {}), evaluation):
        if part.get("student_seconds") is not None:
            return float(part["student_seconds"])
    return None


def _find(values: dict[str, Any], name: str) -> int | None:
    """An integer called ``name`` anywhere in nested dictionaries."""
    for key, value in values.items():
        if key in (name, f"dataset_{name}", f"source_{name}") and isinstance(value, int):
            return value
        if isinstance(value, dict) and (inner := _find(value, name)) is not None:
            return inner
    return None


def _short(number: int) -> str:
    return f"{number / 1000:.0f}k" if number >= 10_000 else str(number)
