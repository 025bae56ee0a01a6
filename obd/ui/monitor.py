"""What the Distil page shows of a group of runs, read from their directories.

The run directory is the truth: a page that is opened again, or opened in a second tab, reads the same files.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from obd.errors import ObdError
from obd.runs.store import ACTIVE_STATES, Run, is_raw
from obd.ui.charts import Curve, Estimate
from obd.ui.theme import style

RATE_WINDOW = 40  # outer steps over which the speed is averaged
KEPT = 10_000  # points of a curve that are remembered; beyond them it is thinned


@dataclass
class RunView:
    """One run as it stands: status and everything measured so far."""

    run: Run
    objective: str
    name: str
    size: int
    dataset: str
    state: str = "queued"
    step: int = 0
    outer_steps: int = 0
    message: str = ""
    collected: float | None = None  # of a dataset that is being built, 0 to 1
    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    measured: dict[int, dict[str, Any]] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)

    @property
    def active(self) -> bool:
        return self.state in ACTIVE_STATES

    def curve(self) -> Curve:
        return Curve(self.objective, self.name, np.asarray(self.steps), np.asarray(self.losses))

    def rate(self) -> float | None:
        """Outer steps per second over the last steps, or None before two are done."""
        window = min(RATE_WINDOW, len(self.seconds) - 1)
        if window < 1:
            return None
        spent = self.seconds[-1] - self.seconds[-1 - window]
        return (self.steps[-1] - self.steps[-1 - window]) / spent if spent > 0 else None

    def estimates(self) -> list[Estimate]:
        """Measured returns in the order of their steps; the final evaluation comes last."""
        points = [estimate(score, step) for step, score in sorted(self.measured.items())]
        final = self.result()
        if final is not None:
            points = [p for p in points if p.step < final.step] + [final]
        return points

    @property
    def normalised(self) -> bool:
        """Whether the returns measured so far are on the 0-100 scale; see :func:`is_raw`."""
        scores = [*self.measured.values(), *([self.evaluation["students"]] if self.evaluation.get("students") else [])]
        return not any(is_raw(score) for score in scores)

    def result(self) -> Estimate | None:
        """The final evaluation of single students, if there is one."""
        score = self.evaluation.get("students")
        return estimate(score, self.step) if score else None


class RunReader:
    """Follows one run directory; each call of :meth:`read` parses only what is new.  Safe to share by tabs."""

    def __init__(self, path: Path) -> None:
        run = Run(path)
        config = run.config
        name = style(config.objective).label
        self.view = RunView(run, config.objective, name, config.size, config.dataset)
        self.offset = 0
        self.lock = threading.Lock()

    def read(self) -> RunView:
        with self.lock:
            view = self.view
            status = view.run.status()
            if (view.run.path / "metrics.jsonl").exists():
                if (view.run.path / "metrics.jsonl").stat().st_size < self.offset:  # rewritten by a resumed run
                    self.offset = 0
                rows, self.offset = view.run.metrics(self.offset)
                absorb(view, rows)
            view.state = str(status.get("state", "interrupted"))
            view.step = int(status.get("step") or 0)
            view.outer_steps = int(status.get("outer_steps") or 0)
            view.collected = status.get("collected") if view.state == "calibrating" else None
            view.message = str(status.get("message") or "")
            view.evaluation = view.run.evaluation()
            return view


def absorb(view: RunView, rows: Sequence[dict[str, Any]]) -> None:
    """Add metric rows; a resumed run repeats the steps after its checkpoint, and then the later rows count."""
    for row in rows:
        step = int(row["step"])
        if row.get("kind") == "evaluated":
            view.measured[step] = row["score"]
        elif row.get("kind") == "progress" and row.get("loss") is not None:
            while view.steps and view.steps[-1] >= step:
                view.steps.pop(), view.losses.pop(), view.seconds.pop()
            view.steps.append(step)
            view.losses.append(float(row["loss"]))
            view.seconds.append(float(row["seconds"]))
            if len(view.steps) > KEPT:
                thin(view)


def thin(view: RunView) -> None:
    """Forget all points but every 2nd, 4th, 8th ... step, so that a run of any length stays small and evenly drawn."""
    stride = 1
    while view.steps[-1] / stride > KEPT / 2:
        stride *= 2
    chosen = [index for index, step in enumerate(view.steps) if (step - view.steps[0]) % stride == 0]
    view.steps = [view.steps[index] for index in chosen]
    view.losses = [view.losses[index] for index in chosen]
    view.seconds = [view.seconds[index] for index in chosen]


def estimate(score: dict[str, Any], step: float = 0.0) -> Estimate:
    """A score (see ``obd.evaluation.Score``) as mean and 95 % interval."""
    mean = float(score["normalized_return_mean"])
    low, high = score.get("normalized_return_ci95") or (mean, mean)
    return Estimate(mean, float(low), float(high), step)


@dataclass(frozen=True)
class GroupProgress:
    """The progress of a group as four numbers and one state."""

    state: str
    fraction: float
    step: int
    outer_steps: int
    rate: float | None
    seconds_left: float | None
    collected: float | None = None


def group_progress(views: Sequence[RunView]) -> GroupProgress:
    """Summary over the runs of a group; they advance side by side, so the rate is that of all of them."""
    step = sum(view.step for view in views)
    outer_steps = sum(view.outer_steps for view in views)
    fraction = min(step / outer_steps, 1.0) if outer_steps else 0.0
    rates = [rate for view in views if view.state == "running" and (rate := view.rate()) is not None]
    left = [
        (view.outer_steps - view.step) / rate
        for view in views
        if view.state == "running" and (rate := view.rate()) is not None
    ]
    return GroupProgress(
        group_state(views),
        fraction,
        max((view.step for view in views), default=0),
        max((view.outer_steps for view in views), default=0),
        float(sum(rates)) if rates else None,
        max(left) if left else None,
        next((view.collected for view in views if view.collected is not None and view.collected < 1), None),
    )


def group_state(views: Sequence[RunView]) -> str:
    """The state that says most about a group: what still happens, else the worst end."""
    states = [view.state for view in views]
    order = ("running", "evaluating", "calibrating", "queued", "failed", "interrupted", "paused", "stopped", "finished")
    return next((state for state in order if state in states), "finished")


def read_all(readers: Sequence[RunReader]) -> tuple[list[RunView], list[str]]:
    """The readable runs and one sentence for each that is not (deleted or damaged meanwhile)."""
    views, problems = [], []
    for reader in readers:
        try:
            views.append(reader.read())
        except ObdError as error:
            problems.append(str(error))
    return views, problems
