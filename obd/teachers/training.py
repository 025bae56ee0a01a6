"""What every offline RL algorithm shares: common settings, the table of transitions, the training loop, the export."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from obd.config import check, dumps, option
from obd.data.dataset import OfflineDataset
from obd.errors import Cancelled, ObdError
from obd.events import ShouldStop
from obd.policy import Head
from obd.teachers.networks import Networks, set_precision
from obd.teachers.teacher import CriticNorm, Layers, Teacher

OnProgress = Callable[[int, dict[str, float]], None]
Float = NDArray[np.float32]

CALIBRATION_STEPS = 200  # before the first estimate of how many updates fit into a time budget
REPORT_SECONDS = 0.5
LOOK_EVERY = 16  # updates between two looks at the clock, the losses and the stop signal
BATCHES_DRAWN = 1024  # row numbers are drawn for this many batches at once


def precision() -> Any:
    """The setting of :func:`obd.teachers.networks.set_precision`; it is process-wide, so one rule serves everything."""
    return option(
        "auto",
        "Matrix precision",
        "torch.set_float32_matmul_precision; auto is medium where the processor multiplies bfloat16 matrices (AMX), "
        "else highest",
        choices=("auto", "highest", "high", "medium"),
    )


@dataclass(frozen=True)
class TeacherConfig:
    """Settings that all algorithms share.  With both ``steps`` and ``seconds``, whichever runs out first ends it."""

    seconds: float | None = option(
        None, "Seconds", "time budget, becomes a number of updates after a short calibration", low=1, high=1e6
    )
    steps: int | None = option(1_000_000, "Updates", "number of updates instead of a time budget", low=1, high=10**8)
    seed: int = option(0, "Seed", "fixes every random choice", low=0, high=2**31 - 1)
    hidden_layers: int = option(2, "Hidden layers", "of every network", low=1, high=8)
    hidden_width: int = option(256, "Hidden width", "units per hidden layer", low=4, high=2048)
    batch_size: int = option(256, "Batch size", "transitions per update", low=1, high=65_536)
    actor_rate: float = option(3e-4, "Actor learning rate", "of Adam", low=1e-7, high=1.0)
    critic_rate: float = option(3e-4, "Critic learning rate", "of Adam", low=1e-7, high=1.0)
    final_rate: float = option(
        1.0, "Final rate", "in the second half the learning rates fall linearly to this fraction", low=0.0, high=1.0
    )
    discount: float = option(0.99, "Discount", "gamma", low=0.0, high=0.9999)
    target_rate: float = option(0.005, "Target rate", "how fast the target networks follow", low=1e-5, high=1.0)

    precision: str = precision()

    def __post_init__(self) -> None:
        for entry in fields(self):
            check(entry.name, getattr(self, entry.name), entry.metadata["option"])
        if self.steps is None and self.seconds is None:
            raise ObdError("Give either a time budget (seconds) or a number of updates (steps).")


def value_size() -> Any:
    """The setting of :func:`reward_scale`, for the algorithms whose losses are not tied to the size of rewards."""
    text = "rewards are divided so that Q is of this size while training; 0 leaves them"
    return option(0.0, "Size of values", text, low=0.0, high=1e4)


class Learner(Protocol):
    """One algorithm at work on one dataset."""

    def update(self, rate: float, report: bool) -> dict[str, float]:
        """One step of the algorithm with all learning rates multiplied by ``rate``.

        Returns the losses of this step as floats, or an empty dict without ``report`` (reading a number back from a
        tensor at every step would cost time).
        """
        ...

    def teacher(self, steps: int) -> Teacher:
        """What has been learned, after ``steps`` updates."""
        ...

    @property
    def over(self) -> bool:
        """Whether more updates would not help (early stopping)."""
        ...


class Session:
    """A training in progress: call :meth:`advance` until it returns False, then :meth:`teacher`.

    The same dataset, number of steps, seed and machine give the same teacher, however it is divided into calls.  A
    time budget becomes a number of steps that is estimated anew during the first half and then fixed: as learning
    rates fall in the second half only, the final number with the same seed reproduces the training.
    """

    def __init__(self, learner: Learner, config: Any) -> None:
        self.learner = learner
        self.final_rate = float(getattr(config, "final_rate", 1.0))
        self.total: int | None = config.steps
        self.budget: float | None = config.seconds
        self.capped = config.steps is not None and config.seconds is not None  # whichever runs out first
        self.step = 0
        self.seconds = 0.0  # spent in advance()
        self.metrics: dict[str, float] = {}
        self.precision = str(config.precision)
        self._estimating = self.total is None

    @property
    def fraction(self) -> float:
        """How much is done, 0 to 1."""
        if self.total:
            return min(1.0, self.step / self.total)
        return min(0.99, self.seconds / self.budget) if self.budget else 0.0

    def advance(self, seconds: float = REPORT_SECONDS, should_stop: ShouldStop | None = None) -> bool:
        """Update for about so long; False when the training is over.

        Raises:
            Cancelled: ``should_stop()`` returned true.
            ObdError: the training diverged.
        """
        torch.set_num_threads(1)  # the matrices are small, and the bits then do not depend on the number of cores
        set_precision(self.precision)
        torch.set_flush_denormal(True)  # Adam's second moments of idle units decay into slow denormal numbers
        start, before = time.monotonic(), self.seconds
        while self.total is None or self.step < self.total:
            fraction = 0.0 if self.total is None else (self.step + 1) / self.total
            last = self.step + 1 == self.total
            look = last or self.step % LOOK_EVERY == LOOK_EVERY - 1
            rate = 1 - (1 - self.final_rate) * max(0.0, 2 * fraction - 1)
            metrics = self.learner.update(rate, look)
            self.step += 1
            over = self.learner.over
            if not look and not over:
                continue
            self.metrics = metrics or self.metrics
            self.seconds = before + time.monotonic() - start
            self._estimate()
            if should_stop is not None and should_stop():
                raise Cancelled
            out_of_time = self.capped and self.seconds > (self.budget or 0.0)
            if over or out_of_time:
                self.total = self.step
                break
            if self.seconds - before > seconds:
                break
        if not all(math.isfinite(value) for value in self.metrics.values()):
            raise ObdError("The training diverged; use smaller learning rates or another preset.")
        return self.total is None or self.step < self.total

    def report(self) -> dict[str, float]:
        """The last losses with ``fraction``, ``steps`` (0 while unknown) and ``updates_per_second``."""
        return self.metrics | {
            "fraction": self.fraction,
            "steps": float(self.total or 0),
            "updates_per_second": self.step / max(self.seconds, 1e-9),
        }

    def teacher(self) -> Teacher:
        return self.learner.teacher(self.step)

    def _estimate(self) -> None:
        """Turn the time budget into a number of steps."""
        if not self._estimating or self.budget is None or self.step < CALIBRATION_STEPS:
            return
        fits = float(f"{self.budget * self.step / max(self.seconds, 1e-9):.2g}")  # rounded, so that it stays put
        self.total = max(int(fits), 2 * self.step + 2)
        # Fixed once the second half may begin before the next look.
        self._estimating = self.total > 2 * (self.step + LOOK_EVERY) + 2


def train(
    learner: Learner, config: Any, on_progress: OnProgress | None = None, should_stop: ShouldStop | None = None
) -> Teacher:
    """Run a session to its end; ``on_progress(step, Session.report())`` about twice a second and at the end.

    Raises:
        Cancelled: ``should_stop()`` returned true.
        ObdError: the training diverged.
    """
    session = Session(learner, config)
    going_on = True
    while going_on:
        going_on = session.advance(REPORT_SECONDS, should_stop)
        if on_progress is not None:
            on_progress(session.step, session.report())
    return session.teacher()


class Transitions:
    """The dataset as one table, from which batches of whole rows are drawn.

    Columns (widths): states (obs, normalised), actions (act), next_states (obs, normalised), next_actions (act),
    next_known (1 where the data has an action in s', 0 at the end of an episode), rewards, returns and
    continued_returns (see :func:`discounted_returns`; all three divided by ``reward_scale``), discounts (gamma, 0
    after a terminal state: a time limit is not one), among_best (see :func:`among_best`).
    """

    def __init__(
        self,
        dataset: OfflineDataset,
        config: TeacherConfig,
        columns: Sequence[str],
        scale: float,
        best_share: float = 1.0,
    ) -> None:
        if {"rewards", "returns", "continued_returns"} & set(columns):
            dataset.require_rewards()
        self.config, self.reward_scale = config, scale
        self.generator = torch.Generator().manual_seed(config.seed + 1)
        makers: dict[str, Callable[[], Float]] = {
            "states": lambda: dataset.normalize(dataset.observations),
            "actions": lambda: dataset.actions,
            "next_states": lambda: dataset.normalize(dataset.next_observations),
            "next_actions": lambda: next_actions(dataset)[0],
            "next_known": lambda: next_actions(dataset)[1][:, None],
            "rewards": lambda: dataset.rewards[:, None] / scale,
            "returns": lambda: discounted_returns(dataset, config.discount)[:, None] / scale,
            "continued_returns": lambda: discounted_returns(dataset, config.discount, continued=True)[:, None] / scale,
            "discounts": lambda: config.discount * (1 - dataset.terminations[:, None].astype(np.float32)),
            "among_best": lambda: among_best(dataset, best_share)[:, None],
        }
        parts = [makers[name]() for name in columns]
        self.widths = [part.shape[1] for part in parts]
        self.table = torch.from_numpy(np.concatenate(parts, axis=1, dtype=np.float32))
        self.table = self.table.to(torch.get_default_dtype())
        self.count = 0

    def batch(self) -> tuple[Tensor, ...]:
        """The next batch: one ``[B, width]`` tensor per column."""
        index = self.count % BATCHES_DRAWN
        if index == 0:
            shape = (BATCHES_DRAWN, self.config.batch_size)
            self.rows = torch.randint(len(self.table), shape, generator=self.generator)
        self.count += 1
        return torch.split(self.table.index_select(0, self.rows[index]), self.widths, dim=1)


def actor_and_critics(
    dataset: OfflineDataset, config: TeacherConfig, generator: torch.Generator, *, outputs: int = 1, **options: bool
) -> tuple[Networks, Networks]:
    """Fresh networks: an actor with ``outputs`` numbers per action, and two critics with these ``options``."""
    hidden = [config.hidden_width] * config.hidden_layers
    od, ad = dataset.observation_dim, dataset.action_dim
    actor = Networks([od, *hidden, outputs * ad], 1, generator)
    return actor, Networks([od + ad, *hidden, 1], 2, generator, **options)


def next_actions(dataset: OfflineDataset) -> tuple[Float, Float]:
    """The data's action in s' ``[M, act_dim]``, and 1 where it exists (not at the end of an episode) else 0."""
    known = np.ones(len(dataset), np.float32)
    known[np.append(dataset.episode_starts[1:], len(dataset)) - 1] = 0
    return np.roll(dataset.actions, -1, axis=0), known


def among_best(dataset: OfflineDataset, share: float) -> Float:
    """``[M]`` 1 for the episodes with the highest returns, as many as hold ``share`` of the transitions, else 0."""
    lengths = np.diff(np.append(dataset.episode_starts, len(dataset)))
    best_first = np.argsort(-dataset.episode_returns, kind="stable")
    before = np.cumsum(lengths[best_first]) - lengths[best_first]
    chosen = np.zeros(len(lengths), np.float32)
    chosen[best_first[before < share * len(dataset)]] = 1
    return chosen[dataset.episode_index]


def discounted_returns(dataset: OfflineDataset, discount: float, *, continued: bool = False) -> Float:
    """``[M]`` discounted sum of the rewards from each transition to the end of its episode.

    ``continued``: where an episode was cut off, its mean reward is taken to go on for ever.
    """
    result = np.empty(len(dataset), np.float64)
    ends = np.append(dataset.episode_starts[1:], len(dataset))
    for start, end in zip(dataset.episode_starts.tolist(), ends.tolist(), strict=True):
        rewards = dataset.rewards[start:end].astype(np.float64)
        following = 0.0
        if continued and not dataset.terminations[end - 1]:
            following = float(rewards.mean()) / (1 - discount)
        for row in range(end - start - 1, -1, -1):
            following = float(rewards[row]) + discount * following
            result[start + row] = following
    return result.astype(np.float32)


def reward_scale(dataset: OfflineDataset, size: float, discount: float) -> float:
    """The divisor of the rewards that makes Q, about mean|r| / (1 - gamma), of this ``size``; 1 when that is 0.

    Adam's steps have a fixed length, so values in the hundreds take tens of thousands of updates to reach.
    """
    if size == 0:
        return 1.0
    typical = float(np.abs(dataset.rewards).mean()) / (1 - discount)
    return max(typical / size, 1e-6)


def make_teacher(
    dataset: OfflineDataset,
    config: Any,
    steps: int,
    algorithm: str,
    actor: Layers,
    critics: tuple[Layers, ...],
    *,
    head: Head = "tanh",
    critic_norm: CriticNorm = "none",
    details: dict[str, str] | None = None,
) -> Teacher:
    """A teacher with the dataset's normaliser and a card: settings, steps, dataset and its hash."""
    return Teacher(
        env_id=dataset.env_id,
        algorithm=algorithm,
        actor=actor,
        critics=critics,
        observation_mean=torch.from_numpy(dataset.observation_mean.copy()),
        observation_std=torch.from_numpy(dataset.observation_std.copy()),
        head=head,
        q_discount=getattr(config, "discount", 0.0),
        critic_norm=critic_norm,
        details={
            "config": dumps(asdict(config) | {"steps": steps, "seconds": None}),
            "steps": str(steps),
            "dataset": dataset.id,
            "dataset_hash": dataset.content_hash,
        }
        | (details or {}),
    )
