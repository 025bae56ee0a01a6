"""Returns that every distilled set is compared with: random selection, BC on the whole dataset, the teacher.

Written to ``assets/benchmarks/baselines.json``, which the app shows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from obd.config import DEFAULT_DATASET, DistillConfig, dumps
from obd.data.catalog import load_dataset
from obd.data.dataset import OfflineDataset
from obd.errors import ObdError
from obd.evaluation import Returns, rollout_returns, summarize
from obd.events import ShouldStop
from obd.paths import assets_dir
from obd.policy import Policy
from obd.runs.execute import EVALUATION_SEED
from obd.runs.store import write_atomic
from obd.students import ADAM_STEPS, random_selection, train_other_students
from obd.teachers.behaviour_cloning import BCConfig, clone_behaviour
from obd.teachers.files import shipped_teacher_path
from obd.teachers.teacher import Teacher, load_teacher

METHODS = ("teacher", "random_selection", "whole_bc")
SIZES = (256,)
SEEDS, STUDENTS, EPISODES = 3, 10, 3
TEACHER_SEEDS = 3  # of the evaluation; the teacher is one file
# Random selection gets the better of these: the recipe a distillation starts from, or far longer training with Adam.
SELECTION_RECIPES = (("recipe", 160), ("recipe", 400), ("adam", 400), ("adam", 1000))  # optimizer, steps


def run(
    *,
    quick: bool,
    say: Callable[[str], None],
    should_stop: ShouldStop,
    datasets: Sequence[str] = (DEFAULT_DATASET,),
    seeds: int = SEEDS,
    methods: Sequence[str] = METHODS,
) -> dict[str, Any]:
    """Measure ``methods`` on the datasets and store each dataset when it is done; all results by dataset id.

    Raises:
        ObdError: there is no such method.
    """
    for name in methods:
        if name not in METHODS:
            raise ObdError(f"Unknown baseline {name!r}; known are {', '.join(METHODS)}.")
    return {name: of_dataset(name, 1 if quick else seeds, quick, say, should_stop, methods) for name in datasets}


def of_dataset(
    dataset_id: str,
    seeds: int,
    quick: bool,
    say: Callable[[str], None],
    should_stop: ShouldStop,
    methods: Sequence[str] = METHODS,
) -> dict[str, Any]:
    """The baselines of one dataset; stored unless ``quick``."""
    dataset = load_dataset(dataset_id)
    result: dict[str, Any] = {
        "command": f"python -m obd bench baselines --datasets {dataset.id}",
        "dataset": dataset.id,
        "dataset_hash": dataset.content_hash,
        "dataset_normalized_return_mean": float(dataset.normalized(dataset.episode_returns).mean()),
        "dataset_normalized_return_max": float(dataset.normalized(dataset.episode_returns).max()),
    }
    if "teacher" in methods:
        teacher = load_teacher(shipped_teacher_path(dataset.id))
        result["teacher"] = teacher_score(teacher, dataset, 10, should_stop)
        say(f"teacher: {result['teacher']}")
    if "random_selection" in methods:
        for size in SIZES:
            result[f"random_selection_{size}"] = best_selection(dataset, size, seeds, say, should_stop)
    if "whole_bc" in methods:
        cloned = []
        for seed in range(seeds):
            steps = 2_000 if quick else 100_000
            outcome = clone_behaviour(dataset, BCConfig(seed=seed, steps=steps), None, should_stop)
            say(f"whole BC, seed {seed}: best step {outcome.best_step}, validation loss {outcome.best_loss:.4f}")
            cloned.append(outcome.policy)
        result["whole_bc"] = measured([cloned], dataset, 10, should_stop)
        say(f"whole BC: {result['whole_bc']}")
    if not quick and not should_stop():
        store(dataset.id, result)
    return result


def store(dataset_id: str, result: dict[str, Any]) -> None:
    """Put measured entries of a dataset into ``assets/benchmarks/baselines.json``; its others stay."""
    path = assets_dir() / "benchmarks" / "baselines.json"
    path.parent.mkdir(exist_ok=True)
    known = json.loads(path.read_text()) if path.exists() else {}
    write_atomic(path, dumps(known | {dataset_id: known.get(dataset_id, {}) | result}))


def teacher_score(teacher: Teacher, dataset: OfflineDataset, episodes: int, should_stop: ShouldStop) -> dict[str, Any]:
    """The teacher's score over the start states of three evaluation seeds, with its worst episode."""
    start = time.perf_counter()
    returns = [
        rollout_returns(
            dataset.env_id, [teacher.to_policy()], episodes, EVALUATION_SEED + seed, should_stop=should_stop
        )
        for seed in range(TEACHER_SEEDS)
    ]
    together = np.concatenate(returns, axis=1)
    score = summarize(together, dataset.reference_returns, round(time.perf_counter() - start, 2)).to_dict()
    return score | {"evaluation_seeds": TEACHER_SEEDS, "worst": float(dataset.normalized(together).min())}


def measured(
    groups: list[list[Policy]] | list[list[Any]], dataset: OfflineDataset, episodes: int, should_stop: ShouldStop
) -> dict[str, Any]:
    """One score over the policies of all groups (seeds)."""
    start = time.perf_counter()
    returns: list[Returns] = [
        rollout_returns(dataset.env_id, group, episodes, EVALUATION_SEED + seed, should_stop=should_stop)
        for seed, group in enumerate(groups)
    ]
    score = summarize(np.concatenate(returns), dataset.reference_returns, round(time.perf_counter() - start, 2))
    return score.to_dict()


def best_selection(
    dataset: OfflineDataset, size: int, seeds: int, say: Callable[[str], None], should_stop: ShouldStop
) -> dict[str, Any]:
    """Random selection with the training recipe that serves it best."""
    scores = []
    for optimizer, steps in SELECTION_RECIPES:
        inner_steps = steps // (ADAM_STEPS if optimizer == "adam" else 1)
        config = DistillConfig(dataset=dataset.id, size=size, inner_steps=inner_steps)
        groups = [
            train_other_students(random_selection(dataset, config, seed), STUDENTS, seed, optimizer=optimizer)
            for seed in range(seeds)
        ]
        score = measured(groups, dataset, EPISODES, should_stop) | {"optimizer": optimizer, "inner_steps": steps}
        say(f"random selection of {size}, {optimizer} x {steps}: {score}")
        scores.append(score)
    return max(scores, key=lambda score: float(score["normalized_return_mean"]))
