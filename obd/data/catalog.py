"""The datasets that can be opened: built-in ones, collected on first use, and local Minari datasets.

Those on Minari's server are listed by :mod:`obd.data.remote`.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from obd import paths
from obd.data.behaviour import load_behaviour
from obd.data.dataset import OfflineDataset
from obd.data.identifiers import check_id, is_local, local_datasets
from obd.data.reference import reference_returns
from obd.errors import Cancelled, ObdError
from obd.events import ShouldStop


@dataclass(frozen=True)
class Source:
    """A behaviour file in ``assets/behaviour`` and the part of the transitions it plays."""

    file: str
    snapshots: Literal["all", "last"]
    part: float = 1.0


@dataclass(frozen=True)
class BuiltinDataset:
    """How a built-in dataset is collected."""

    env_id: str
    title: str
    description: str
    sources: tuple[Source, ...]
    transitions: int = 200_000
    algorithm: str = "SAC"


@dataclass(frozen=True)
class DatasetInfo:
    """One line of the catalogue; a built-in set that is not ``available`` is collected when it is opened.

    Attributes:
        transitions, episodes: counts, None if unknown.
        megabytes: size of a dataset on the server.
        usable: whether its observations and actions are vectors, as far as is known without opening it.
    """

    id: str
    env_id: str
    title: str
    description: str
    builtin: bool
    available: bool
    reference_returns: tuple[float, float] | None
    transitions: int | None = None
    episodes: int | None = None
    megabytes: float | None = None
    usable: bool = True

    @property
    def origin(self) -> Literal["builtin", "local", "remote"]:
        """Where it comes from; a downloaded or imported dataset is local."""
        return "builtin" if self.builtin else "local" if self.available else "remote"


ROBOTS = {"halfcheetah": "HalfCheetah", "hopper": "Hopper", "walker2d": "Walker2d"}


def _builtin() -> dict[str, BuiltinDataset]:
    """The nine settings of the paper's table, by D4RL's recipe (Fu et al., arXiv 2004.07219, section 5)."""
    rows = {}
    for key, name in ROBOTS.items():
        medium, expert = f"{key}.safetensors", f"{key}_expert.safetensors"
        env_id = f"{name}-v5"
        rows[f"obd/{key}/medium-replay-v0"] = BuiltinDataset(
            env_id=env_id,
            title=f"{name}, medium replay",
            description=(
                "Made like D4RL's medium-replay sets: a soft actor-critic agent on its way from random actions to a "
                "medium level (about half of D4RL's expert); its snapshots play equal shares with exploration noise."
            ),
            sources=(Source(medium, "all"),),
        )
        rows[f"obd/{key}/medium-v0"] = BuiltinDataset(
            env_id=env_id,
            title=f"{name}, medium",
            description=(
                "Made like D4RL's medium sets: one soft actor-critic policy, stopped at a medium level, plays with "
                "exploration noise. That level is about half of D4RL's expert."
            ),
            sources=(Source(medium, "last"),),
        )
        rows[f"obd/{key}/medium-expert-v0"] = BuiltinDataset(
            env_id=env_id,
            title=f"{name}, medium expert",
            description=(
                "Made like D4RL's medium-expert sets: one half played by the policy of the medium set, the other by "
                "the best one that was trained for this tool, both with exploration noise. The better one is below "
                "D4RL's expert."
            ),
            sources=(Source(medium, "last"), Source(expert, "last")),
            transitions=400_000,
        )
    return rows


BUILTIN: dict[str, BuiltinDataset] = _builtin()

_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
LOCK_POLL_SECONDS = 0.2


def list_datasets() -> list[DatasetInfo]:
    """Built-in datasets first, then the other local Minari datasets, by id."""
    local = dict(local_datasets())
    infos = [
        DatasetInfo(
            dataset_id,
            row.env_id,
            row.title,
            row.description,
            builtin=True,
            available=dataset_id in local,
            reference_returns=reference_returns(row.env_id),
            transitions=_count(local.get(dataset_id, {}), "total_steps") or row.transitions,
            episodes=_count(local.get(dataset_id, {}), "total_episodes"),
        )
        for dataset_id, row in BUILTIN.items()
    ]
    return infos + [local_info(dataset_id, local[dataset_id]) for dataset_id in sorted(set(local) - set(BUILTIN))]


def load_dataset(
    dataset_id: str,
    *,
    on_progress: Callable[[float], None] | None = None,
    should_stop: ShouldStop | None = None,
) -> OfflineDataset:
    """Open a local dataset; a built-in one that is missing is collected first (well under a minute on two cores).

    Raises:
        ObdError: the id is invalid or unknown, or the data cannot be used.
        Cancelled: ``should_stop()`` returned true.
    """
    from obd.data.minari_store import load_minari  # imports Minari, a second that listing should not cost

    if check_id(dataset_id) in BUILTIN and not is_local(dataset_id):
        with _locked(dataset_id, should_stop):
            if not is_local(dataset_id):  # another thread may have collected it meanwhile
                _collect(dataset_id, 0, None, None, False, on_progress, should_stop)
        on_progress = None  # reading is a second; the bar must not jump back
    if not is_local(dataset_id):
        raise ObdError(f"Unknown dataset {dataset_id!r}; `python -m obd datasets` lists what can be opened.")
    return load_minari(dataset_id, on_progress=on_progress, should_stop=should_stop)


def collect(
    dataset_id: str,
    *,
    seed: int = 0,
    on_progress: Callable[[float], None] | None = None,
    should_stop: ShouldStop | None = None,
    workers: int | None = None,
    transitions: int | None = None,
) -> OfflineDataset:
    """Build a built-in dataset from the shipped behaviour policies, replacing an earlier one of this id.

    The same arguments give the same bytes, whatever ``workers`` (processes, default one per core) is.

    Raises:
        ObdError: ``dataset_id`` is not built in, or its behaviour file is missing.
        Cancelled: ``should_stop()`` returned true; an earlier dataset stays as it was.
    """
    from obd.data.minari_store import load_minari

    if check_id(dataset_id) not in BUILTIN:
        raise ObdError(f"{dataset_id!r} is not a built-in dataset; these can be collected: {', '.join(BUILTIN)}.")
    with _locked(dataset_id, should_stop):
        _collect(dataset_id, seed, workers, transitions, True, on_progress, should_stop)
    return load_minari(dataset_id)


def _collect(
    dataset_id: str,
    seed: int,
    workers: int | None,
    transitions: int | None,
    replace: bool,
    on_progress: Callable[[float], None] | None,
    should_stop: ShouldStop | None,
) -> None:
    from obd.data.collect import Player, collect_dataset
    from obd.data.minari_store import save_minari

    row = BUILTIN[dataset_id]
    players: list[Player] = []
    files: list[dict[str, Any]] = []
    for source in row.sources:
        behaviour = load_behaviour(paths.assets_dir() / "behaviour" / source.file)
        if behaviour.env_id != row.env_id:
            raise ObdError(f"The behaviour file {source.file} is for {behaviour.env_id}, not for {row.env_id}.")
        chosen = behaviour.snapshots if source.snapshots == "all" else behaviour.snapshots[-1:]
        players += [Player(policy, source.part / len(chosen)) for policy in chosen]
        files.append({"file": source.file, "sha256": behaviour.sha256, "command": behaviour.command})
    dataset = collect_dataset(
        dataset_id,
        row.env_id,
        players,
        transitions=row.transitions if transitions is None else transitions,
        seed=seed,
        workers=workers,
        provenance={
            "title": row.title,
            "description": row.description,
            "behaviour_files": files,
            "license": "made by this tool; no third-party data",
        },
        on_progress=on_progress,
        should_stop=should_stop,
    )
    save_minari(dataset, description=row.description, algorithm=row.algorithm, replace=replace)


def local_info(dataset_id: str, metadata: dict[str, Any], *, available: bool = True) -> DatasetInfo:
    """The catalogue's line for a Minari dataset, from Minari's metadata."""
    try:
        env_id = str(json.loads(metadata["env_spec"])["id"])
    except (KeyError, ValueError, TypeError):
        env_id = ""
    low, high = metadata.get("ref_min_score"), metadata.get("ref_max_score")
    reference = reference_returns(env_id)
    if isinstance(low, int | float) and isinstance(high, int | float):
        reference = (float(low), float(high))
    size = metadata.get("dataset_size")
    return DatasetInfo(
        dataset_id,
        env_id,
        dataset_id,
        str(metadata.get("description") or ""),
        False,
        available,
        reference,
        transitions=_count(metadata, "total_steps"),
        episodes=_count(metadata, "total_episodes"),
        megabytes=float(size) if isinstance(size, int | float) else None,
        usable=_usable(metadata),
    )


def _usable(metadata: dict[str, Any]) -> bool:
    """Whether the spaces are of the kind this tool opens; unknown counts as usable, opening it will tell."""
    for name in ("observation_space", "action_space"):
        with contextlib.suppress(KeyError, ValueError, TypeError):
            space = json.loads(metadata[name])
            if space["type"] != "Box" or len(space["shape"]) != 1:
                return False
    return True


def _count(metadata: dict[str, Any], name: str) -> int | None:
    value = metadata.get(name)
    return int(value) if isinstance(value, int | float) else None


class _locked:
    """Hold the lock of a dataset id within this process; waiting can be cancelled."""

    def __init__(self, dataset_id: str, should_stop: ShouldStop | None) -> None:
        self.lock, self.should_stop = _locks[dataset_id], should_stop

    def __enter__(self) -> None:
        while not self.lock.acquire(timeout=LOCK_POLL_SECONDS):
            if self.should_stop is not None and self.should_stop():
                raise Cancelled

    def __exit__(self, *_error: object) -> None:
        self.lock.release()
