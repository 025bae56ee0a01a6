"""Make the comparison that ships with the project: DBC, PBC and Av-PBC side by side, and a video of their students.

Everything goes to ``assets/showcase``; the runs are ordinary run directories without their checkpoints.
``python -m obd.bench.showcase`` only films the shipped runs again.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v2
from PIL import Image

from obd.config import MAIN_OBJECTIVES, DistillConfig
from obd.data.catalog import load_dataset
from obd.engine.distill import Distiller
from obd.errors import Cancelled
from obd.events import ShouldStop
from obd.render.crew import Crew
from obd.runs.execute import GroupExecution
from obd.runs.showcase import showcase_dir
from obd.runs.store import Run, create_run
from obd.teachers.files import shipped_teacher_path
from obd.teachers.teacher import load_teacher
from obd.ui import cast, videos
from obd.ui.tasks import Task

BUDGET = 180.0  # seconds of the whole machine for each of the three
CALIBRATION_STEPS = 30
PICTURE_WIDTH, PICTURE_EVERY, PICTURE_SECONDS = 640, 2, 6.0  # the animated picture of the README


def run(*, quick: bool, say: Callable[[str], None], should_stop: ShouldStop) -> dict[str, Any]:
    """Distil, measure, film; ``quick`` writes to a temporary folder and leaves the shipped files alone."""
    target = Path(tempfile.mkdtemp()) if quick else showcase_dir()
    with tempfile.TemporaryDirectory() as folder:
        runs = race(Path(folder), 0, budget_steps(3.0 if quick else BUDGET), should_stop)
        if should_stop():  # keep the showcase that is there
            raise Cancelled
        for finished in runs:
            say(f"{finished.id}: {finished.status()} {finished.evaluation()}")
        publish(runs, target)
        scores = {finished.config.objective: finished.evaluation()["students"] for finished in runs}
    return {"folder": str(target), **scores}


def budget_steps(seconds: float, config: DistillConfig | None = None, kind: type[Distiller] = Distiller) -> int:
    """Outer steps that one run (default settings) takes on all cores in ``seconds``, from a trial of it."""
    config = config or DistillConfig()
    dataset = load_dataset(config.dataset)
    distiller = kind(config, dataset, load_teacher(shipped_teacher_path(dataset.id)))
    times = []
    for step in range(1 + CALIBRATION_STEPS):
        began = time.perf_counter()
        distiller.step(step, 1000)
        times.append(time.perf_counter() - began)
    return max(1, round(seconds / statistics.median(times[1:])))  # the first step warms up


def race(folder: Path, seed: int, steps: int, should_stop: ShouldStop, live: bool = True) -> list[Run]:
    """Distil the three objectives side by side in ``folder`` and measure them."""
    configs = [DistillConfig(objective=objective, seed=seed, steps=steps) for objective in MAIN_OBJECTIVES]
    runs = [create_run(config, path=folder / config.objective, group="showcase", name="Showcase") for config in configs]
    GroupExecution(runs, live=live)(should_stop)
    return runs


def publish(runs: list[Run], target: Path) -> None:
    """Copy finished runs into ``target`` and film their students."""
    target.mkdir(parents=True, exist_ok=True)
    for finished in runs:
        shutil.rmtree(target / finished.id, ignore_errors=True)
        shutil.copytree(finished.path, target / finished.id, ignore=shutil.ignore_patterns("checkpoint.safetensors"))
    film(runs, target)


def film(runs: list[Run], target: Path) -> None:
    """Film the students of finished runs, side by side and in a race, into ``target``."""
    dataset = load_dataset(runs[0].config.dataset)
    teacher = load_teacher(shipped_teacher_path(dataset.id))
    members = cast.choices(runs, cast.snapshots(runs), teacher=True)
    usual = tuple(cast.select(members, cast.usual(members), [1]))
    task, shelf = Task(lambda _task: None, "showcase"), cast.Shelf(videos.KEPT_POLICIES)
    with Crew() as crew, tempfile.TemporaryDirectory() as folder:
        for view, name in videos.SHIPPED.items():
            request = videos.Request(usual, view)
            video = videos.make(task, request, Path(folder) / name, dataset, lambda: teacher, crew, shelf)
            for path in (video.path, video.path.with_suffix(".json")):
                shutil.copy(path, target / path.name)
    animate(target / videos.SHIPPED["tiled"], target / "rollouts.webp")


def animate(video: Path, picture: Path) -> None:
    """A small animated picture of the video's first seconds, for the README."""
    opened: Any = imageio.v2.get_reader(video)
    with opened as reader:
        rate = float(reader.get_meta_data()["fps"])
        frames = [
            Image.fromarray(frame)
            for index, frame in enumerate(reader)
            if index < PICTURE_SECONDS * rate and index % PICTURE_EVERY == 0
        ]
    height = round(frames[0].height * PICTURE_WIDTH / frames[0].width)
    small = [frame.resize((PICTURE_WIDTH, height)) for frame in frames]
    pause = round(1000 * PICTURE_EVERY / rate)
    small[0].save(picture, save_all=True, append_images=small[1:], duration=pause, loop=0, quality=60)


if __name__ == "__main__":  # the films alone, once more
    film([Run(showcase_dir() / objective) for objective in MAIN_OBJECTIVES], showcase_dir())
