"""How good a teacher does every algorithm give?  Each is trained with several seeds and rolled out for ten episodes.

Beside it: the mean return of the data and behaviour cloning of the whole data.  Every finished training is one line of
``assets/benchmarks/teachers.jsonl``; a second call trains what is missing.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from obd.config import DEFAULT_DATASET
from obd.data.catalog import load_dataset
from obd.data.dataset import OfflineDataset
from obd.evaluation import evaluate
from obd.events import ShouldStop
from obd.paths import assets_dir
from obd.runs.execute import EVALUATION_SEED
from obd.teachers import ALGORITHMS, teacher_config, train

EPISODES = 10


def run(
    *,
    quick: bool,
    say: Callable[[str], None],
    should_stop: ShouldStop,
    dataset: str = DEFAULT_DATASET,
    seeds: int = 3,
    steps: int | None = None,
    algorithms: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Train what is missing with preset ``fast`` (``steps`` replaces its time budget) and print the table.

    ``quick`` takes a few updates of tiny networks and writes to a temporary file.
    """
    data = load_dataset(dataset, should_stop=should_stop)
    path = Path(tempfile.mkdtemp()) / "quick.jsonl" if quick else assets_dir() / "benchmarks" / "teachers.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for name in algorithms or ALGORITHMS:
        for seed in range(1 if quick else seeds):
            wanted = {"dataset_hash": data.content_hash, "algorithm": name, "seed": seed, "requested_steps": steps}
            if any(all(line.get(key) == value for key, value in wanted.items()) for line in lines):
                continue
            line = wanted | measured(name, seed, data, 20 if quick else steps, quick, should_stop)
            lines.append(line)
            with open(path, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")
            say(json.dumps(line))
    chosen = [line for line in lines if line["dataset_hash"] == data.content_hash and line["requested_steps"] == steps]
    return table(data, chosen, say)


def measured(
    name: str, seed: int, dataset: OfflineDataset, steps: int | None, quick: bool, should_stop: ShouldStop
) -> dict[str, Any]:
    """One trained teacher and its return."""
    changes = {"hidden_width": 8, "batch_size": 16} if quick else {}
    config = teacher_config(name, "fast", seed=seed, **({"steps": steps} if steps else {}), **changes)
    start = time.monotonic()
    teacher = train(name, dataset, config, should_stop=should_stop)
    seconds = time.monotonic() - start
    score = evaluate(
        dataset.env_id,
        [teacher.to_policy()],
        dataset.reference_returns,
        episodes=1 if quick else EPISODES,
        seed=EVALUATION_SEED,
        should_stop=should_stop,
    )
    return {
        "dataset": dataset.id,
        "preset": "fast",
        "updates": int(teacher.details["steps"]),
        "seconds": round(seconds, 1),
        "score": round(score.normalized_return_mean, 3),
        "episodes": score.episodes,
    }


def table(dataset: OfflineDataset, lines: Sequence[dict[str, Any]], say: Callable[[str], None]) -> dict[str, Any]:
    """Mean and standard deviation over seeds per algorithm, best first."""
    words = "normalised return" if dataset.reference_returns else "return"
    mean = float(dataset.normalized(dataset.episode_returns).mean())
    result: dict[str, Any] = {"dataset": dataset.id, "dataset_mean": round(mean, 2)}
    rows = []
    for name, row in ALGORITHMS.items():
        own = [line for line in lines if line["algorithm"] == name]
        if not own:
            continue
        scores = [line["score"] for line in own]
        spread = float(np.std(scores, ddof=1)) if len(scores) > 1 else None
        result[name] = {
            "score": round(float(np.mean(scores)), 2),
            "std_over_seeds": None if spread is None else round(spread, 2),
            "seeds": len(scores),
            "updates": [line["updates"] for line in own],
            "seconds": [line["seconds"] for line in own],
        }
        rows.append((float(np.mean(scores)), row.label, spread, len(scores)))
    say(f"{dataset.id}: {words} (the data's mean episode: {mean:.1f})")
    for score, label, spread, count in sorted(rows, reverse=True):
        around = f" ± {spread:.1f}" if spread is not None else ""
        say(f"  {label:20} {score:8.1f}{around} ({count} seed{'' if count == 1 else 's'})")
    return result
