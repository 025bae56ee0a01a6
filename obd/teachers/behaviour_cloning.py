"""Behaviour cloning of the whole dataset: the baseline every distilled set is compared with.

A network of three hidden layers of 256, the students' architecture, is fitted to the data's actions with Adam until
the error on held-out episodes has not improved for a while; the best network is kept.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from obd.config import check, option
from obd.data.dataset import OfflineDataset
from obd.errors import Cancelled, ObdError
from obd.events import ShouldStop
from obd.policy import MLPPolicy

OnProgress = Callable[[int, dict[str, float]], None]
VALIDATION_ROWS = 20_000  # held-out transitions used at most: enough for three digits


@dataclass(frozen=True)
class BCConfig:
    """Settings of behaviour cloning.  Whichever of steps, seconds and patience runs out first ends the training."""

    seed: int = option(0, "Seed", "fixes the held-out episodes, the start and the batches", low=0, high=2**31 - 1)
    steps: int = option(100_000, "Steps", "gradient steps at most", low=1, high=10**8)
    seconds: float | None = option(None, "Seconds", "time at most; ends the run at a check", low=1, high=1e6)
    batch_size: int = option(256, "Batch size", "transitions per step", low=1, high=65_536)
    step_size: float = option(1e-3, "Step size", "of Adam", low=1e-7, high=1.0)
    hidden_layers: int = option(3, "Hidden layers", "of the policy", low=1, high=8)
    hidden_width: int = option(256, "Hidden width", "units per hidden layer", low=4, high=2048)
    held_out: float = option(0.1, "Held out", "fraction of the episodes kept for validation", low=0.01, high=0.5)
    check_every: int = option(1_000, "Check every", "steps between validations", low=1, high=1_000_000)
    patience: int = option(10, "Patience", "validations without improvement before stopping", low=1, high=10_000)

    def __post_init__(self) -> None:
        for entry in fields(self):
            check(entry.name, getattr(self, entry.name), entry.metadata["option"])


@dataclass(frozen=True)
class BCResult:
    """A cloned policy.

    Attributes:
        policy: the network with the lowest validation error.
        curve: one entry per validation: ``step``, ``seconds``, ``train_loss`` (mean since the last one) and
            ``validation_loss``, mean squared action error.
        best_step, best_loss, last_step, last_loss: of the kept and of the last network.
        stopped_early: patience ran out, rather than steps or seconds.
    """

    policy: MLPPolicy
    curve: list[dict[str, float]]
    best_step: int
    best_loss: float
    last_step: int
    last_loss: float
    stopped_early: bool


def clone_behaviour(
    dataset: OfflineDataset,
    config: BCConfig | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> BCResult:
    """Fit the data's actions.  ``on_progress(step, entry of the curve + fraction)`` at every validation.

    Raises:
        Cancelled: ``should_stop()`` returned true.
        ObdError: the fit diverged.
    """
    config = config or BCConfig()
    training, validation = split_rows(dataset, config.held_out, np.random.default_rng(config.seed))
    states = torch.from_numpy(dataset.normalize(dataset.observations))
    actions = torch.from_numpy(dataset.actions)
    training_rows, held_rows = torch.from_numpy(training), torch.from_numpy(validation)
    held_states, held_actions = states[held_rows], actions[held_rows]
    generator = torch.Generator().manual_seed(config.seed)
    network = _network(dataset, config, generator)
    parameters = list(network.parameters())
    optimizer = torch.optim.Adam(parameters, lr=config.step_size, fused=True)
    curve: list[dict[str, float]] = []
    best_loss, best_step, best = math.inf, 0, [parameter.detach().clone() for parameter in parameters]
    start, total, since = time.monotonic(), torch.zeros(()), 0
    stopped_early = False
    for step in range(1, config.steps + 1):
        drawn = torch.randint(len(training_rows), (config.batch_size,), generator=generator)
        rows = training_rows[drawn]
        loss = (network(states[rows]) - actions[rows]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total, since = total + loss.detach(), since + 1
        if step % 50 == 0 and should_stop is not None and should_stop():
            raise Cancelled
        if step % config.check_every and step < config.steps:
            continue
        validation_loss = _error(network, held_states, held_actions)
        if not math.isfinite(validation_loss):
            raise ObdError("Behaviour cloning diverged; use a smaller step size.")
        seconds = time.monotonic() - start
        curve.append(
            {
                "step": float(step),
                "seconds": seconds,
                "train_loss": float(total) / since,
                "validation_loss": validation_loss,
            }
        )
        total, since = torch.zeros(()), 0
        if validation_loss < best_loss:
            best_loss, best_step = validation_loss, step
            best = [parameter.detach().clone() for parameter in parameters]
        if on_progress is not None:
            on_progress(step, curve[-1] | {"fraction": step / config.steps})
        stopped_early = step - best_step >= config.patience * config.check_every
        if stopped_early or (config.seconds is not None and seconds > config.seconds):
            break
    return BCResult(
        policy=_policy(best, dataset),
        curve=curve,
        best_step=best_step,
        best_loss=best_loss,
        last_step=int(curve[-1]["step"]),
        last_loss=curve[-1]["validation_loss"],
        stopped_early=stopped_early,
    )


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


def _network(dataset: OfflineDataset, config: BCConfig, generator: torch.Generator) -> torch.nn.Sequential:
    widths = [dataset.observation_dim, *[config.hidden_width] * config.hidden_layers, dataset.action_dim]
    layers: list[torch.nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        # Made on "meta" so that PyTorch's own start values do not touch the global generator.
        linear = torch.nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")
        torch.nn.init.orthogonal_(linear.weight, gain=2**0.5, generator=generator)
        torch.nn.init.zeros_(linear.bias)
        layers += [linear, torch.nn.ReLU()]
    layers[-1] = torch.nn.Tanh()
    return torch.nn.Sequential(*layers)


@torch.no_grad()
def _error(network: torch.nn.Module, states: Tensor, actions: Tensor) -> float:
    return float((network(states) - actions).square().mean())


def _policy(parameters: list[Tensor], dataset: OfflineDataset) -> MLPPolicy:
    weights = tuple(np.ascontiguousarray(weight.numpy().T) for weight in parameters[::2])
    biases = tuple(bias.numpy() for bias in parameters[1::2])
    return MLPPolicy(weights, biases, dataset.observation_mean, dataset.observation_std, "tanh")
