"""How good a teacher does every algorithm give?  Each is trained with several seeds and rolled out for ten episodes.

Beside it: the mean return of the data and behaviour cloning of the whole data.  The settings are those of a preset
with its time budget replaced by about the number of updates that fit into it on a free core, so that a busy machine
changes the time and not the result.  Every finished training is one line of
``assets/benchmarks/teachers.jsonl``; a second call trains what is missing for the present settings.
"""

from __future__ import annotations

import itertools
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from obd.config import DEFAULT_DATASET
from obd.data.catalog import load_dataset
from obd.data.dataset import OfflineDataset
from obd.evaluation import evaluate, summarize
from obd.events import ShouldStop
from obd.runs.execute import EVALUATION_SEED
from obd.runs.lines import append_line, lines_path, read_lines
from obd.teachers import ALGORITHMS, DEFAULT_PRESET, algorithm, teacher_config, train

NAME = "teachers"
FIELDS = ("dataset_hash", "algorithm", "seed", "config", "updates", "score")
EPISODES = 10
UPDATES = {
    "td3_bc": 30_000,
    "rebrac": 30_000,
    "iql": 30_000,
    "awr": 30_000,
    "cal_ql": 10_000,
    "bc": 30_000,
}  # bc ends early


def run(
    *,
    quick: bool,
    say: Callable[[str], None],
    should_stop: ShouldStop,
    dataset: str = DEFAULT_DATASET,
    seeds: int = 3,
    steps: int | None = None,
    algorithms: Sequence[str] | None = None,
    preset: str = DEFAULT_PRESET,
) -> dict[str, Any]:
    """Train what is missing with ``steps`` updates (default: :data:`UPDATES`) and print the table.

    ``quick`` takes a few updates of tiny networks and writes to a temporary file.
    """
    data = load_dataset(dataset, should_stop=should_stop)
    path = Path(tempfile.mkdtemp()) / "quick.jsonl" if quick else lines_path(NAME)
    lines = read_lines(path, FIELDS)

    def wanted(name: str, seed: int) -> dict[str, Any]:
        changes: dict[str, Any] = {"hidden_width": 8, "batch_size": 16} if quick else {}
        changes |= {"seed": seed, "steps": 20 if quick else steps or UPDATES[name]}
        config = teacher_config(name, preset, data.id, **changes)
        return {"dataset_hash": data.content_hash, "algorithm": name, "seed": seed, "config": asdict(config)}

    def same(key: dict[str, Any], line: dict[str, Any]) -> bool:
        """Whether a line is of this training; a setting that came later has its default there."""
        old = asdict(algorithm(key["algorithm"]).config()) | line["config"]
        return key.items() <= (line | {"config": old}).items()

    for name, seed in itertools.product(algorithms or ALGORITHMS, range(1 if quick else seeds)):
        key = wanted(name, seed)
        if any(same(key, line) for line in lines):
            continue
        lines.append(key | measured(key, data, 1 if quick else EPISODES, should_stop))
        append_line(path, lines[-1])
        say(json.dumps(lines[-1]))
    return table(data, [line for line in lines if same(wanted(line["algorithm"], line["seed"]), line)], say)


def measured(key: dict[str, Any], dataset: OfflineDataset, episodes: int, should_stop: ShouldStop) -> dict[str, Any]:
    """One trained teacher and its return."""
    name = key["algorithm"]
    start = time.monotonic()
    teacher = train(name, dataset, algorithm(name).config(**key["config"]), should_stop=should_stop)
    seconds = time.monotonic() - start
    score = evaluate(
        dataset.env_id,
        [teacher.to_policy()],
        dataset.reference_returns,
        episodes=episodes,
        seed=EVALUATION_SEED,
        should_stop=should_stop,
    )
    return {
        "dataset": dataset.id,
        "updates": int(teacher.details["steps"]),
        "seconds": round(seconds, 1),
        "score": round(score.normalized_return_mean, 3),
        "episodes": score.episodes,
    }


def table(dataset: OfflineDataset, lines: Sequence[dict[str, Any]], say: Callable[[str], None]) -> dict[str, Any]:
    """Mean over seeds and its 95 % interval (Student's t over seeds) per algorithm, best first."""
    words = "normalised return" if dataset.reference_returns else "return"
    mean = float(dataset.normalized(dataset.episode_returns).mean())
    result: dict[str, Any] = {"dataset": dataset.id, "dataset_mean": round(mean, 2)}
    rows = []
    for name, row in ALGORITHMS.items():
        own = [line for line in lines if line["algorithm"] == name]
        if not own:
            continue
        score = summarize(np.array([[line["score"]] for line in own]), None)
        low, high = score.normalized_return_ci95
        result[name] = {
            "score": round(score.normalized_return_mean, 2),
            "ci95": [round(low, 2), round(high, 2)] if len(own) > 1 else None,
            "seeds": len(own),
            "updates": [line["updates"] for line in own],
            "seconds": [line["seconds"] for line in own],
        }
        around = f"[{low:.1f}, {high:.1f}]" if len(own) > 1 else ""
        rows.append((score.normalized_return_mean, row.label, around, len(own)))
    cloned = f"; whole-data BC: {result['bc']['score']:.1f}" if "bc" in result else ""
    say(f"{dataset.id}: {words}, mean over seeds and 95 % interval (the data's mean episode: {mean:.1f}{cloned})")
    for value, label, around, count in sorted(rows, reverse=True):
        say(f"  {label:20} {value:8.1f} {around:18} ({count} seed{'' if count == 1 else 's'})")
    return result
