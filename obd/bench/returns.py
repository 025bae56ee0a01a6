"""Returns after three minutes of distillation on all cores: objective x seed, ten students, beside the baselines.

Every finished line is appended to ``assets/benchmarks/returns.jsonl``; a second call continues where the first ended.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from obd.config import DEFAULT_DATASET, OBJECTIVES, DistillConfig
from obd.data.catalog import load_dataset
from obd.events import ShouldStop
from obd.paths import assets_dir
from obd.runs.execute import GroupExecution, measure
from obd.runs.store import create_run

SECONDS, SEEDS = 180.0, 3


def run(*, quick: bool, say: Callable[[str], None], should_stop: ShouldStop) -> dict[str, Any]:
    """Distil and measure what is missing, then summarise all lines."""
    dataset = load_dataset(DEFAULT_DATASET)
    path = Path(tempfile.mkdtemp()) / "quick.jsonl" if quick else assets_dir() / "benchmarks" / "returns.jsonl"
    path.parent.mkdir(exist_ok=True)
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    known = {(line["objective"], line["seed"]) for line in lines if line["dataset_hash"] == dataset.content_hash}
    for seed in range(1 if quick else SEEDS):
        for objective in OBJECTIVES:
            if (objective, seed) in known or should_stop():
                continue
            line = one(objective, seed, 5.0 if quick else SECONDS, should_stop) | {"dataset_hash": dataset.content_hash}
            lines.append(line)
            with open(path, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")
            say(json.dumps(line))
    return {objective: summary([line for line in lines if line["objective"] == objective]) for objective in OBJECTIVES}


def one(objective: str, seed: int, seconds: float, should_stop: ShouldStop) -> dict[str, Any]:
    """Distil once and score ten fresh students by three episodes, and their ensemble."""
    config = DistillConfig(objective=objective, seed=seed, seconds=seconds)
    with tempfile.TemporaryDirectory() as folder:
        run = create_run(config, path=Path(folder) / "run")
        GroupExecution([run], live=False, final=False)(should_stop)
        status = run.status()
        scores = measure(run.distilled(), load_dataset(config.dataset), should_stop=should_stop)
    return {
        "objective": objective,
        "seed": seed,
        "seconds": status["seconds"],
        "outer_steps": status["step"],
        "initial_loss": status["initial_loss"],
        "final_loss": status["loss"],
        **scores,
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
