"""Side-by-side videos of students, random selection and the teacher; made once per run and kept in its directory."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from obd.data.dataset import OfflineDataset, normalized_return
from obd.engine.distilled import load_distilled
from obd.errors import ObdError
from obd.paths import assets_dir, cache_dir
from obd.policy import Policy
from obd.render.backend import gl_backend
from obd.render.trajectory import record
from obd.render.video import Panel, tile_video
from obd.runs.store import ACTIVE_STATES, Run, disk_error, read_json, write_atomic
from obd.students import random_selection, train_students
from obd.ui.tasks import Task
from obd.ui.theme import style

STUDENT_SEED = 0  # the first student, whatever it does: choosing the best one would flatter the method


@dataclass(frozen=True)
class Shot:
    """One panel of a video: whose it is, what it scored, how long it lasted."""

    key: str
    score: float
    episode_return: float
    seconds: float
    terminated: bool


@dataclass(frozen=True)
class Video:
    """A finished video file with what is in it."""

    path: Path
    shots: tuple[Shot, ...]
    renderer: str

    def scores(self) -> dict[str, float]:
        return {shot.key: shot.score for shot in self.shots}


def distilled_runs(runs: Sequence[Run]) -> list[Run]:
    """The runs with a distilled set, once none of the group is active: until then their sets still change."""
    if any(run.status().get("state") in ACTIVE_STATES for run in runs):
        return []
    return [run for run in runs if (run.path / "distilled.npz").is_file()]


def video_path(runs: Sequence[Run], seed: int, seconds: float) -> Path:
    """Where the video of these runs belongs; another distilled set gives another name."""
    stamps = [f"{run.id}:{(run.path / 'distilled.npz').stat().st_mtime_ns}" for run in runs]
    digest = hashlib.sha256("|".join(stamps).encode()).hexdigest()[:8]
    shipped = assets_dir() in runs[0].path.parents  # the showcase is not written to
    folder = cache_dir() / "videos" if shipped else runs[0].path / "videos"
    return folder / f"side-by-side-{digest}-seed{seed}-{seconds:g}s.mp4"


def existing(path: Path) -> Video | None:
    """The video made earlier, or None."""
    notes = path.with_suffix(".json")
    if not (path.is_file() and notes.is_file()):
        return None
    try:
        values = read_json(notes)
        return Video(path, tuple(Shot(**shot) for shot in values["shots"]), str(values["renderer"]))
    except (ObdError, KeyError, TypeError):
        return None


def make(
    task: Task,
    path: Path,
    runs: Sequence[Run],
    dataset: OfflineDataset,
    teacher: Callable[[], Policy],
    *,
    seed: int,
    seconds: float,
) -> Video:
    """Train one student per set, record one episode each from the same start and tile them into ``path``.

    Args:
        task: told the progress; cancelling it raises Cancelled here.
        dataset: for random selection and the scale of returns.
        teacher: gives the teacher's policy; an ObdError from it leaves the teacher out.
        seed: of the environment's start state.
        seconds: length shown; the returns are those of whole episodes.
    """
    policies = cast(runs, dataset, teacher)
    task.progress(0.25)
    panels, shots = [], []
    for done, (key, policy) in enumerate(policies):
        report = task.part(0.25 + 0.25 * done / len(policies), 0.25 + 0.25 * (done + 1) / len(policies))
        trajectory = record(dataset.env_id, policy, seed, should_stop=task.should_stop, on_progress=report)
        score = float(normalized_return(trajectory.total_return, dataset.reference_returns))
        shots.append(Shot(key, score, trajectory.total_return, trajectory.seconds, trajectory.terminated))
        panels.append(Panel(style(key).label, style(key).colour, trajectory, f"{score:.0f}"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(path, error) from error
    tile_video(path, panels, seconds=seconds, on_progress=task.part(0.5, 1.0), should_stop=task.should_stop)
    video = Video(path, tuple(shots), "schematic" if gl_backend() is None else "mujoco")
    notes = {"shots": [asdict(shot) for shot in video.shots], "renderer": video.renderer}
    write_atomic(path.with_suffix(".json"), json.dumps(notes, indent=2))
    return video


def cast(runs: Sequence[Run], dataset: OfflineDataset, teacher: Callable[[], Policy]) -> list[tuple[str, Policy]]:
    """The policies of a video, in the order of its panels."""
    chosen = random_selection(dataset, runs[0].config, STUDENT_SEED)
    found: list[tuple[str, Policy]] = [("random_selection", train_students(chosen, 1, STUDENT_SEED)[0])]
    for run in runs:
        distilled = load_distilled(run.path / "distilled.npz")
        found.append((run.config.objective, train_students(distilled, 1, STUDENT_SEED)[0]))
    with contextlib.suppress(ObdError):  # an imported dataset may have no teacher
        found.append(("teacher", teacher()))
    return found
