"""How distilled sets serve students they were not made for: architecture x optimizer (Lei et al. 2024, section 5).

Av-PBC with default settings is distilled once per dataset and seed; students of every kind are then trained on that
set by the one rule of :func:`obd.students.schedule`: nothing is searched or tuned per cell.  One finished cell is one
line of ``assets/benchmarks/generalisation.jsonl``; a second call continues where the first ended.  It distils a set
with missing cells again, with the recorded number of outer steps: the same machine gives the same set.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from obd.bench.showcase import budget_steps
from obd.config import DistillConfig
from obd.data.catalog import load_dataset
from obd.data.dataset import OfflineDataset
from obd.engine.distill import distill, recipe
from obd.engine.distilled import DistilledDataset, Recipe
from obd.evaluation import rollout_returns
from obd.events import ShouldStop
from obd.runs.execute import EVALUATION_SEED, open_teacher
from obd.runs.generalisation import FIELDS, NAME, Kind
from obd.runs.lines import Line, append_line, lines_path, read_lines
from obd.students import own_names, student_kinds, train_other_students

DATASETS = tuple(f"obd/{robot}/medium-replay-v0" for robot in ("halfcheetah", "hopper", "walker2d"))
SECONDS, SEEDS, STUDENTS, EPISODES = 180.0, 1, 5, 3
QUICK_ARCHITECTURES, QUICK_STUDENTS, QUICK_EPISODES = ("mlp2", "mlp3", "residual"), 2, 1


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
    """Measure the missing cells; returns the number of outer steps and all lines with it.

    Args:
        seconds: of the whole machine for each distillation; earlier lines of this budget fix the count of steps.
        steps: outer steps of each distillation, instead of a budget.
    """
    path = Path(tempfile.mkdtemp()) / "quick.jsonl" if quick else lines_path(NAME)
    lines = read_lines(path, FIELDS)
    students, episodes = (QUICK_STUDENTS, QUICK_EPISODES) if quick else (STUDENTS, EPISODES)
    budget = None if steps else 2.0 if quick else seconds
    count = steps or planned_steps(lines, budget)
    say(f"{count} outer steps for each set")
    for known in (line for line in lines if line["outer_steps"] == count):
        say(described(known))
    for seed in range(1 if quick else seeds):
        for dataset_id in datasets[:1] if quick else datasets:
            dataset = load_dataset(dataset_id)
            config = distillation(dataset.id, seed, count)
            missing = missing_kinds(lines, dataset, config, quick)
            if not missing or should_stop():
                continue
            say(f"{dataset_id} seed {seed}: distilling for {len(missing)} kinds of students")
            distilled = distill(config, dataset, open_teacher(config, dataset), should_stop=should_stop)
            for kind in missing:
                if should_stop():  # a set that was not finished or a cell that was not played says nothing
                    break
                line = cell(distilled, dataset, kind, students, episodes, should_stop)
                line |= {"seed": seed, "outer_steps": count, "budget_seconds": budget}
                lines.append(line)
                append_line(path, line)
                say(described(line))
    return {"outer_steps": count, "rows": [line for line in lines if line["outer_steps"] == count]}


def described(line: Line) -> str:
    kind = f"{line['architecture']} {line['optimizer']}"
    return f"{line['dataset']} seed {line['seed']} {kind}: {np.mean(line['students']):.1f}"


def planned_steps(lines: list[Line], budget: float | None) -> int:
    """Outer steps of a budget in seconds: as in earlier lines with it (a selection took none), else measured."""
    known = [int(line["outer_steps"]) for line in lines if budget and line.get("budget_seconds") == budget]
    return max(known, default=0) or budget_steps(budget or SECONDS)


def distillation(dataset_id: str, seed: int, steps: int) -> DistillConfig:
    """The settings of a set: the defaults."""
    return DistillConfig(dataset=dataset_id, seed=seed, steps=steps, seconds=None)


def missing_kinds(lines: list[Line], dataset: OfflineDataset, config: DistillConfig, quick: bool) -> list[Kind]:
    """The kinds of students without a line for this set."""
    known = {
        (line["architecture"], line["optimizer"])
        for line in lines
        if (line["dataset_hash"], line["seed"], line["outer_steps"])
        == (dataset.content_hash, config.seed, config.steps)
    }
    kinds = student_kinds(planned_recipe(config))
    return [kind for kind in kinds if kind not in known and (not quick or kind[0] in QUICK_ARCHITECTURES)]


def planned_recipe(config: DistillConfig) -> Recipe:
    """The recipe of a set before it is distilled: everything but its learned step sizes."""
    return recipe(config, np.full(config.hidden_layers + 1, config.inner_step_size, np.float32))


def cell(
    distilled: DistilledDataset,
    dataset: OfflineDataset,
    kind: Kind,
    students: int,
    episodes: int,
    should_stop: ShouldStop,
) -> Line:
    """Train students of one kind and play them; their normalised returns ``[students, episodes]``."""
    architecture, optimizer = kind
    policies = train_other_students(
        distilled, students, EVALUATION_SEED, architecture=architecture, optimizer=optimizer
    )
    returns = rollout_returns(dataset.env_id, policies, episodes, EVALUATION_SEED, should_stop=should_stop)
    return {
        "dataset": dataset.id,
        "dataset_hash": dataset.content_hash,
        "architecture": architecture,
        "optimizer": optimizer,
        "own": kind == own_names(distilled.recipe),
        "students": np.round(dataset.normalized(returns), 2).tolist(),
    }
