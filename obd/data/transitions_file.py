"""D4RL-style files (Fu et al., arXiv 2004.07219) as an :class:`OfflineDataset`, with a report of what was wrong.

A file holds ``observations [M, obs_dim]``, ``actions [M, act_dim]`` (environment units), ``rewards [M]``,
``terminals [M]`` and perhaps ``timeouts [M]``, ``next_observations [M, obs_dim]`` and ``infos/qpos``, ``infos/qvel``.
Files in circulation carry errors.  Those that can be repaired without a guess are, and each repair is counted; the
others are named.  Blocks of rows are read straight into the result, so little more than the result is in memory.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from obd.data.array_file import StoredArray, open_arrays
from obd.data.dataset import MISSING_REWARDS, OfflineDataset
from obd.data.episodes import (
    compact,
    drop_bad,
    drop_without_successor,
    find_episodes,
    jumps,
    remaining,
    successors,
    truncations_of,
)
from obd.data.findings import Report, counted
from obd.data.identifiers import check_id
from obd.data.reference import reference_returns
from obd.data.simulate import from_unit, make_env, to_unit
from obd.errors import Cancelled, ObdError
from obd.events import ShouldStop

ALIASES = {
    "observations": ("observations", "obs", "states"),
    "actions": ("actions",),
    "rewards": ("rewards",),
    "terminals": ("terminals", "terminations", "dones"),
    "timeouts": ("timeouts", "truncations"),
    "next_observations": ("next_observations", "next_obs"),
    "infos/qpos": ("infos/qpos", "qpos"),
    "infos/qvel": ("infos/qvel", "qvel"),
}
REQUIRED = ("observations", "actions", "terminals")
ROUNDING = 1e-6  # an action this far outside its bounds is not counted as clipped
MANY_CLIPPED = 0.05
MANY_SINGLE = 0.2  # of the episodes
MEMORY_SHARE = 0.8  # of the machine's memory that a dataset may take
HASH_BYTES = 2**18

OnProgress = Callable[[float], None]


@dataclass
class TransitionsFile:
    """The content of a file: the dataset, what was found, and which rows of the file it holds."""

    dataset: OfflineDataset
    report: Report
    kept: NDArray[np.bool_]
    has_states: bool


def read_transitions(
    path: Path,
    env_id: str,
    dataset_id: str,
    *,
    drop_bad_episodes: bool = False,
    file_name: str = "",
    licence: str = "",
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> TransitionsFile:
    """Read a file.  ``drop_bad_episodes`` leaves out episodes with NaN or infinity instead of refusing the file.

    Without rewards the dataset's are zero and its provenance says ``rewards = missing``.  Without
    ``next_observations`` the successor of a step is the following state; the last step of an episode that was cut
    has none and is left out, as D4RL does.

    Raises:
        ObdError: nothing that can be used; the sentence says what is wrong and what to do.
        Cancelled: ``should_stop()`` returned true.
    """
    check_id(dataset_id, new=True)
    env = make_env(env_id)
    observation_space, action_space, spec = env.observation_space, env.action_space, env.spec
    env.close()
    assert isinstance(action_space, gym.spaces.Box) and spec is not None
    env_id = spec.id  # with its version, if the name came without one
    low, high = np.asarray(action_space.low, np.float32), np.asarray(action_space.high, np.float32)
    widths = (int((observation_space.shape or (0,))[0]), len(low))
    name = file_name or path.name
    report = Report()
    with open_arrays(path, name) as arrays:
        found = _find(name, arrays)
        rows = _check_layout(name, env_id, found, widths)
        reader = _Reader(name, rows, found, report, on_progress, should_stop)
        flags = [reader.flags(part) for part in ("terminals", "timeouts")]
        rewards = reader.numbers("rewards", ()) if "rewards" in found else np.zeros(rows, np.float32)
        actions = reader.actions(low, high)
        observations = reader.numbers("observations", (widths[0],))
        following = reader.numbers("next_observations", (widths[0],)) if "next_observations" in found else None
    terminals, timeouts = flags[0], flags[1]
    assert terminals is not None
    if reader.bad and not drop_bad_episodes:
        raise ObdError(_bad_sentence(name, reader.bad))
    if following is None:
        following, has_next = successors(observations), False
        jumped = np.zeros(rows, np.bool_)
    else:
        has_next = True
        jumped = jumps(observations, following)
    ends, terminated = find_episodes(terminals, timeouts, jumped, has_next, spec.max_episode_steps, report)
    kept = np.ones(rows, np.bool_)
    if reader.bad:
        drop_bad(kept, ends, np.concatenate([np.flatnonzero(mask) for mask in reader.bad.values()]), report)
        if not kept.any():
            raise ObdError(
                f"Nothing of the file {name} can be used: every episode has NaN or infinity; repair the file."
            )
    if not has_next:
        drop_without_successor(kept, observations, following, ends, terminated, report)
    if not kept.any():
        raise ObdError(
            f"Nothing of the file {name} can be used: no episode has a step with a known successor; save "
            "next_observations with it."
        )
    starts, terminations = remaining(kept, ends, terminated)
    parts = [compact(part, kept) for part in (observations, actions, rewards, following)]
    _warn(parts[0], starts, env_id, spec.max_episode_steps, report)
    dataset = OfflineDataset(
        id=dataset_id,
        env_id=env_id,
        observations=parts[0],
        actions=parts[1],
        rewards=parts[2],
        next_observations=parts[3],
        terminations=terminations,
        truncations=truncations_of(starts, terminations),
        episode_starts=starts,
        action_low=low,
        action_high=high,
        reference_returns=reference_returns(env_id),
        provenance={
            "description": f"Imported from the file {name}.",
            "file": {"name": name, "bytes": path.stat().st_size, "sha256": _sha256(path)},
            "license": licence or "unknown; the file does not say",
            "rewards": "from the file" if "rewards" in found else MISSING_REWARDS,
        },
    )
    return TransitionsFile(dataset, report, kept, "infos/qpos" in found and "infos/qvel" in found)


# -- what is in the file -------------------------------------------------------------------------------------


def _find(name: str, arrays: dict[str, StoredArray]) -> dict[str, StoredArray]:
    found = {
        part: arrays[alias]
        for part, aliases in ALIASES.items()
        if (alias := next((a for a in aliases if a in arrays), None)) is not None
    }
    for array in found.values():
        if array.problem:
            raise ObdError(f"The array {array.name} in {name} {array.problem}.")
    missing = [part for part in REQUIRED if part not in found]
    if missing:
        holds = ", ".join(sorted(arrays)[:8]) or "no array"
        raise ObdError(
            f"The file {name} lacks the array {missing[0]}; a file needs {', '.join(REQUIRED)} "
            f"(this one holds {holds})."
        )
    return found


def _check_layout(name: str, env_id: str, found: dict[str, StoredArray], widths: tuple[int, int]) -> int:
    """The number of rows; ObdError if any array does not fit."""
    observations = found["observations"]
    rows = observations.shape[0] if observations.shape else 0
    if rows == 0:
        raise ObdError(f"The file {name} holds no transitions; choose another one.")
    expected = {"observations": widths[0], "next_observations": widths[0], "actions": widths[1]}
    for part, array in found.items():
        if array.dtype.kind not in "fiub":
            raise ObdError(f"The array {part} in {name} holds {_kind(array)}; save plain numbers.")
        if not array.shape:
            raise ObdError(f"The array {part} in {name} is a single number; every array needs one row per step.")
        if array.shape[0] != rows:
            raise ObdError(
                f"The file {name} has {rows:,} observations but {array.shape[0]:,} {part}; every array needs one row "
                "per step."
            )
        if part.startswith("infos/"):
            continue
        width = 1 if len(array.shape) == 1 else array.shape[1]
        wanted = expected.get(part, 1)
        if len(array.shape) > 2 or width != wanted:
            raise ObdError(_width_sentence(name, env_id, part, array.shape[1:], wanted))
    needed = rows * (2 * widths[0] + widths[1] + 2) * 4
    memory = _machine_memory()
    if memory and needed > MEMORY_SHARE * memory:
        raise ObdError(
            f"The file {name} needs {needed / 2**30:,.0f} GiB in memory, this machine has {memory / 2**30:,.0f}; "
            "save a part of it."
        )
    return rows


def _kind(array: StoredArray) -> str:
    """What an array holds instead of numbers, in words."""
    names = {"O": "texts or lists of different lengths", "U": "texts", "S": "texts", "c": "complex numbers"}
    return names.get(array.dtype.kind, f"values of the type {array.dtype}")


def _width_sentence(name: str, env_id: str, part: str, shape: tuple[int, ...], wanted: int) -> str:
    kind = {"observations": "observations", "next_observations": "next observations", "actions": "actions"}.get(part)
    size = " x ".join(map(str, shape)) or "1"
    if kind is None:
        return f"The array {part} in {name} has {size} numbers per step instead of 1; save one value per step."
    numbers = "number" if size == "1" else "numbers"
    text = (
        f"The {kind} in {name} have {size} {numbers} per step, those of {env_id} have {wanted}; choose the environment "
    )
    text += "they were recorded in"
    if part != "actions" and shape == (wanted + 1,):
        text += " (one more is often the x position, which this version leaves out: save columns 1 to the end)"
    return text + "."


def _machine_memory() -> int:
    """Bytes of memory in this machine, 0 if unknown."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0


def _bad_sentence(name: str, bad: dict[str, NDArray[np.bool_]]) -> str:
    parts = [f"{int(mask.sum()):,} in {part} (the first is {int(mask.argmax()):,})" for part, mask in bad.items()]
    return (
        f"The file {name} has rows that are NaN, infinite or beyond 32 bits: {', '.join(parts)}; repair them, or "
        "leave out the episodes that hold them (option: drop bad episodes)."
    )


class _Reader:
    """Reads arrays block by block into the result, counting what is wrong."""

    def __init__(
        self,
        name: str,
        rows: int,
        found: dict[str, StoredArray],
        report: Report,
        on_progress: OnProgress | None,
        should_stop: ShouldStop | None,
    ) -> None:
        self.name, self.rows, self.found, self.report = name, rows, found, report
        self.on_progress, self.should_stop = on_progress, should_stop
        self.bad: dict[str, NDArray[np.bool_]] = {}  # rows that are not finite
        self.total = sum(int(np.prod(a.shape)) for a in found.values())
        self.done = 0
        wide = [part for part, array in found.items() if array.dtype.kind == "f" and array.dtype.itemsize > 4]
        report.repaired(
            "converted_to_float32", len(wide), f"Stored with 64 bits per number, kept with 32: {', '.join(wide)}."
        )

    def _blocks(self, part: str) -> Any:
        """(first row, block) of an array."""
        start = 0
        for block in self.found[part]:
            if self.should_stop is not None and self.should_stop():
                raise Cancelled
            yield start, block
            start += len(block)
            self.done += block.size
            if self.on_progress is not None:
                self.on_progress(self.done / self.total)

    def flags(self, part: str) -> NDArray[np.bool_] | None:
        """``[M]`` true or false; None if the file has no such array."""
        if part not in self.found:
            return None
        result = np.zeros(self.rows, np.bool_)
        for start, block in self._blocks(part):
            flat = block.reshape(-1)
            if not np.isin(flat, (0, 1)).all():
                raise ObdError(
                    f"The array {part} in {self.name} holds other values than 0 and 1; save it as true or false."
                )
            result[start : start + len(flat)] = flat != 0
        return result

    def numbers(self, part: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """``[M, *shape]`` float32."""
        result = np.empty((self.rows, *shape), np.float32)
        for start, block in self._blocks(part):
            self._store(part, result, start, block)
        return result

    def actions(self, low: NDArray[np.float32], high: NDArray[np.float32]) -> NDArray[np.float32]:
        """``[M, act_dim]`` scaled to [-1, 1], clipped to the bounds."""
        result = np.empty((self.rows, len(low)), np.float32)
        outside, largest = 0, 0.0
        for start, block in self._blocks("actions"):
            raw = self._store("actions", result, start, block)
            unit = to_unit(raw, low, high)
            size = np.abs(np.nan_to_num(unit, posinf=np.inf, neginf=-np.inf))
            beyond = (size > 1 + ROUNDING) & np.isfinite(size)
            outside += int(beyond.sum())
            largest = max(largest, float(size[beyond].max(initial=0.0)))
            # What a reader of the stored file will see: scaling there and back rounds the last bit.
            raw[:] = to_unit(np.clip(from_unit(np.clip(unit, -1, 1), low, high), low, high), low, high)
        share = outside / result.size
        self.report.repaired(
            "clipped_actions",
            outside,
            f"{outside:,} entries of the actions ({_percent(share)}) lie outside the environment's bounds, up to "
            f"{largest:.3g} times; they were clipped.",
        )
        self.report.warn(
            "many_clipped_actions",
            outside if share > MANY_CLIPPED else 0,
            f"{_percent(share)} of the actions had to be clipped: check that they are in the environment's units.",
        )
        return result

    def _store(self, part: str, result: NDArray[Any], start: int, block: NDArray[Any]) -> NDArray[Any]:
        """Put a block into the result and note rows that are not finite there; returns that part of the result."""
        target = result[start : start + len(block)]
        with np.errstate(over="ignore"):  # beyond float32 is infinite, and then noticed below
            target[:] = block.reshape(target.shape)
        finite = np.isfinite(target)
        if not finite.all():
            rows = ~(finite if finite.ndim == 1 else finite.all(axis=1))
            mask = self.bad.setdefault(part, np.zeros(self.rows, np.bool_))
            mask[start : start + len(block)] = rows
        return target


def _warn(
    observations: NDArray[np.float32], starts: NDArray[np.int64], env_id: str, limit: int | None, report: Report
) -> None:
    lengths = np.diff(np.append(starts, len(observations)))
    single = np.count_nonzero(lengths == 1)
    shuffled = (
        "; if the rows are shuffled, returns of episodes mean nothing" if single > MANY_SINGLE * len(lengths) else ""
    )
    report.warn(
        "single_step_episodes",
        single,
        f"Of {counted(len(lengths), 'episode')}, {single:,} last a single step{shuffled}.",
    )
    too_long = 0 if limit is None else np.count_nonzero(lengths > limit)
    report.warn(
        "longer_than_time_limit",
        too_long,
        f"Longer than the {limit or 0:,} steps of {env_id}: {counted(too_long, 'episode')}; marks of ends may be "
        "missing.",
    )
    if len(observations) == 1:
        return
    constant = [d for d in range(observations.shape[1]) if np.ptp(observations[:, d]) == 0]
    more = f" and {len(constant) - 12:,} more" if len(constant) > 12 else ""
    named = ", ".join(map(str, constant[:12])) + more
    report.warn(
        "constant_dimensions",
        len(constant),
        f"Dimensions of the observation that never change (masked in the file, or by the environment): {named}.",
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.0005 else "under 0.1 %"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(HASH_BYTES):
            digest.update(block)
    return digest.hexdigest()
