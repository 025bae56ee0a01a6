"""What simulating one step from stored states says about a dataset: are actions and states aligned, are ends real?

It lives here and not beside the file formats because it needs the way from an observation back to a state
(:mod:`obd.insight.pose`); a file that stores MuJoCo's own states needs no such way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from obd.data.dataset import STD_EPSILON, OfflineDataset
from obd.data.findings import Report
from obd.data.simulate import from_unit, make_env
from obd.errors import Cancelled, ObdError
from obd.events import ShouldStop
from obd.insight.pose import POSED, set_state, state_from_observation, supports_pose

SAMPLE = 150  # transitions simulated, each with three actions
TERMINALS = 50  # ends simulated
CLOSE = 0.25  # of the step's own length: the simulation reproduces it
BETTER = 0.5  # a neighbouring action explains the step at least this much better
REWARD_BLOCK = 500  # steps between two looks at the stop signal

States = tuple[NDArray[np.float64], NDArray[np.float64]]


def sample_rows(dataset: OfflineDataset) -> NDArray[np.int64]:
    """Rows that :func:`check_steps` simulates, ascending: inner steps spread over the data, and terminal ones."""
    index = dataset.episode_index
    inner = np.flatnonzero((index[1:-1] == index[:-2]) & (index[1:-1] == index[2:])) + 1
    terminal = np.flatnonzero(dataset.terminations)
    chosen = (_spread(inner, SAMPLE), _spread(terminal, TERMINALS))
    return np.union1d(*chosen).astype(np.int64)


def check_steps(dataset: OfflineDataset, rows: NDArray[np.int64], states: States | None, report: Report) -> None:
    """Simulate ``rows`` (see :func:`sample_rows`) and note in ``report`` what does not fit.

    Args:
        states: MuJoCo's positions and velocities at ``rows``, or None to infer them from the observations.

    A step fits if the simulated change differs from the stored one by less than a quarter of its length (median).
    """
    if len(rows) == 0:  # no two steps follow each other
        return
    if states is None:
        if not supports_pose(dataset.env_id):
            report.warn(
                "steps_not_checked",
                1,
                f"Whether actions and states are aligned was not checked: observations of {dataset.env_id} do not "
                "tell the simulator's state, and the file has no infos/qpos and infos/qvel.",
            )
            return
        states = state_from_observation(dataset.env_id, dataset.observations[rows])
    errors: dict[int, list[float]] = {-1: [], 0: [], 1: []}
    missed = ends = 0
    index = dataset.episode_index
    scale = dataset.observations[rows].std(axis=0) + STD_EPSILON
    with _Stepper(dataset) as stepper:
        for row, qpos, qvel in zip(rows, *states, strict=True):
            before, after = dataset.observations[row], dataset.next_observations[row]
            length = float(np.linalg.norm((after - before) / scale)) + 1e-9
            for offset, found in errors.items():
                if 0 <= row + offset < len(dataset) and index[row + offset] == index[row]:
                    simulated, _, over = stepper(qpos, qvel, dataset.actions[row + offset])
                    if not dataset.terminations[row]:
                        found.append(min(float(np.linalg.norm((simulated - after) / scale)) / length, 1e6))
                    elif offset == 0:
                        ends += 1
                        missed += not over
    medians = {offset: float(np.median(found)) if found else np.inf for offset, found in errors.items()}
    _judge(medians, len(errors[0]), report)
    if medians[0] < CLOSE and 2 * missed > ends:
        report.warn(
            "terminals_not_reproduced",
            missed,
            f"{missed} of {ends} simulated terminal steps do not end the episode in {dataset.env_id}: they may be time "
            "limits, which should be marked as timeouts.",
        )


def _judge(medians: dict[int, float], count: int, report: Report) -> None:
    best = min(medians, key=lambda offset: medians[offset])
    if count == 0 or (medians[0] < CLOSE and medians[best] > BETTER * medians[0]):
        return
    if best != 0 and medians[best] < CLOSE and medians[best] < BETTER * medians[0]:
        which = "next" if best == 1 else "previous"
        report.warn(
            "shifted_actions",
            count,
            f"States are shifted by one against actions: {which} rows' actions explain the steps (simulation error "
            f"{100 * medians[best]:.0f} % of a step instead of {100 * medians[0]:.0f} %, median of {count}); shift "
            "them in the file and import it again.",
        )
    elif medians[0] >= CLOSE:
        report.warn(
            "steps_not_reproduced",
            count,
            f"The simulator does not reproduce the steps (error {100 * medians[0]:.0f} % of a step, median of {count}"
            "): the file may be from another version of the environment, or its observations may be scaled or masked.",
        )


def recompute_rewards(
    dataset: OfflineDataset,
    on_progress: Callable[[float], None] | None = None,
    should_stop: ShouldStop | None = None,
) -> NDArray[np.float32]:
    """``[M]`` rewards of one simulated step from each stored state.

    Raises:
        ObdError: the observations of this environment do not tell the state.
        Cancelled: ``should_stop()`` returned true.
    """
    if not supports_pose(dataset.env_id):
        raise ObdError(
            f"Rewards of {dataset.env_id} cannot be computed again, because its observations do not tell the "
            f"simulator's state; that works for {', '.join(POSED)}."
        )
    rewards = np.empty(len(dataset), np.float32)
    with _Stepper(dataset) as stepper:
        for start in range(0, len(dataset), REWARD_BLOCK):
            if should_stop is not None and should_stop():
                raise Cancelled
            part = slice(start, start + REWARD_BLOCK)
            states = state_from_observation(dataset.env_id, dataset.observations[part])
            for row, (qpos, qvel) in enumerate(zip(*states, strict=True), start):
                rewards[row] = stepper(qpos, qvel, dataset.actions[row])[1]
            if on_progress is not None:
                on_progress(min(1.0, (start + REWARD_BLOCK) / len(dataset)))
    return rewards


class _Stepper:
    """One environment that is put into any state and stepped once."""

    def __init__(self, dataset: OfflineDataset) -> None:
        self.dataset = dataset

    def __enter__(self) -> _Stepper:
        self.env: gym.Env[Any, Any] = make_env(self.dataset.env_id)
        self.env.reset(seed=0)
        self.inner: Any = self.env.unwrapped
        return self

    def __exit__(self, *_error: object) -> None:
        self.env.close()

    def __call__(self, qpos: Any, qvel: Any, action: Any) -> tuple[NDArray[np.float64], float, bool]:
        set_state(self.inner, qpos, qvel)
        scaled = from_unit(action, self.dataset.action_low, self.dataset.action_high)
        observation, reward, over, *_ = self.inner.step(scaled)
        return np.asarray(observation, np.float64), float(reward), bool(over)


def _spread(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most ``count`` of ``rows``, evenly."""
    if len(rows) <= count:
        return rows
    spread: NDArray[np.int64] = rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)]
    return spread
