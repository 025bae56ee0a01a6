"""Make the comparison that ships with the project: DBC, PBC and Av-PBC side by side, and a video of their students.

Everything goes to ``assets/showcase``; the runs are ordinary run directories without their checkpoints.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from obd.config import OBJECTIVES, DistillConfig
from obd.data.catalog import load_dataset
from obd.events import ShouldStop
from obd.runs.execute import GroupExecution
from obd.runs.showcase import showcase_dir
from obd.runs.store import create_run
from obd.teachers.teacher import load_teacher, shipped_teacher_path
from obd.ui import videos
from obd.ui.tasks import Task

SECONDS = 540.0  # for the three together, so three minutes of the machine each
VIDEO_SECONDS = 12.0


def run(*, quick: bool, say: Callable[[str], None], should_stop: ShouldStop) -> dict[str, Any]:
    """Distil, measure, film; ``quick`` writes to a temporary folder and leaves the shipped files alone."""
    seconds = 10.0 if quick else SECONDS
    target = Path(tempfile.mkdtemp()) if quick else showcase_dir()
    with tempfile.TemporaryDirectory() as folder:
        configs = [DistillConfig(objective=objective, seconds=seconds) for objective in OBJECTIVES]
        runs = [
            create_run(config, path=Path(folder) / config.objective, group="showcase", name="Showcase")
            for config in configs
        ]
        GroupExecution(runs)(should_stop)
        for finished in runs:
            say(f"{finished.id}: {finished.status()} {finished.evaluation()}")
        dataset = load_dataset(configs[0].dataset)
        teacher = load_teacher(shipped_teacher_path(dataset.id))
        video = videos.make(
            Task(lambda _task: None, "showcase"),
            Path(folder) / "rollouts.mp4",
            runs,
            dataset,
            teacher.to_policy,
            seed=0,
            seconds=VIDEO_SECONDS,
        )
        for finished in runs:
            (finished.path / "checkpoint.safetensors").unlink(missing_ok=True)
            shutil.rmtree(target / finished.id, ignore_errors=True)
            shutil.copytree(finished.path, target / finished.id)
        for path in (video.path, video.path.with_suffix(".json")):
            shutil.copy(path, target / path.name)
        scores = {finished.config.objective: finished.evaluation()["students"] for finished in runs}
    return {"folder": str(target), **scores}
