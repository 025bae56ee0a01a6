"""How good are the teachers that ship?  Each plays ten episodes from the start states of three evaluation seeds.

Nothing is trained, so this takes a minute.  The scores replace those of the teachers in
``assets/benchmarks/baselines.json``, which the app shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from obd.bench.baselines import store, teacher_score
from obd.data.catalog import BUILTIN, load_dataset
from obd.events import ShouldStop
from obd.runs.baselines import dataset_baselines
from obd.teachers.files import shipped_teacher_path
from obd.teachers.teacher import load_teacher

STATES = 5_000  # of the data, at which the teacher's actions are looked at
NEAR_BOUND = 0.98


def run(
    *,
    quick: bool,
    say: Callable[[str], None],
    should_stop: ShouldStop,
    datasets: Sequence[str] = tuple(BUILTIN),
) -> dict[str, Any]:
    """Measure the shipped teachers of these datasets; stored unless ``quick`` (one episode per seed)."""
    result = {}
    for dataset_id in datasets:
        dataset = load_dataset(dataset_id, should_stop=should_stop)
        teacher = load_teacher(shipped_teacher_path(dataset.id))
        score = teacher_score(teacher, dataset, 1 if quick else 10, should_stop)
        returns = dataset.normalized(dataset.episode_returns)
        states = dataset.observations[:: max(1, len(dataset) // STATES)]
        near = (teacher.act(torch.from_numpy(states)).abs() > NEAR_BOUND).double().mean()
        row = result[dataset.id] = score | {
            "algorithm": teacher.algorithm,
            "actions_near_bound": round(float(near), 3),
            "dataset_mean": round(float(returns.mean()), 2),
            "dataset_max": round(float(returns.max()), 2),
        }
        if not quick:
            store(dataset.id, {"teacher": score})
        cloned = dataset_baselines(dataset.id, 256).get("whole_bc", {}).get("normalized_return_mean", np.nan)
        low, high = row["normalized_return_ci95"]
        say(
            f"{dataset.id:33} {row['algorithm']:7} {row['normalized_return_mean']:6.1f} [{low:.1f}, {high:.1f}], worst "
            f"episode {row['worst']:.1f}; data {row['dataset_mean']:.1f}, best {row['dataset_max']:.1f}, whole-data BC "
            f"{cloned:.1f}; {100 * near:.0f} % of the action entries near a bound"
        )
    return result
