"""Which of a run's synthetic sets to deliver, told without the simulator.

The objective H falls while a set is distilled, but the return of its students goes up and down from one snapshot to
the next: small errors that agree with each other carry a robot to states that the data do not hold.  A model of the
robot (:mod:`obd.teachers.dynamics`), learned from the same data, shows such a drift: students of each snapshot are
tried in it for whole episodes.  Of the snapshots whose mean return is within one standard error of the highest, the
last is taken (the one-standard-error rule: Hastie, Tibshirani, Friedman, The Elements of Statistical Learning, 7.10):
where the model sees no difference, the end of the run is as good as any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from obd.config import DistillConfig
from obd.data.dataset import OfflineDataset
from obd.engine.distill import as_distilled
from obd.engine.distilled import DistilledDataset
from obd.engine.machine import worker_pool
from obd.errors import Cancelled
from obd.events import ShouldStop, Snapshot
from obd.policy import MLPPolicy
from obd.students import train_students
from obd.teachers.dynamics import Dynamics

STUDENTS, STARTS = 8, 8  # of each snapshot
SEED = 4_000_000  # students and start states that no measurement sees
LONGEST = 1000  # steps of an imagined episode
FIRST_SHARE = 1 / 8  # of the outer steps; earlier snapshots are not candidates
CANDIDATES, TOGETHER = 10, 5  # snapshots tried at most, and in one pass: the bits do not depend on the number of cores

Returns = NDArray[np.float64]


def imagined_returns(
    dynamics: Dynamics,
    policies: Sequence[MLPPolicy],
    starts: NDArray[np.float32],
    steps: int,
    should_stop: ShouldStop | None = None,
) -> Returns:
    """Sums of predicted rewards ``[P, B]`` of P students of one recipe from raw start states ``[B, obs_dim]``.

    Raises:
        Cancelled: ``should_stop`` said so.
    """
    count, each = len(policies), len(starts)
    stacked = [
        tuple(torch.from_numpy(np.stack(part)) for part in zip(*layer, strict=True))
        for layer in zip(*(zip(p.weights, p.biases, strict=True) for p in policies), strict=True)
    ]
    states = dynamics.normalize(torch.from_numpy(np.tile(starts, (count, 1))))
    sums, alive = torch.zeros(count * each), torch.ones(count * each, dtype=torch.bool)
    with torch.no_grad():
        for _ in range(steps):
            if should_stop is not None and should_stop():
                raise Cancelled
            hidden = states.reshape(count, each, -1)
            for index, (weight, bias) in enumerate(stacked):
                hidden = torch.baddbmm(bias[:, None], hidden, weight)
                hidden = hidden.relu_() if index < len(stacked) - 1 else hidden.tanh_()
            actions = hidden.reshape(count * each, -1)
            states, rewards, ended = dynamics.step(states, actions)
            sums += rewards * alive
            alive &= ~ended
            if not bool(alive.any()):
                break
    result: Returns = sums.numpy().reshape(count, each).astype(np.float64)
    return result


def start_states(dataset: OfflineDataset, count: int = STARTS) -> NDArray[np.float32]:
    """First states of ``count`` random episodes ``[count, obs_dim]``, the same ones at each call."""
    source = np.random.default_rng(SEED)
    rows = dataset.episode_starts[source.integers(len(dataset.episode_starts), size=count)]
    found: NDArray[np.float32] = dataset.observations[rows]
    return found


def imagine(
    dynamics: Dynamics,
    dataset: OfflineDataset,
    sets: Sequence[DistilledDataset],
    should_stop: ShouldStop | None = None,
) -> Returns:
    """Imagined returns (raw, mean over start states) of fresh students ``[sets, STUDENTS]``, on all cores.

    Raises:
        Cancelled: ``should_stop`` said so.
    """
    starts = start_states(dataset)
    steps = min(LONGEST, int(dataset.episode_lengths.max()))

    def tried(some: Sequence[DistilledDataset]) -> Returns:
        policies = [policy for each in some for policy in train_students(each, STUDENTS, SEED)]
        returns = imagined_returns(dynamics, policies, starts, steps, should_stop)
        means: Returns = returns.mean(1).reshape(len(some), STUDENTS)
        return means

    parts = [sets[first : first + TOGETHER] for first in range(0, len(sets), TOGETHER)]
    return np.concatenate([task.result() for task in [worker_pool().submit(tried, part) for part in parts]])


def choose(returns: Returns) -> int:
    """The set to deliver, by imagined returns ``[sets, students]``: the last within a standard error of the best."""
    means = returns.mean(1)
    best = int(means.argmax())
    error = returns[best].std(ddof=1) / returns.shape[1] ** 0.5
    return int(np.flatnonzero(means >= means[best] - error)[-1])


@dataclass(frozen=True)
class Choice:
    """The snapshot to deliver, and how students of each candidate fared: step -> mean imagined return (raw)."""

    snapshot: Snapshot
    imagined: dict[int, float]


def choose_snapshot(
    dynamics: Dynamics,
    dataset: OfflineDataset,
    config: DistillConfig,
    snapshots: Sequence[Snapshot],
    should_stop: ShouldStop | None = None,
) -> Choice:
    """Try the students of ten of a run's snapshots, none of its first steps, and choose one.

    Args:
        snapshots: in the order of their steps; at least one.

    Raises:
        Cancelled: ``should_stop`` said so.
    """
    last = snapshots[-1]
    later = [snapshot for snapshot in snapshots if snapshot.step >= FIRST_SHARE * last.step]
    tried = [later[i] for i in np.unique(np.linspace(0, len(later) - 1, CANDIDATES).round().astype(int))]
    card = {"settings": {"precision": config.precision}}
    returns = imagine(dynamics, dataset, [as_distilled(config, dataset, each, card) for each in tried], should_stop)
    means = [round(float(mean), 1) for mean in returns.mean(1)]
    steps = [snapshot.step for snapshot in tried]
    return Choice(tried[choose(returns)], dict(zip(steps, means, strict=True)))
