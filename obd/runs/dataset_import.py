"""Importing a file of transitions: read it, check it against the simulator, store it as a local Minari dataset."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from obd.data.array_file import open_arrays, take
from obd.data.catalog import BUILTIN
from obd.data.dataset import OfflineDataset
from obd.data.findings import Report
from obd.data.identifiers import check_id, is_local
from obd.data.minari_store import check_place, save_minari
from obd.data.transitions_file import ALIASES, TransitionsFile, read_transitions
from obd.errors import ObdError
from obd.events import ShouldStop
from obd.insight.resimulate import States, check_steps, recompute_rewards, sample_rows

OnProgress = Callable[[float], None]


def import_file(
    path: Path,
    env_id: str,
    dataset_id: str,
    *,
    recompute: bool = False,
    drop_bad_episodes: bool = False,
    replace: bool = False,
    file_name: str = "",
    licence: str = "",
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> tuple[OfflineDataset, Report]:
    """Import ``path`` as the local dataset ``dataset_id``; the report is stored in its provenance.

    Args:
        recompute: compute all rewards again by simulation.
        drop_bad_episodes: leave out episodes with NaN or infinity.
        replace: overwrite a dataset of this id.
        file_name: the name to show, if ``path`` is a temporary file.

    Raises:
        ObdError: the file cannot be used, or the id is taken; nothing is left behind.
        Cancelled: ``should_stop()`` returned true; nothing is left behind.
    """
    if check_id(dataset_id, new=True) in BUILTIN:
        raise ObdError(f"{dataset_id} is the id of a built-in dataset; choose another one.")
    check_place(dataset_id)
    if is_local(dataset_id) and not replace:
        raise ObdError(f"There is a dataset {dataset_id} already; choose another id, or replace it (option: replace).")
    report_part = _parts(on_progress, (0.5, 0.9, 1.0) if recompute else (0.7, 0.7, 1.0))
    read = read_transitions(
        path,
        env_id,
        dataset_id,
        drop_bad_episodes=drop_bad_episodes,
        file_name=file_name,
        licence=licence,
        on_progress=report_part[0],
        should_stop=should_stop,
    )
    dataset, report = read.dataset, read.report
    _check(path, file_name, read)
    if recompute:
        dataset = _with_rewards(dataset, report, report_part[1], should_stop)
    elif not dataset.has_rewards:
        report.warn(
            "no_rewards",
            len(dataset),
            "The file has no rewards: DBC works, the other objectives with a teacher file you give; "
            "the option recompute rewards computes them by simulation.",
        )
    dataset.provenance["import"] = report.to_dict()
    stored = save_minari(
        dataset,
        description=dataset.provenance["description"],
        replace=replace,
        on_progress=report_part[2],
        should_stop=should_stop,
    )
    if not stored:
        raise ObdError(f"There is a dataset {dataset_id} already; choose another id, or replace it (option: replace).")
    return dataset, report


def _check(path: Path, file_name: str, read: TransitionsFile) -> None:
    rows = sample_rows(read.dataset)
    states: States | None = None
    if read.has_states:
        in_file = np.flatnonzero(read.kept)[rows]
        with open_arrays(path, file_name) as arrays:
            found = [next(arrays[a] for a in ALIASES[part] if a in arrays) for part in ("infos/qpos", "infos/qvel")]
            states = (take(found[0], in_file), take(found[1], in_file))
    check_steps(read.dataset, rows, states, read.report)


def _with_rewards(
    dataset: OfflineDataset, report: Report, on_progress: OnProgress | None, should_stop: ShouldStop | None
) -> OfflineDataset:
    rewards = recompute_rewards(dataset, on_progress, should_stop)
    if dataset.has_rewards:
        changed = np.abs(rewards - dataset.rewards) > 0.01 * (1 + np.abs(rewards))
        message = f"Rewards were computed again by simulation; {int(changed.sum()):,} differ by more than 1 %."
    else:
        message = "The file has no rewards; they were computed by simulation."
    report.repaired("rewards_recomputed", len(rewards), message)
    provenance: dict[str, Any] = dataset.provenance | {"rewards": "computed by simulation"}
    return dataclasses.replace(dataset, rewards=rewards, provenance=provenance)


def _parts(on_progress: OnProgress | None, ends: tuple[float, ...]) -> list[OnProgress | None]:
    """Callbacks for consecutive parts of the work."""
    if on_progress is None:
        return [None for _ in ends]

    def part(start: float, end: float) -> OnProgress:
        return lambda fraction: on_progress(start + (end - start) * fraction)

    return [part(start, end) for start, end in zip((0.0, *ends[:-1]), ends, strict=True)]
