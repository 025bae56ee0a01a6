"""Returns after three minutes of distillation: objective x seed, ten students x three episodes each, and the ensemble.

The first call measures how many outer steps one run takes on all cores within the budget; that count is written into
every line and all other runs take as many steps, so that a busy machine changes their time and not their result.
The three objectives of a seed run side by side.  Every finished line is appended to
``assets/benchmarks/returns.jsonl``; a second call continues where the first ended.  The runs of seed 0 become the
showcase.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from obd.bench.showcase import budget_steps, publish, race
from obd.config import DEFAULT_DATASET, MAIN_OBJECTIVES
from obd.data.catalog import load_dataset
from obd.events import ShouldStop
from obd.runs.lines import append_line, lines_path, read_lines
from obd.runs.showcase import showcase_dir
from obd.runs.store import Run

NAME = "returns"
FIELDS = ("dataset_hash", "objective", "seed", "outer_steps", "students", "ensemble")
SEEDS = 3
BUDGET = 180.0  # seconds of the whole machine per run


def run(
    *, quick: bool, say: Callable[[str], None], should_stop: ShouldStop, steps: int | None = None
) -> dict[str, Any]:
    """Distil and measure what is missing, then summarise all lines with that number of outer steps.

    Args:
        steps: outer steps of each run; those of the earlier lines, or of the budget, when None.
    """
    dataset = load_dataset(DEFAULT_DATASET)
    path = Path(tempfile.mkdtemp()) / "quick.jsonl" if quick else lines_path(NAME)
    lines = [line for line in read_lines(path, FIELDS) if line["dataset_hash"] == dataset.content_hash]
    if steps is None:
        steps = int(lines[0]["outer_steps"]) if lines else budget_steps(3.0 if quick else BUDGET)
    lines = [line for line in lines if line["outer_steps"] == steps]
    known = {line["seed"] for line in lines}
    say(f"{steps} outer steps each")
    for seed in reversed(range(1 if quick else SEEDS)):
        if seed in known or should_stop():
            continue
        with tempfile.TemporaryDirectory() as folder:
            runs = race(Path(folder), seed, steps, should_stop, live=seed == 0)
            if should_stop():  # unfinished runs say nothing about the budget
                break
            added = [described(finished) | {"dataset_hash": dataset.content_hash} for finished in runs]
            if seed == 0 and not quick:
                publish(runs, showcase_dir())
        lines += added
        for line in added:
            append_line(path, line)
            say(json.dumps(line))
    return {
        objective: summary([line for line in lines if line["objective"] == objective]) for objective in MAIN_OBJECTIVES
    }


def described(finished: Run) -> dict[str, Any]:
    """One line of the table."""
    status, config = finished.status(), finished.config
    return {
        "objective": config.objective,
        "seed": config.seed,
        "seconds": status["seconds"],
        "outer_steps": status["step"],
        "initial_loss": status["initial_loss"],
        "final_loss": status["loss"],
        **finished.evaluation(),
    }


def summary(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and spread over seeds of the students' and the ensemble's normalised return."""
    one_student = [line["students"]["normalized_return_mean"] for line in lines]
    ensemble = [line["ensemble"]["normalized_return_mean"] for line in lines]
    spread = [line["students"]["normalized_return_std_over_students"] for line in lines]
    if not lines:
        return {}
    return {
        "students_mean": round(float(np.mean(one_student)), 2),
        "std_over_seeds": round(float(np.std(one_student, ddof=1)), 2) if len(lines) > 1 else None,
        "std_over_students": round(float(np.mean(spread)), 2),
        "ensemble_mean": round(float(np.mean(ensemble)), 2),
        "final_loss": round(float(np.mean([line["final_loss"] for line in lines])), 5),
        "outer_steps": [line["outer_steps"] for line in lines],
        "seeds": len(lines),
    }
