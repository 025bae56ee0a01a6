"""Return against the number of synthetic pairs (Lei et al. 2024, section 5): Av-PBC, N = 4 to 1,024.

Every size takes the same number of outer steps, the one that the default size takes in the budget with the whole
machine to itself: counts can be repeated on another machine, seconds cannot.  (Below 128 pairs a step is cheaper,
from 256 on every inner step looks at 128 pairs whatever the size, so the time hardly grows.)  Beside every size stands
its honest baseline, as many random states with the teacher's actions, trained in the better of two ways.  One finished
set is one line of ``assets/benchmarks/sizes.jsonl``; a second call continues where the first ended.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from obd.bench.generalisation import DATASETS, planned_steps
from obd.bench.paper_table import played
from obd.config import DistillConfig
from obd.data.catalog import load_dataset
from obd.data.dataset import OfflineDataset
from obd.engine.distill import distill
from obd.events import ShouldStop
from obd.runs.execute import EVALUATION_SEED, open_teacher
from obd.runs.lines import Line, append_line, lines_path, read_lines
from obd.runs.sizes import DISTILLED, FIELDS, NAME, SELECTED
from obd.students import selection, train_other_students, train_students

SIZES = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
SECONDS, SEEDS, STUDENTS, EPISODES = 180.0, 1, 10, 5
QUICK_SIZES, QUICK_STUDENTS, QUICK_EPISODES = (4, 16), 2, 1
# Selected pairs come without a recipe: the one a distillation starts from, five times as long, or 400 steps of Adam.
SELECTION_WAYS = (("recipe", 400), ("adam", 80))  # optimizer, inner steps of the recipe


def run(
    *,
    quick: bool,
    say: Callable[[str], None],
    should_stop: ShouldStop,
    datasets: Sequence[str] = DATASETS,
    seeds: int = SEEDS,
    seconds: float = SECONDS,
    steps: int | None = None,
) -> dict[str, Any]:
    """Measure what is missing; returns the number of outer steps and all lines with it or with none.

    Args:
        seconds: of the whole machine for a distillation of the default size; earlier lines of this budget fix the
            count of steps.
        steps: outer steps of each distillation, instead of a budget.
    """
    path = Path(tempfile.mkdtemp()) / "quick.jsonl" if quick else lines_path(NAME)
    lines = read_lines(path, FIELDS)
    amount = (QUICK_STUDENTS, QUICK_EPISODES) if quick else (STUDENTS, EPISODES)
    budget = None if steps else 2.0 if quick else seconds
    count = steps or planned_steps(lines, budget)
    say(f"{count} outer steps for each set")
    for measured_line in (line for line in lines if line["outer_steps"] in (count, 0)):
        say(described(measured_line))
    for seed in range(1 if quick else seeds):
        for dataset_id in datasets[:1] if quick else datasets:
            dataset = load_dataset(dataset_id)
            for size in QUICK_SIZES if quick else SIZES:
                for method, wanted in ((DISTILLED, count), (SELECTED, 0)):
                    known = any(key(line) == (dataset.content_hash, method, size, seed, wanted) for line in lines)
                    if known or should_stop():
                        continue
                    config = distillation(dataset.id, size, seed, count)
                    line = measured(dataset, method, config, *amount, should_stop)
                    if line is None:  # stopped: an unfinished set says nothing about its size
                        break
                    line |= {"outer_steps": wanted, "budget_seconds": budget}
                    lines.append(line)
                    append_line(path, line)
                    say(described(line))
    return {"outer_steps": count, "rows": [line for line in lines if line["outer_steps"] in (count, 0)]}


def described(line: Line) -> str:
    mean = np.mean(line["students"])
    return f"{line['dataset']} {line['method']} N = {line['size']} seed {line['seed']}: {mean:.1f}"


def key(line: Line) -> tuple[str, str, int, int, int]:
    return line["dataset_hash"], line["method"], line["size"], line["seed"], line["outer_steps"]


def distillation(dataset_id: str, size: int, seed: int, steps: int) -> DistillConfig:
    """The settings of a set: the defaults but for its size (and what follows from it, the visitation share)."""
    return DistillConfig(dataset=dataset_id, size=size, seed=seed, steps=steps, seconds=None)


def measured(
    dataset: OfflineDataset, method: str, config: DistillConfig, students: int, episodes: int, should_stop: ShouldStop
) -> Line | None:
    """Distil or select, train and play students and their ensemble; None if stopped on the way."""
    began = time.perf_counter()
    teacher = open_teacher(config, dataset)
    found: list[Line] = []
    if method == DISTILLED:
        result = distill(config, dataset, teacher, should_stop=should_stop)
        if should_stop():
            return None
        found.append(played(train_students(result, students, EVALUATION_SEED), dataset, episodes, should_stop))
    else:
        for optimizer, inner_steps in SELECTION_WAYS:
            result = selection(dataset, config.replace(inner_steps=inner_steps), SELECTED, teacher, config.seed)
            policies = train_other_students(result, students, EVALUATION_SEED, optimizer=optimizer)
            found.append(played(policies, dataset, episodes, should_stop) | {"optimizer": optimizer})
    return {
        "dataset": dataset.id,
        "dataset_hash": dataset.content_hash,
        "method": method,
        "size": config.size,
        "seed": config.seed,
        "seconds": round(time.perf_counter() - began, 1),
        **max(found, key=lambda line: float(np.mean(line["students"]))),
    }
