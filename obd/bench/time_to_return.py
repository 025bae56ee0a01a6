"""Time until ten students reach the return that the paper reports for Av-PBC: our settings against the paper's.

Ours are the preset that suits the machine, or a given one.  Both run on the same engine and the same machine, one
after the other.  At every snapshot ten students are trained and rolled out; the clock stands still meanwhile.
Ours is planned for ``BUDGET`` seconds and runs with several seeds, of which the median counts: which snapshot is the
first above the target is partly luck.  The paper's runs once, until it gets there or its limit is over, and then only a
lower bound of the ratio is known.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from obd.bench.showcase import budget_steps
from obd.config import DEFAULT_DATASET, DistillConfig, dumps, usual_preset
from obd.config import preset as settings
from obd.data.catalog import BUILTIN, load_dataset
from obd.data.dataset import OfflineDataset
from obd.engine.distill import as_distilled, distill
from obd.errors import ObdError
from obd.evaluation import rollout_returns
from obd.events import Event, ShouldStop, Snapshot
from obd.paths import assets_dir
from obd.runs.execute import EVALUATION_SEED, open_teacher
from obd.runs.published import published_returns
from obd.runs.store import write_atomic
from obd.students import train_students

BUDGET, LIMIT = 60.0, 1200.0  # seconds: ours is planned for the first, the paper's settings get the second
STUDENTS, EPISODES, SNAPSHOTS, SEEDS = 10, 3, 24, 3


class Race:
    """Rolls out ten students at every snapshot of a distillation, and stops it when they reach ``target``."""

    def __init__(
        self, config: DistillConfig, dataset: OfflineDataset, target: float, limit: float, stop: ShouldStop
    ) -> None:
        self.config, self.dataset, self.target, self.limit, self.stop = config, dataset, target, limit, stop
        self.began, self.standing = time.perf_counter(), 0.0
        self.best, self.reached, self.steps = float("-inf"), False, 0

    @property
    def seconds(self) -> float:
        """Since the start, without the time of measuring."""
        return time.perf_counter() - self.began - self.standing

    def on_event(self, event: Event) -> None:
        if not isinstance(event, Snapshot):
            return
        began = time.perf_counter()
        students = train_students(
            as_distilled(self.config, self.dataset, event, {"settings": {"precision": self.config.precision}}),
            STUDENTS,
            EVALUATION_SEED,
        )
        returns = rollout_returns(self.dataset.env_id, students, EPISODES, EVALUATION_SEED, should_stop=self.stop)
        score = float(np.mean(self.dataset.normalized(returns)))
        self.best, self.steps = max(self.best, score), event.step
        self.reached = score >= self.target
        self.standing += time.perf_counter() - began

    def over(self) -> bool:
        return self.reached or self.seconds > self.limit or self.stop()

    def row(self) -> dict[str, Any]:
        return {
            "preset": self.config.preset,
            "seed": self.config.seed,
            "reached": self.reached,
            "seconds": round(self.seconds, 1),
            "outer_steps": self.steps,
            "best_normalized_return": round(self.best, 2),
        }


def run(
    *,
    quick: bool,
    say: Callable[[str], None],
    should_stop: ShouldStop,
    datasets: Sequence[str] = (DEFAULT_DATASET,),
    seconds: float = LIMIT,
    preset: str | None = None,
    seeds: int = SEEDS,
) -> dict[str, Any]:
    """Race ``preset`` and the paper's on each dataset.

    Args:
        seconds: limit of the paper's settings.
        seeds: runs of ``preset``.

    Raises:
        ObdError: the paper has no figure for a dataset.
    """
    path = (Path(tempfile.mkdtemp()) if quick else assets_dir() / "benchmarks") / "time_to_return.json"
    rows: dict[str, Any] = json.loads(path.read_text())["rows"] if path.exists() else {}
    for dataset_id in datasets:
        env_id = BUILTIN[dataset_id].env_id if dataset_id in BUILTIN else ""
        target = published_returns(env_id, dataset_id).get("av_pbc")
        if target is None:
            raise ObdError(f"The paper reports no return for {dataset_id}; choose one of the built-in datasets.")
        dataset = load_dataset(dataset_id)
        name = preset or usual_preset()
        planned = [(name, seed, BUDGET, 3 * BUDGET) for seed in range(seeds)] + [("paper", 0, seconds, seconds)]
        if quick:
            planned = [(name, 0, 2.0, 3.0), ("paper", 0, 2.0, 3.0)]
        *ours, paper = (
            race(
                settings(name, dataset=dataset_id, seed=seed, snapshots=SNAPSHOTS),
                dataset,
                target,
                budget,
                limit,
                should_stop,
            )
            for name, seed, budget, limit in planned
        )
        typical = statistics.median(run["seconds"] for run in ours)
        rows[dataset_id] = {
            "command": command(dataset_id, seconds, preset, seeds),
            "dataset_hash": dataset.content_hash,
            "target": target,
            "runs": [*ours, paper],
            "ratio": round(paper["seconds"] / max(typical, 0.1), 1) if all(run["reached"] for run in ours) else None,
            "ratio_is_lower_bound": not paper["reached"],
        }
        say(f"{dataset_id}, target {target}: {ours}; {paper}")
        if not should_stop():
            path.parent.mkdir(exist_ok=True)
            write_atomic(path, dumps({"rows": rows}))
    return {"rows": rows}


def command(dataset_id: str, seconds: float, preset: str | None, seeds: int) -> str:
    """What to type for a row."""
    text = f"python -m obd bench time-to-return --datasets {dataset_id} --seconds {seconds:g} --seeds {seeds}"
    return text + (f" --preset {preset}" if preset else "")


def race(
    config: DistillConfig, dataset: OfflineDataset, target: float, budget: float, limit: float, should_stop: ShouldStop
) -> dict[str, Any]:
    """One preset from its first outer step to ``target`` or ``limit`` seconds."""
    config = config.replace(steps=budget_steps(budget, config))
    race = Race(config, dataset, target, limit, should_stop)
    distill(config, dataset, open_teacher(config, dataset), on_event=race.on_event, should_stop=race.over)
    return race.row()
