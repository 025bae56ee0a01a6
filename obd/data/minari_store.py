"""Offline datasets as local Minari datasets (https://minari.farama.org): writing and reading.

Writing goes to a hidden folder beside the final one and ends with one rename, so neither Minari nor this tool ever
sees half a dataset.  Minari's own ``create_dataset_from_buffers`` fills the final folder step by step and can write
nowhere else; the steps below are the ones it takes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import minari
import numpy as np
from minari.data_collector.episode_buffer import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage
from minari.namespace import create_namespace, list_local_namespaces
from numpy.typing import NDArray

from obd.data.card import dataset_card
from obd.data.collect import content_hash
from obd.data.dataset import OfflineDataset
from obd.data.identifiers import METADATA_FILE, dataset_path, namespace_of
from obd.data.reference import reference_returns
from obd.data.simulate import from_unit, to_unit
from obd.errors import Cancelled, ObdError
from obd.events import ShouldStop
from obd.paths import minari_dir

AUTHOR = "OBD studio"
BUILD_PREFIX = ".obd-build-"  # hidden folders are invisible to Minari's listing
STALE_SECONDS = 3600.0  # a build folder this old was left by a killed process
PARSE_ERRORS = (OSError, ValueError, KeyError, TypeError, AssertionError, AttributeError)


def save_minari(
    dataset: OfflineDataset,
    *,
    description: str,
    algorithm: str = "",
    replace: bool = False,
    on_progress: Callable[[float], None] | None = None,
    should_stop: ShouldStop | None = None,
) -> bool:
    """Write ``dataset`` and its card under its id.  Returns False, and changes nothing, if that id exists and
    ``replace`` is false.

    Several processes may do this at once: one of them wins, the others drop their copy.

    Raises:
        ObdError: the id is invalid, or the folder cannot be written.
        Cancelled: ``should_stop()`` returned true; nothing is left behind.
    """
    final = dataset_path(dataset.id)
    root = minari_dir()
    check_place(dataset.id)
    try:
        root.mkdir(parents=True, exist_ok=True)
        _remove_stale_builds(root)
        build = root / f"{BUILD_PREFIX}{uuid.uuid4().hex}"
        try:
            (build / "data").mkdir(parents=True)
            _write(build / "data", dataset, description, algorithm, on_progress, should_stop)
            ensure_namespace(namespace_of(dataset.id))
            final.parent.mkdir(parents=True, exist_ok=True)
            return publish(build, final, replace)
        finally:
            shutil.rmtree(build, ignore_errors=True)
    except OSError as error:
        raise ObdError(f"The dataset {dataset.id} cannot be written to {root}: {error}.") from error


def check_place(dataset_id: str) -> None:
    """Raise ObdError if the id is invalid or lies inside another dataset."""
    final, root = dataset_path(dataset_id), minari_dir()
    if any((parent / "data").is_dir() for parent in final.parents if parent.is_relative_to(root) and parent != root):
        raise ObdError(f"The id {dataset_id} lies inside another dataset; choose another dataset id.")


def load_minari(
    dataset_id: str,
    *,
    on_progress: Callable[[float], None] | None = None,
    should_stop: ShouldStop | None = None,
) -> OfflineDataset:
    """Read a local Minari dataset with flat Box observations and Box actions.

    Actions are scaled from the dataset's action space to [-1, 1]; entries outside are clipped and counted in
    ``provenance["clipped_action_entries"]``.  An episode that ends without a flag counts as truncated.

    Raises:
        ObdError: the id is invalid or unknown, the spaces are of another kind, or the file is damaged.
        Cancelled: ``should_stop()`` returned true.
    """
    path = dataset_path(dataset_id) / "data"
    if not (path / METADATA_FILE).is_file():
        raise ObdError(f"There is no local dataset {dataset_id}; see `python -m obd datasets` for what can be opened.")
    try:
        source = minari.MinariDataset(path)
        metadata = source.storage.metadata
    except PARSE_ERRORS as error:
        raise ObdError(f"Minari cannot open the dataset {dataset_id}: {error}") from error
    if source.env_spec is None:
        raise ObdError(f"The dataset {dataset_id} does not name its environment; create it again with Minari's env=…")
    low, high = _check_spaces(dataset_id, source.observation_space, source.action_space)
    try:
        arrays, unflagged = _read_episodes(source, on_progress, should_stop)
    except PARSE_ERRORS as error:
        raise ObdError(f"The dataset {dataset_id} is damaged ({error}); collect or import it again.") from error
    actions = to_unit(arrays.pop("actions"), low, high)
    clipped = int(np.count_nonzero(np.abs(actions) > 1))
    for name, array in (("actions", actions), *arrays.items()):
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ObdError(f"The dataset {dataset_id} has values in its {name} that are not finite; it cannot be used.")
    provenance = dict(metadata.get("obd_provenance") or {})
    provenance["clipped_action_entries"] = clipped
    provenance["episodes_without_end_flag"] = unflagged
    provenance.setdefault("description", metadata.get("description", ""))
    provenance.setdefault("author", sorted(metadata.get("author", ())))
    if source.env_spec.kwargs:
        provenance["env_kwargs"] = {key: repr(value) for key, value in source.env_spec.kwargs.items()}
    stored_reference = (metadata.get("ref_min_score"), metadata.get("ref_max_score"))
    reference = reference_returns(source.env_spec.id)
    if all(isinstance(value, int | float) for value in stored_reference):
        reference = (float(stored_reference[0]), float(stored_reference[1]))
    dataset = OfflineDataset(
        id=dataset_id,
        env_id=source.env_spec.id,
        actions=np.clip(actions, -1, 1),
        action_low=low,
        action_high=high,
        reference_returns=reference,
        provenance=provenance,
        **arrays,
    )
    digest = content_hash(dataset)
    if metadata.get("obd_content_hash", digest) != digest:
        raise ObdError(f"The dataset {dataset_id} was changed after it was written; collect or import it again.")
    return dataclasses.replace(dataset, content_hash=digest)


def _check_spaces(
    dataset_id: str, observations: gym.Space[Any], actions: gym.Space[Any]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if not isinstance(observations, gym.spaces.Box) or len(observations.shape) != 1:
        raise ObdError(f"The dataset {dataset_id} has observations of kind {observations}; only flat vectors are used.")
    if not isinstance(actions, gym.spaces.Box) or len(actions.shape) != 1 or not actions.is_bounded():
        raise ObdError(f"The dataset {dataset_id} has actions of kind {actions}; only bounded vectors are used.")
    return np.asarray(actions.low, np.float32), np.asarray(actions.high, np.float32)


def _read_episodes(
    source: minari.MinariDataset,
    on_progress: Callable[[float], None] | None,
    should_stop: ShouldStop | None,
) -> tuple[dict[str, Any], int]:
    """All episodes as arrays (float32), and how many ended without a flag."""
    count = len(source)
    names = ("observations", "actions", "rewards", "next_observations", "terminations", "truncations")
    kinds = (np.float32, np.float32, np.float32, np.float32, np.bool_, np.bool_)
    columns: list[list[NDArray[Any]]] = [[] for _ in names]
    lengths: list[int] = []
    unflagged = 0
    for number, episode in enumerate(source.iterate_episodes()):
        if should_stop is not None and should_stop():
            raise Cancelled
        steps = len(episode.rewards)
        if steps == 0:
            continue
        if len(episode.observations) != steps + 1 or len(episode.actions) != steps:
            raise ValueError(f"episode {number} has {len(episode.observations)} observations for {steps} rewards")
        truncated = np.array(episode.truncations, np.bool_)
        if not truncated[-1] and not episode.terminations[-1]:
            truncated[-1] = True
            unflagged += 1
        states = np.asarray(episode.observations, np.float32)
        row = (states[:-1], episode.actions, episode.rewards, states[1:], episode.terminations, truncated)
        for column, values, kind in zip(columns, row, kinds, strict=True):
            column.append(np.asarray(values, kind))
        lengths.append(steps)
        if on_progress is not None:
            on_progress((number + 1) / count)
    if not lengths:
        raise ValueError("it has no episodes")
    arrays: dict[str, Any] = {name: np.concatenate(column) for name, column in zip(names, columns, strict=True)}
    arrays["episode_starts"] = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    return arrays, unflagged


def _write(
    path: Path,
    dataset: OfflineDataset,
    description: str,
    algorithm: str,
    on_progress: Callable[[float], None] | None,
    should_stop: ShouldStop | None,
) -> None:
    spec = gym.spec(dataset.env_id)
    space = gym.spaces.Box(-np.inf, np.inf, (dataset.observation_dim,), np.float64)
    storage = MinariStorage.new(
        path,
        observation_space=space,
        action_space=gym.spaces.Box(dataset.action_low, dataset.action_high, dtype=np.float32),
        env_spec=spec,
        data_format="hdf5",
    )
    digest = content_hash(dataset, lambda actions: _as_read(actions, dataset))
    metadata: dict[str, Any] = {
        "dataset_id": dataset.id,
        "minari_version": minari.__version__,
        "author": {AUTHOR},
        "description": description,
        "algorithm_name": algorithm,
        "eval_env_spec": spec.to_json(),
        "num_episodes_average_score": 100,
        "requirements": ["gymnasium[mujoco]"],
        "obd_content_hash": digest,
        "obd_provenance": json.loads(json.dumps(dataset.provenance)),
        "obd_card": dataset_card(dataset) | {"content_hash": digest},
    }
    if dataset.reference_returns is not None:
        metadata["ref_min_score"], metadata["ref_max_score"] = dataset.reference_returns
    storage.update_metadata(metadata)
    storage.update_episodes(_buffers(dataset, on_progress, should_stop))


def _as_read(actions: NDArray[np.float32], dataset: OfflineDataset) -> NDArray[np.float32]:
    """Actions as they will be read: scaling to other bounds than -1 and 1 and back rounds the last bit."""
    low, high = dataset.action_low, dataset.action_high
    return np.clip(to_unit(np.clip(from_unit(actions, low, high), low, high), low, high), -1, 1)


def _buffers(
    dataset: OfflineDataset,
    on_progress: Callable[[float], None] | None = None,
    should_stop: ShouldStop | None = None,
) -> Iterator[EpisodeBuffer]:
    for start, length in zip(dataset.episode_starts, dataset.episode_lengths, strict=True):
        if should_stop is not None and should_stop():
            raise Cancelled
        part = slice(start, start + length)
        yield EpisodeBuffer(
            observations=np.concatenate([dataset.observations[part], dataset.next_observations[part][-1:]]),
            actions=from_unit(dataset.actions[part], dataset.action_low, dataset.action_high),
            rewards=dataset.rewards[part],
            terminations=dataset.terminations[part],
            truncations=dataset.truncations[part],
        )
        if on_progress is not None:
            on_progress(min(1.0, (start + length) / len(dataset)))


def ensure_namespace(namespace: str | None) -> None:
    """Make Minari know the namespace."""
    if namespace is not None and namespace not in list_local_namespaces():
        with contextlib.suppress(ValueError):  # another process was faster
            create_namespace(namespace)


def publish(build: Path, final: Path, replace: bool) -> bool:
    """Move ``build`` to ``final`` in one step; false if something is there already and must stay."""
    if (final / "data" / METADATA_FILE).is_file():
        if not replace:
            return False
    elif final.exists() and any(final.iterdir()) and not (final / "data").exists():
        raise ObdError(f"The folder {final} is a namespace of other datasets; choose another dataset id.")
    for _attempt in range(10):
        if final.exists():
            old = build.with_name(f"{BUILD_PREFIX}{uuid.uuid4().hex}")
            with contextlib.suppress(FileNotFoundError):  # another process moved it away
                os.rename(final, old)
            shutil.rmtree(old, ignore_errors=True)
        try:
            os.rename(build, final)
            return True
        except OSError:  # another process published in between
            if not replace and (final / "data" / METADATA_FILE).is_file():
                return False
    raise OSError(f"{final} is in use")


def _remove_stale_builds(root: Path) -> None:
    for folder in root.glob(f"{BUILD_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
