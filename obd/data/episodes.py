"""Where episodes end in a file of transitions, and which rows of it can be used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obd.data.findings import Report, counted

JUMP = 1e-3  # relative difference between a successor and the next state that makes them two episodes


def _blocks_of(length: int, rows: int = 8_192) -> Iterator[slice]:
    return (slice(start, min(start + rows, length)) for start in range(0, length, rows))


def successors(observations: NDArray[np.float32]) -> NDArray[np.float32]:
    """The state of the following row; the last row's own state."""
    following = np.empty_like(observations)
    following[:-1] = observations[1:]
    following[-1] = observations[-1]
    return following


def jumps(observations: NDArray[np.float32], following: NDArray[np.float32]) -> NDArray[np.bool_]:
    """``[M]`` where the stored successor is not the following row's state; the last row is none."""
    found = np.zeros(len(observations), np.bool_)
    for part in _blocks_of(len(observations) - 1):
        after = observations[part.start + 1 : part.stop + 1]
        with np.errstate(invalid="ignore"):
            distance = np.abs(following[part] - after)
            far = (distance > JUMP * (1 + np.abs(after))) & np.isfinite(distance)  # a bad value is no end of an episode
        found[part] = far.any(axis=1)
    return found


def find_episodes(
    terminals: NDArray[np.bool_],
    timeouts: NDArray[np.bool_] | None,
    jumped: NDArray[np.bool_],
    has_next: bool,
    limit: int | None,
    report: Report,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The last row of every episode, and whether it ended in a terminal state."""
    flagged = terminals if timeouts is None else terminals | timeouts
    found = np.count_nonzero(jumped & ~flagged)
    report.repaired(
        "episode_ends_found",
        found,
        f"The file does not mark {counted(found, 'end')} of episodes, found where the stored next state is not the "
        "following state.",
    )
    over = flagged | jumped
    unmarked = not over[-1]
    over[-1] = True
    ends = np.flatnonzero(over)
    if timeouts is None and not has_next and limit is not None:
        ends, added = _cut_at_limit(ends, limit)
        report.repaired(
            "time_limits_inferred",
            added,
            f"The file marks no timeouts: {counted(added, 'end')} set at the environment's limit of {limit:,} steps.",
        )
        unmarked = unmarked and (np.diff(ends, prepend=-1)[-1] != limit)
    report.repaired("unmarked_end", unmarked, "The last episode has no mark at its end; it counts as cut there.")
    terminated = terminals[ends]
    lengths = np.diff(ends, prepend=-1)
    if limit is not None:
        at_limit = terminated & (lengths == limit)
        count = np.count_nonzero(at_limit)
        report.repaired(
            "terminals_at_time_limit",
            count,
            f"Marked as terminal at the time limit of {limit:,} steps, where they were cut and not over: "
            f"{counted(count, 'episode')}, now truncated.",
        )
        terminated = terminated & ~at_limit
    return ends, terminated


def _cut_at_limit(ends: NDArray[np.int64], limit: int) -> tuple[NDArray[np.int64], int]:
    """Add an end every ``limit`` rows within each episode; how many were added."""
    starts = np.append(0, ends[:-1] + 1)
    cuts = [
        np.arange(start + limit - 1, end, limit)
        for start, end in zip(starts, ends, strict=True)
        if end - start >= limit
    ]
    if not cuts:
        return ends, 0
    added = np.concatenate(cuts)
    return np.union1d(ends, added), len(added)


def drop_bad(kept: NDArray[np.bool_], ends: NDArray[np.int64], rows: NDArray[np.int64], report: Report) -> None:
    numbers = np.unique(np.searchsorted(ends, rows))
    starts = np.append(0, ends[:-1] + 1)
    for number in numbers:
        kept[starts[number] : ends[number] + 1] = False
    report.repaired(
        "bad_episodes_dropped", len(numbers), f"Left out: {counted(len(numbers), 'episode')} with NaN or infinity."
    )


def drop_without_successor(
    kept: NDArray[np.bool_],
    observations: NDArray[np.float32],
    following: NDArray[np.float32],
    ends: NDArray[np.int64],
    terminated: NDArray[np.bool_],
    report: Report,
) -> None:
    """Without stored successors the last state of an episode has none."""
    last, cut = ends[terminated], ends[~terminated]
    following[last] = observations[last]
    repeated, dropped = np.count_nonzero(kept[last]), np.count_nonzero(kept[cut])
    report.repaired(
        "terminal_successors_repeated",
        repeated,
        f"The file lacks the state after {counted(repeated, 'terminal step')}; the last one is repeated, and no "
        "algorithm uses it.",
    )
    report.repaired(
        "last_steps_dropped",
        dropped,
        f"Left out, because the file lacks the state that follows: the last step of {counted(dropped, 'cut episode')}.",
    )
    kept[cut] = False


def remaining(
    kept: NDArray[np.bool_], ends: NDArray[np.int64], terminated: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Starts of the episodes and terminations per row, counted in the rows that are kept."""
    starts = np.append(0, ends[:-1] + 1)
    lengths = np.add.reduceat(kept, starts, dtype=np.int64)
    new_ends = np.cumsum(lengths) - 1
    whole = lengths > 0
    terminations = np.zeros(int(lengths.sum()), np.bool_)
    terminations[new_ends[whole & terminated & kept[ends]]] = True
    return np.append(0, new_ends[whole][:-1] + 1).astype(np.int64), terminations


def truncations_of(starts: NDArray[np.int64], terminations: NDArray[np.bool_]) -> NDArray[np.bool_]:
    truncations = np.zeros(len(terminations), np.bool_)
    ends = np.append(starts[1:], len(terminations)) - 1
    truncations[ends] = ~terminations[ends]
    return truncations


def compact(array: NDArray[Any], kept: NDArray[np.bool_]) -> NDArray[Any]:
    """The kept rows, moved to the front of the same memory."""
    if kept.all():
        return array
    filled = 0
    for part in _blocks_of(len(array)):
        block = array[part][kept[part]]
        array[filled : filled + len(block)] = block
        filled += len(block)
    return array[:filled]
