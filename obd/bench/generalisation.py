"""How distilled sets serve students they were not made for: architecture x optimizer (Lei et al. 2024, table 4).

The sets are those of the showcase.  Students of every cell are trained by the fixed rule of
:func:`obd.students.train_other_students`; nothing is tuned per cell.  Written to
``assets/benchmarks/generalisation.json`` after every cell, so that a second call continues where the first ended.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from obd.config import dumps
from obd.data.catalog import load_dataset
from obd.engine.distilled import load_distilled
from obd.evaluation import evaluate
from obd.events import ShouldStop
from obd.paths import assets_dir
from obd.runs.execute import EVALUATION_SEED
from obd.runs.showcase import showcase_dir
from obd.runs.store import write_atomic
from obd.students import ARCHITECTURES, OPTIMIZERS, train_other_students

STUDENTS, EPISODES = 10, 3
WIDTHS = ("width64", "width128", "width512", "width1024")


def run(*, quick: bool, say: Callable[[str], None], should_stop: ShouldStop) -> dict[str, Any]:
    """Train and roll out what is missing; returns all rows."""
    path = Path(tempfile.mkdtemp()) if quick else assets_dir() / "benchmarks"
    return cells(path / "generalisation.json", ("av_pbc",) if quick else ("dbc", "pbc", "av_pbc"), say, should_stop)


def cells(
    path: Path, objectives: tuple[str, ...], say: Callable[[str], None], should_stop: ShouldStop
) -> dict[str, Any]:
    """All cells of ``objectives``; rows of other sets than today's showcase are dropped."""
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"] if path.exists() else []
    kept: list[dict[str, Any]] = []
    pairs = [(a, o) for a in ARCHITECTURES if a not in WIDTHS for o in ("recipe", *OPTIMIZERS)]
    pairs += [(width, "recipe") for width in WIDTHS]
    for objective in objectives:
        distilled = load_distilled(showcase_dir() / objective / "distilled.npz")
        dataset = load_dataset(distilled.card["dataset"])
        origin = {"dataset": dataset.id, "objective": objective, "step_sizes": list(distilled.recipe.step_sizes)}
        for architecture, optimizer in pairs:
            cell = origin | {"architecture": architecture, "optimizer": optimizer}
            known = [row for row in rows if cell.items() <= row.items()]
            if known or should_stop():
                kept += known
                continue
            students = train_other_students(
                distilled, STUDENTS, EVALUATION_SEED, architecture=architecture, optimizer=optimizer
            )
            score = evaluate(
                dataset.env_id, students, dataset.reference_returns, episodes=EPISODES, seed=EVALUATION_SEED
            )
            kept.append(cell | score.to_dict())
            say(f"{objective} {architecture} {optimizer}: {score.normalized_return_mean:.1f}")
            write_atomic(path, dumps({"command": "python -m obd bench generalisation", "rows": kept}))
    return {"rows": kept}
