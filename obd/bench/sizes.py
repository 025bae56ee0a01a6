"""Return against the number of synthetic pairs (Lei et al. 2024, figure 3): Av-PBC, N = 4 to 1,024, several seeds.

Every run takes as many outer steps as the default size takes in a minute of the whole machine.  Written to
``assets/benchmarks/sizes.json`` after every run, so that a second call continues where the first ended.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from obd.bench.showcase import budget_steps
from obd.config import DEFAULT_DATASET, DistillConfig, dumps
from obd.data.catalog import load_dataset
from obd.engine.distill import distill
from obd.events import ShouldStop
from obd.paths import assets_dir
from obd.runs.execute import measure, open_teacher
from obd.runs.store import write_atomic

SIZES = (4, 16, 64, 256, 1024)
SEEDS = 3
BUDGET = 60.0  # seconds of the whole machine at the default size


def run(*, quick: bool, say: Callable[[str], None], should_stop: ShouldStop) -> dict[str, Any]:
    """Distil and measure what is missing; returns all rows."""
    folder = Path(tempfile.mkdtemp()) if quick else assets_dir() / "benchmarks"
    path = folder / "sizes.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"] if path.exists() else []
    dataset = load_dataset(DEFAULT_DATASET)
    rows = [row for row in rows if row["dataset_hash"] == dataset.content_hash]
    steps = int(rows[0]["outer_steps"]) if rows else budget_steps(1.0 if quick else BUDGET)
    for seed in range(1 if quick else SEEDS):
        for size in SIZES:
            if should_stop() or any(row["size"] == size and row["seed"] == seed for row in rows):
                continue
            config = DistillConfig(dataset=dataset.id, size=size, seed=seed, steps=steps)
            result = distill(config, dataset, open_teacher(config, dataset), should_stop=should_stop)
            if should_stop():  # an unfinished set says nothing about its size
                continue
            scores = measure(result, dataset)
            rows.append(
                {
                    "dataset": dataset.id,
                    "dataset_hash": dataset.content_hash,
                    "objective": config.objective,
                    "size": size,
                    "seed": seed,
                    "outer_steps": steps,
                    "ensemble_normalized_return_mean": scores["ensemble"]["normalized_return_mean"],
                    **scores["students"],
                }
            )
            say(f"N = {size}, seed {seed}: {rows[-1]['normalized_return_mean']:.1f}")
            write_atomic(path, dumps({"command": "python -m obd bench sizes", "rows": rows}))
    return {"rows": rows}
