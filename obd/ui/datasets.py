"""The datasets as the Data page uses them: what the catalogue shows and everything that takes longer than a moment."""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from obd.data.card import Card, dataset_card, stored_card
from obd.data.catalog import DatasetInfo
from obd.data.identifiers import metadata_of
from obd.data.remote import download, list_remote
from obd.errors import ObdError
from obd.paths import cache_dir
from obd.ui import state
from obd.ui.tasks import Task

FRAMES = 6  # of each episode in the strip
FRAME_WIDTH, FRAME_HEIGHT, GAP = 160, 120, 4
STRIP_SIZE = (FRAMES * (FRAME_WIDTH + GAP) - GAP, FRAME_HEIGHT)
SHOWN = ("worst", "median", "best")
REMOTE = ("remote datasets",)

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Strip:
    """Pictures of three episodes, one file each, and the episodes' raw returns and lengths."""

    files: dict[str, Path]
    returns: dict[str, float]
    lengths: dict[str, int]
    renderer: str


def catalogue() -> list[DatasetInfo]:
    """Built-in and local datasets, and those on the server once they were asked for."""
    found = state.datasets()
    task = state.tasks().get(REMOTE)
    if task is None or task.state != "done":
        return found
    known = {info.id for info in found}
    return found + [info for info in task.result if info.id not in known]


def ask_server() -> Task:
    """The task that lists the datasets on Minari's server."""
    return state.tasks().start_once(REMOTE, lambda task: list_remote(should_stop=task.should_stop), "remote datasets")


def provenance(dataset_id: str) -> dict[str, Any]:
    """What a local dataset says about its origin."""
    metadata = metadata_of(dataset_id)
    own = metadata.get("obd_provenance")
    licence = {"license": metadata["license"]} if metadata.get("license") else {}
    return {"author": metadata.get("author"), **licence, **(own if isinstance(own, dict) else {})}


def card(dataset_id: str) -> tuple[Card | None, Key]:
    """The card: the stored one at once, another one when the task of the returned key has computed it."""
    key = ("card", dataset_id)
    stored = stored_card(dataset_id)
    if stored is not None:
        return stored, key
    shelf = state.shelf()

    def work(task: Task) -> Card:
        dataset = shelf.get(dataset_id, task.part(0.0, 0.9), task.should_stop)
        return dataset_card(dataset)

    task = state.tasks().start_once(key, work, f"card of {dataset_id}")
    return (task.result if task.state == "done" else None), key


def settle(dataset_id: str) -> None:
    """Look the catalogue up again if the dataset has just been fetched."""
    key = ("fetch", dataset_id)
    task = state.tasks().get(key)
    if task is not None and task.state == "done":
        state.tasks().forget(key)
        state.datasets.clear()


def fetch(info: DatasetInfo) -> Key:
    """Start to collect or download a dataset; the key of the task."""
    key = ("fetch", info.id)
    shelf = state.shelf()

    def work(task: Task) -> None:
        if info.builtin:
            shelf.get(info.id, task.progress, task.should_stop)
        else:
            download(info.id, on_progress=task.progress, should_stop=task.should_stop)

    state.tasks().start_once(key, work, f"fetch {info.id}")
    return key


def strip(dataset_id: str, env_id: str, card: Card) -> tuple[Strip | None, Key]:
    """The strip of episodes, drawn once and kept in the cache; None until the task of the key has drawn it."""
    key = ("strip", dataset_id, card["content_hash"])
    shelf = state.shelf()

    def work(task: Task) -> Strip:
        # These import MuJoCo, which the first paint need not wait for.
        from obd.render.poses import DRAWING, pose_images
        from obd.render.renderer import expected_kind

        dataset = shelf.get(dataset_id, task.part(0.0, 0.5), task.should_stop)
        kind = expected_kind(env_id)
        folder = cache_dir() / "strips"
        files = {name: folder / f"{dataset.content_hash[:16]}-{kind}{DRAWING}-{name}.webp" for name in SHOWN}
        episodes = [card["shown"][name] for name in SHOWN]
        if not all(path.is_file() for path in files.values()):
            starts = dataset.episode_starts[episodes]
            rows = [
                start + np.linspace(0, length - 1, FRAMES).astype(int)
                for start, length in zip(starts, dataset.episode_lengths[episodes], strict=True)
            ]
            images = pose_images(env_id, dataset.observations[np.concatenate(rows)], FRAME_WIDTH, FRAME_HEIGHT)
            task.progress(0.9)
            for number, path in enumerate(files.values()):
                _save(path, images[number * FRAMES : (number + 1) * FRAMES])
        returns = {name: float(dataset.episode_returns[e]) for name, e in zip(SHOWN, episodes, strict=True)}
        lengths = {name: int(dataset.episode_lengths[e]) for name, e in zip(SHOWN, episodes, strict=True)}
        return Strip(files, returns, lengths, kind)

    task = state.tasks().start_once(key, work, f"strip of {dataset_id}")
    return (task.result if task.state == "done" else None), key


def start_import(upload: IO[bytes], file_name: str, env_id: str, dataset_id: str, **options: Any) -> Key:
    """Start to import an uploaded file; the key of the task, whose result is the dataset's id."""
    key = ("import", uuid.uuid4().hex)
    shelf = state.shelf()

    def work(task: Task) -> str:
        from obd.runs.dataset_import import import_file  # imports Minari

        path = cache_dir() / "uploads" / uuid.uuid4().hex
        try:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                upload.seek(0)
                with open(path, "wb") as stream:
                    shutil.copyfileobj(upload, stream, 2**20)
            except OSError as error:
                raise ObdError(f"The upload cannot be kept in {path.parent}: {error}; free some space.") from error
            task.progress(0.02)
            import_file(
                path,
                env_id,
                dataset_id,
                file_name=file_name,
                on_progress=task.part(0.02, 1.0),
                should_stop=task.should_stop,
                **options,
            )
        finally:
            path.unlink(missing_ok=True)
        shelf.forget(dataset_id)
        return dataset_id

    state.tasks().start(key, work, f"import {dataset_id}")
    return key


def _save(path: Path, frames: Any) -> None:
    """Frames ``[F, H, W, 3]`` side by side, with transparent gaps."""
    row = np.zeros((FRAME_HEIGHT, STRIP_SIZE[0], 4), np.uint8)
    for number, frame in enumerate(frames):
        left = number * (FRAME_WIDTH + GAP)
        row[:, left : left + FRAME_WIDTH, :3] = frame
        row[:, left : left + FRAME_WIDTH, 3] = 255
    temporary = path.with_name(f".{uuid.uuid4().hex}.webp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(row).save(temporary, quality=88)
        temporary.replace(path)
    except OSError as error:
        raise ObdError(f"The pictures cannot be written to {path.parent}: {error}.") from error
    finally:
        temporary.unlink(missing_ok=True)
