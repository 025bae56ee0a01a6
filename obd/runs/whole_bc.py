"""Behaviour cloning of a whole dataset as a policy to watch: trained once, kept on disk by the data's content."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from obd.data.collect import content_hash
from obd.data.dataset import OfflineDataset
from obd.errors import ObdError
from obd.paths import cache_dir
from obd.runs.store import disk_error
from obd.teachers import train
from obd.teachers.behaviour_cloning import BCConfig
from obd.teachers.files import header
from obd.teachers.teacher import Teacher, load_teacher, save_teacher

# On the built-in data the held-out error is within a hundredth of its plateau by then.
CONFIG = BCConfig(steps=10_000, seconds=25.0)

_training = threading.Lock()


def whole_clone(dataset: OfflineDataset, on_progress: Callable[[float], None]) -> Teacher:
    """The clone of all of ``dataset``, trained now (at most 25 s) unless that has been done before.

    Of the networks on the way the one with the lowest error on held-out episodes is kept.

    Args:
        dataset: its content, not its name, decides which clone on disk is its own.
        on_progress: told the fraction done, at least twice a second; may raise to stop.

    Raises:
        ObdError: the training diverged or the cache cannot be written.
    """
    path = _path(dataset)
    while not _training.acquire(timeout=0.2):  # another video needs it too: it is trained once
        on_progress(0.0)
    try:
        if path.is_file():
            try:
                return load_teacher(path)
            except ObdError:  # damaged: made again
                path.unlink(missing_ok=True)
        clone = train("bc", dataset, CONFIG, lambda _step, report: on_progress(report["fraction"]))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(path, error) from error
        save_teacher(path, clone)
        return clone
    finally:
        _training.release()


def whole_clone_steps(dataset: OfflineDataset) -> tuple[int, int] | None:
    """Updates that the clone on disk was trained for, and the one it was kept from; None before it is made."""
    details = header(_path(dataset))
    try:
        return int(details["steps"]), int(details["best_step"])
    except (KeyError, ValueError):
        return None


def _path(dataset: OfflineDataset) -> Path:
    digest = dataset.content_hash or content_hash(dataset)
    return cache_dir() / "whole_bc" / f"{digest[:32]}.safetensors"
