"""Behaviour cloning of the whole dataset: the baseline every distilled set is compared with.

A network of three hidden layers of 256, the students' architecture, is fitted to the data's actions with Adam until
the error on held-out episodes has not improved for a while; the best network is kept.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from obd.config import check, option
from obd.data.dataset import OfflineDataset
from obd.errors import ObdError
from obd.events import ShouldStop
from obd.policy import MLPPolicy
from obd.teachers.networks import Networks
from obd.teachers.teacher import Teacher
from obd.teachers.training import OnProgress, Session, make_teacher, precision

VALIDATION_ROWS = 20_000  # held-out transitions used at most: enough for three digits


@dataclass(frozen=True)
class BCConfig:
    """Settings of behaviour cloning.  Whichever of steps, seconds and patience runs out first ends the training."""

    seed: int = option(0, "Seed", "fixes the held-out episodes, the start and the batches", low=0, high=2**31 - 1)
    steps: int | None = option(100_000, "Updates", "gradient steps at most", low=1, high=10**8)
    seconds: float | None = option(None, "Seconds", "time at most", low=1, high=1e6)
    batch_size: int = option(256, "Batch size", "transitions per step", low=1, high=65_536)
    step_size: float = option(1e-3, "Step size", "of Adam", low=1e-7, high=1.0)
    hidden_layers: int = option(3, "Hidden layers", "of the policy", low=1, high=8)
    hidden_width: int = option(256, "Hidden width", "units per hidden layer", low=4, high=2048)
    held_out: float = option(0.1, "Held out", "fraction of the episodes kept for validation", low=0.01, high=0.5)
    check_every: int = option(1_000, "Check every", "steps between validations", low=1, high=1_000_000)
    patience: int = option(10, "Patience", "validations without improvement before stopping", low=1, high=10_000)
    precision: str = precision()

    def __post_init__(self) -> None:
        for entry in fields(self):
            check(entry.name, getattr(self, entry.name), entry.metadata["option"])
        if self.steps is None and self.seconds is None:
            raise ObdError("Give either a time budget (seconds) or a number of updates (steps).")


PRESETS = {"fast": {"steps": None, "seconds": 180.0}, "long": {}}


@dataclass(frozen=True)
class BCResult:
    """A cloned policy.

    Attributes:
        policy: the network with the lowest validation error.
        curve: one entry per validation: ``step``, ``seconds``, ``train_loss`` (mean since the last one) and
            ``validation_loss``, mean squared action error.
        best_step, best_loss, last_step, last_loss: of the kept and of the last network.
        last_policy: the last network.
        stopped_early: patience ran out, rather than steps or seconds.
    """

    policy: MLPPolicy
    curve: list[dict[str, float]]
    best_step: int
    best_loss: float
    last_step: int
    last_loss: float
    stopped_early: bool
    last_policy: MLPPolicy


class Learner:
    """The network, its optimiser, the data, and the validation curve."""

    def __init__(self, dataset: OfflineDataset, config: BCConfig) -> None:
        self.dataset, self.config, self.steps = dataset, config, 0
        training, validation = split_rows(dataset, config.held_out, np.random.default_rng(config.seed))
        self.states = torch.from_numpy(dataset.normalize(dataset.observations))
        self.actions = torch.from_numpy(dataset.actions)
        self.rows, held = torch.from_numpy(training), torch.from_numpy(validation)
        self.held_states, self.held_actions = self.states[held], self.actions[held]
        self.generator = torch.Generator().manual_seed(config.seed)
        hidden = [config.hidden_width] * config.hidden_layers
        self.network = Networks([dataset.observation_dim, *hidden, dataset.action_dim], 1, torch.Generator())
        for weight, bias in zip(self.network.weights, self.network.biases, strict=True):  # the students' start
            fresh = torch.empty(weight.shape[2], weight.shape[1])
            torch.nn.init.orthogonal_(fresh, gain=2**0.5, generator=self.generator)
            weight[0].copy_(fresh.t())
            bias.zero_()
        self.start = time.monotonic()
        self.curve: list[dict[str, float]] = []
        self.best_loss, self.best_step, self.best = math.inf, 0, self.network.flat.clone()
        self.total, self.since = torch.zeros(()), 0

    @property
    def over(self) -> bool:
        """No improvement for ``patience`` validations."""
        return self.steps - self.best_step >= self.config.patience * self.config.check_every

    def update(self, rate: float = 1.0, report: bool = True) -> dict[str, float]:
        """One gradient step; the error of this batch and of the last validation."""
        config = self.config
        drawn = torch.randint(len(self.rows), (config.batch_size,), generator=self.generator)
        rows = self.rows[drawn]
        chosen = torch.tanh(self.network.forward(self.states[rows])[0])
        error = chosen - self.actions[rows]
        loss = error.square().mean()
        self.network.backward((error * (1 - chosen.square()) * (2 / error.numel()))[None])
        self.network.step(config.step_size * rate)
        self.total, self.since = self.total + loss, self.since + 1
        self.steps += 1
        if self.steps % config.check_every == 0 or self.steps == config.steps:
            self.validate()
        if not report:
            return {}
        validation = {"validation_loss": self.curve[-1]["validation_loss"]} if self.curve else {}
        return {"train_loss": float(loss)} | validation

    def validate(self) -> None:
        """Add an entry to the curve and keep the network if it is the best so far."""
        loss = float((torch.tanh(self.network(self.held_states)[0]) - self.held_actions).square().mean())
        entry = {"step": float(self.steps), "seconds": time.monotonic() - self.start, "validation_loss": loss}
        self.curve.append(entry | {"train_loss": float(self.total) / self.since})
        self.total, self.since = torch.zeros(()), 0
        if loss < self.best_loss:
            self.best_loss, self.best_step, self.best = loss, self.steps, self.network.flat.clone()

    def teacher(self, steps: int) -> Teacher:
        """The network with the lowest validation error; it has no action values."""
        result = self.result(validate=False)  # a look in between must not change what is kept
        layers = tuple(
            (torch.from_numpy(weight.T.copy()), torch.from_numpy(bias))
            for weight, bias in zip(result.policy.weights, result.policy.biases, strict=True)
        )
        details = {name: str(getattr(result, name)) for name in ("best_step", "best_loss", "last_step", "last_loss")}
        return make_teacher(self.dataset, self.config, steps, "bc", layers, (), details=details)

    def result(self, validate: bool = True) -> BCResult:
        """What has been cloned so far, the last network validated if wanted."""
        if not self.curve or (validate and self.curve[-1]["step"] != self.steps):
            self.validate()
        if not math.isfinite(self.curve[-1]["validation_loss"]):
            raise ObdError("Behaviour cloning diverged; use a smaller step size.")
        return BCResult(
            policy=self.policy(self.best),
            curve=self.curve,
            best_step=self.best_step,
            best_loss=self.best_loss,
            last_step=int(self.curve[-1]["step"]),
            last_loss=self.curve[-1]["validation_loss"],
            stopped_early=self.over,
            last_policy=self.policy(self.network.flat),
        )

    def policy(self, parameters: Tensor) -> MLPPolicy:
        """The network with these parameters, for rollouts."""
        copy = self.network.target()
        copy.flat.copy_(parameters)
        weights = tuple(weight.numpy().T for weight, _ in copy.layers())
        biases = tuple(bias.numpy().copy() for _, bias in copy.layers())
        data = self.dataset
        return MLPPolicy(weights, biases, data.observation_mean, data.observation_std, "tanh")


def clone_behaviour(
    dataset: OfflineDataset,
    config: BCConfig | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> BCResult:
    """Fit the data's actions.  ``on_progress(step, entry of the curve + fraction)`` for every validation.

    Raises:
        Cancelled: ``should_stop()`` returned true.
        ObdError: the fit diverged.
    """
    config = config or BCConfig()
    learner = Learner(dataset, config)
    session = Session(learner, config)
    going_on, told = True, 0
    while going_on:
        going_on = session.advance(should_stop=should_stop)
        for entry in learner.curve[told:]:
            if on_progress is not None:
                on_progress(int(entry["step"]), entry | {"fraction": session.fraction})
        told = len(learner.curve)
    return learner.result()


def split_rows(
    dataset: OfflineDataset, held_out: float, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row numbers for training and validation; whole episodes are held out, for neighbours in time are near copies.

    A dataset of one episode gives its last part.
    """
    episodes = len(dataset.episode_starts)
    rows = np.arange(len(dataset))
    if episodes == 1:
        cut = max(1, round(len(dataset) * (1 - held_out)))
        return rows[:cut], rows[min(cut, len(dataset) - 1) :]
    chosen = generator.permutation(episodes)[: min(episodes - 1, max(1, round(episodes * held_out)))]
    mask = np.isin(dataset.episode_index, chosen)
    validation = rows[mask]
    if len(validation) > VALIDATION_ROWS:
        validation = np.sort(generator.choice(validation, VALIDATION_ROWS, replace=False))
    return rows[~mask], validation
