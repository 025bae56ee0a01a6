"""TD3+BC (Fujimoto and Gu 2021, arXiv 2106.06860) with ReBRAC's critic penalty (Tarasov et al. 2023, arXiv 2305.09836).

    critic:  min_theta (Q_theta(s, a) - r - gamma * (min_j Q'_j(s', a') - critic_penalty * |a' - a'_data|^2))^2
             with a' = clip(pi'(s') + clipped noise, -1, 1)
    actor:   max_phi   alpha / mean|Q| * Q(s, pi(s)) - |pi(s) - a|^2

Rewards are divided by a constant while training, so that Q is of order ten whatever the task; the exported critics
are scaled back.  A time limit is not a terminal state: only ``terminations`` stop the bootstrap.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from obd.config import check, dumps, option
from obd.data.dataset import OfflineDataset
from obd.errors import Cancelled, ObdError
from obd.events import ShouldStop
from obd.teachers.teacher import Layers, Teacher

OnProgress = Callable[[int, dict[str, float]], None]

TARGET_Q = 10.0  # size of Q after the reward scaling
CALIBRATION_STEPS = 200  # timed (after as many warm-up steps) to turn seconds into steps
REPORT_SECONDS = 0.5


@dataclass(frozen=True)
class TD3BCConfig:
    """Settings of TD3+BC.  The defaults are the published algorithm but for ``final_rate`` (published: 1)."""

    seconds: float | None = option(600.0, "Seconds", "time budget, becomes a step count", low=1, high=1e6)
    steps: int | None = option(None, "Steps", "number of critic updates instead of a time budget", low=1, high=10**8)
    seed: int = option(0, "Seed", "fixes every random choice", low=0, high=2**31 - 1)
    alpha: float = option(2.5, "Alpha", "weight of the action value against imitation", low=0.0, high=1e3)
    critic_penalty: float = option(
        0.0, "Critic penalty", "imitation penalty inside the target, per squared action distance", low=0.0, high=100.0
    )
    hidden_layers: int = option(2, "Hidden layers", "of actor and critics", low=1, high=8)
    hidden_width: int = option(256, "Hidden width", "units per hidden layer", low=4, high=2048)
    batch_size: int = option(256, "Batch size", "transitions per update", low=1, high=65_536)
    actor_rate: float = option(3e-4, "Actor learning rate", "Adam", low=1e-7, high=1.0)
    critic_rate: float = option(3e-4, "Critic learning rate", "Adam", low=1e-7, high=1.0)
    final_rate: float = option(
        0.1, "Final rate", "in the second half both rates fall linearly to this fraction", low=0.0, high=1.0
    )
    discount: float = option(0.99, "Discount", "gamma", low=0.0, high=0.9999)
    target_rate: float = option(0.005, "Target rate", "how fast the target networks follow", low=1e-5, high=1.0)
    actor_every: int = option(2, "Actor delay", "critic updates per actor update", low=1, high=100)
    target_noise: float = option(0.2, "Target noise", "standard deviation of the smoothing noise", low=0.0, high=1.0)
    noise_clip: float = option(0.5, "Noise clip", "bound of the smoothing noise", low=0.0, high=2.0)

    def __post_init__(self) -> None:
        for entry in fields(self):
            check(entry.name, getattr(self, entry.name), entry.metadata["option"])
        if self.steps is None and self.seconds is None:
            raise ObdError("Give either a time budget (seconds) or a number of steps.")


def train(
    dataset: OfflineDataset,
    config: TD3BCConfig | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> Teacher:
    """Train a teacher on the CPU.  The same dataset, step count, seed and machine give the same teacher.

    ``on_progress(step, metrics)`` is called about twice a second; metrics hold ``fraction`` (0..1), ``steps``,
    ``critic_loss``, ``imitation_error`` (mean squared distance to the data's actions), ``q_policy``, ``q_data`` (mean
    action values, reward units) and ``updates_per_second``.

    Raises:
        Cancelled: ``should_stop()`` returned true.
        ObdError: training diverged.
    """
    config = config or TD3BCConfig()
    torch.set_num_threads(1)  # the matrices are small, and the bits then do not depend on the number of cores
    learner = Learner(dataset, config)
    start = reported = time.monotonic()
    total = config.steps
    step = 0
    while total is None or step < total:
        fraction = 0.0 if total is None else (step + 1) / total
        learner.update(1 - (1 - config.final_rate) * max(0.0, 2 * fraction - 1))
        step += 1
        if total is None:  # not calibrated yet
            if step == CALIBRATION_STEPS:
                calibration = time.monotonic()
            elif step == 2 * CALIBRATION_STEPS:
                now = time.monotonic()
                left = (config.seconds or 0.0) - (now - start)
                total = step + max(0, int(left * CALIBRATION_STEPS / (now - calibration)))
        if step % 16 == 0:
            if should_stop is not None and should_stop():
                raise Cancelled
            now = time.monotonic()
            if on_progress is not None and now - reported > REPORT_SECONDS:
                reported = now
                on_progress(step, learner.metrics() | _pace(step, total, now - start))
    metrics = learner.metrics() | _pace(step, step, time.monotonic() - start)
    if not all(math.isfinite(value) for value in metrics.values()):
        raise ObdError("The teacher diverged; use smaller learning rates or a smaller alpha.")
    if on_progress is not None:
        on_progress(step, metrics)
    return learner.teacher(step)


def _pace(step: int, total: int | None, seconds: float) -> dict[str, float]:
    return {
        "fraction": step / total if total else 0.0,
        "steps": float(total or 0),
        "updates_per_second": step / max(seconds, 1e-9),
    }


def next_actions(dataset: OfflineDataset) -> tuple[np.ndarray, np.ndarray]:
    """The data's action in s' ``[M, act_dim]``, and 1 where it exists (not at the end of an episode) else 0."""
    known = np.ones(len(dataset), np.float32)
    known[np.append(dataset.episode_starts[1:], len(dataset)) - 1] = 0
    return np.roll(dataset.actions, -1, axis=0), known


def make_layers(sizes: list[int], generator: torch.Generator, copies: int | None = None) -> list[Tensor]:
    """[weight, bias, ...] with weights ``[in, out]``, or ``[copies, in, out]``; uniform within 1/sqrt(in)."""
    parameters = []
    lead = () if copies is None else (copies,)
    for inputs, outputs in itertools.pairwise(sizes):
        for shape in ((*lead, inputs, outputs), (*lead, 1, outputs) if lead else (outputs,)):
            values = torch.rand(shape, generator=generator).mul_(2).sub_(1).div_(inputs**0.5)
            parameters.append(values.requires_grad_())
    return parameters


def forward(parameters: list[Tensor], hidden: Tensor) -> Tensor:
    """The network of :func:`make_layers`; a stack of copies takes ``[copies, B, in]``."""
    multiply = torch.baddbmm if parameters[0].dim() == 3 else torch.addmm
    for index in range(0, len(parameters), 2):
        hidden = multiply(parameters[index + 1], hidden, parameters[index])
        if index < len(parameters) - 2:
            hidden = torch.relu(hidden)
    return hidden


def _export(parameters: list[Tensor], scale: float) -> Layers:
    layers = []
    for index in range(0, len(parameters), 2):
        factor = scale if index == len(parameters) - 2 else 1.0
        weight, bias = parameters[index].detach(), parameters[index + 1].detach()
        layers.append(((weight.t() * factor).contiguous(), bias.reshape(-1) * factor))
    return tuple(layers)


class Learner:
    """Networks, optimisers and the table of transitions; :meth:`update` is one step of the algorithm."""

    def __init__(self, dataset: OfflineDataset, config: TD3BCConfig) -> None:
        self.dataset, self.config = dataset, config
        od, ad = dataset.observation_dim, dataset.action_dim
        self.od, self.ad = od, ad
        self.generator = torch.Generator().manual_seed(config.seed)
        # Q is about mean|r| / (1 - gamma); scaled to TARGET_Q it suits Adam's fixed step length.
        typical = float(np.abs(dataset.rewards).mean()) / (1 - config.discount)
        self.reward_scale = max(typical / TARGET_Q, 1e-6)
        follow, known = next_actions(dataset)
        columns = (
            dataset.normalize(dataset.observations),
            dataset.actions,
            dataset.normalize(dataset.next_observations),
            follow,
            dataset.rewards[:, None] / self.reward_scale,
            config.discount * (1 - dataset.terminations[:, None].astype(np.float32)),
            known[:, None],
        )
        self.table = torch.from_numpy(np.concatenate(columns, axis=1, dtype=np.float32))
        self.widths = [od, ad, od, ad, 1, 1, 1]
        hidden = [config.hidden_width] * config.hidden_layers
        self.actor = make_layers([od, *hidden, ad], self.generator)
        self.critic = make_layers([od + ad, *hidden, 1], self.generator, copies=2)
        self.actor_target = [parameter.detach().clone() for parameter in self.actor]
        self.critic_target = [parameter.detach().clone() for parameter in self.critic]
        self.actor_optimizer = torch.optim.Adam(self.actor, lr=config.actor_rate, fused=True)
        self.critic_optimizer = torch.optim.Adam(self.critic, lr=config.critic_rate, fused=True)
        self.steps = 0
        self.rows = torch.empty(0, config.batch_size, dtype=torch.int64)
        self.last: dict[str, Tensor] = {}

    def update(self, rate: float) -> None:
        """One critic update, and an actor update every ``actor_every``; ``rate`` scales both learning rates."""
        config = self.config
        states, actions, next_states, follow, rewards, discounts, known = self._batch()
        with torch.no_grad():
            noise = torch.randn(actions.shape, generator=self.generator).mul_(config.target_noise)
            noise.clamp_(-config.noise_clip, config.noise_clip)
            proposed = (torch.tanh(forward(self.actor_target, next_states)) + noise).clamp_(-1, 1)
            future = self._values(self.critic_target, next_states, proposed).amin(0)
            if config.critic_penalty > 0:
                future -= config.critic_penalty * known * (proposed - follow).square().sum(1, keepdim=True)
            target = rewards + discounts * future
        values = self._values(self.critic, states, actions)
        critic_loss = (values - target).square().mean()
        self._step(self.critic_optimizer, self.critic, critic_loss, config.critic_rate * rate)
        self.last["critic_loss"], self.last["q_data"] = critic_loss.detach(), values.detach()
        if self.steps % config.actor_every == 0:
            chosen = torch.tanh(forward(self.actor, states))
            q = forward([parameter.detach()[0] for parameter in self.critic], torch.cat([states, chosen], 1))
            imitation = mse_loss(chosen, actions)
            weight = config.alpha / q.detach().abs().mean().clamp_min(1e-6)
            self._step(self.actor_optimizer, self.actor, imitation - weight * q.mean(), config.actor_rate * rate)
            with torch.no_grad():
                torch._foreach_lerp_(self.actor_target, self.actor, config.target_rate)
                torch._foreach_lerp_(self.critic_target, self.critic, config.target_rate)
            self.last["imitation_error"], self.last["q_policy"] = imitation.detach(), q.detach()
        self.steps += 1

    def metrics(self) -> dict[str, float]:
        """Of the last update, action values in reward units."""
        if not self.last:
            return {}
        return {
            "critic_loss": float(self.last["critic_loss"]),
            "imitation_error": float(self.last["imitation_error"]),
            "q_data": float(self.last["q_data"].mean()) * self.reward_scale,
            "q_policy": float(self.last["q_policy"].mean()) * self.reward_scale,
        }

    def teacher(self, steps: int) -> Teacher:
        """The target actor, which averages the last iterates, and both critics in reward units."""
        config = self.config
        critics = tuple(
            _export([parameter[number] for parameter in self.critic], self.reward_scale) for number in range(2)
        )
        recorded = asdict(config) | {"steps": steps, "seconds": None}
        return Teacher(
            env_id=self.dataset.env_id,
            algorithm="td3_bc",
            actor=_export(self.actor_target, 1.0),
            critics=critics,
            observation_mean=torch.from_numpy(self.dataset.observation_mean.copy()),
            observation_std=torch.from_numpy(self.dataset.observation_std.copy()),
            q_discount=config.discount,
            details={
                "config": dumps(recorded),
                "steps": str(steps),
                "dataset": self.dataset.id,
                "dataset_hash": self.dataset.content_hash,
            },
        )

    def _batch(self) -> tuple[Tensor, ...]:
        index = self.steps % 1024
        if index == 0:
            self.rows = torch.randint(len(self.table), (1024, self.config.batch_size), generator=self.generator)
        return torch.split(self.table.index_select(0, self.rows[index]), self.widths, dim=1)

    @staticmethod
    def _values(critic: list[Tensor], states: Tensor, actions: Tensor) -> Tensor:
        """Both critics, ``[2, B, 1]``."""
        return forward(critic, torch.cat([states, actions], 1).expand(2, -1, -1))

    @staticmethod
    def _step(optimizer: torch.optim.Adam, parameters: list[Tensor], loss: Tensor, rate: float) -> None:
        # Only the gradients that are needed: the actor's loss would otherwise compute the critics' as well.
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
