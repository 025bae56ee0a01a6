"""TD3+BC (Fujimoto and Gu 2021), https://arxiv.org/abs/2106.06860.

    critic:  min_theta  sum_i (Q_i(s, a) - r - gamma min_j Q'_j(s', a'))^2,   a' = clip(pi'(s') + clipped noise, -1, 1)
    actor:   min_phi    |pi(s) - a|^2 / act_dim - alpha Q_1(s, pi(s)) / mean|Q_1|

The actor and the targets move at every second update.  The published settings are the defaults.  Both other presets
are for minutes: ``fast`` takes larger steps and trusts the action values more; ``steady`` takes the published steps and
weight, at which values do not run away on data that hold little of the good policy.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from obd.config import option
from obd.data.dataset import OfflineDataset
from obd.teachers.networks import Networks, regress
from obd.teachers.teacher import Teacher
from obd.teachers.training import (
    TeacherConfig,
    Transitions,
    actor_and_critics,
    make_teacher,
    reward_scale,
    value_size,
)


@dataclass(frozen=True)
class DelayedActorConfig(TeacherConfig):
    """Settings of TD3 (Fujimoto et al. 2018, https://arxiv.org/abs/1802.09477), on which ReBRAC builds too."""

    actor_every: int = option(2, "Actor delay", "critic updates per actor update", low=1, high=100)
    target_noise: float = option(0.2, "Target noise", "standard deviation of the smoothing noise", low=0.0, high=1.0)
    noise_clip: float = option(0.5, "Noise clip", "bound of the smoothing noise", low=0.0, high=2.0)
    value_size: float = value_size()


@dataclass(frozen=True)
class TD3BCConfig(DelayedActorConfig):
    """Settings of TD3+BC."""

    alpha: float = option(2.5, "Alpha", "weight of the action value against imitation", low=0.0, high=1e3)


PRESETS = {
    "fast": {
        "steps": None, "seconds": 180.0, "alpha": 20.0, "target_rate": 0.02, "actor_rate": 1e-3, "critic_rate": 1e-3,
        "final_rate": 0.1, "value_size": 10.0,
    },
    "steady": {"steps": None, "seconds": 300.0, "final_rate": 0.1, "value_size": 10.0},
    "paper": {},
}  # fmt: skip


class Learner:
    """Networks, optimisers and data of TD3+BC."""

    over = False

    def __init__(self, dataset: OfflineDataset, config: TD3BCConfig) -> None:
        self.dataset, self.config, self.steps = dataset, config, 0
        columns = ("states", "actions", "next_states", "rewards", "discounts")
        self.data = Transitions(dataset, config, columns, reward_scale(dataset, config.value_size, config.discount))
        self.generator = torch.Generator().manual_seed(config.seed)
        self.actor, self.critic = actor_and_critics(dataset, config, self.generator)
        self.actor_target, self.critic_target = self.actor.target(), self.critic.target()
        self.first_critic = self.critic.only(1)

    def update(self, rate: float = 1.0, report: bool = True) -> dict[str, float]:
        """One update; the losses of this step, action values in reward units."""
        config = self.config
        states, actions, next_states, rewards, discounts = self.data.batch()
        following = smoothed_actions(self.actor_target, next_states, config, self.generator)
        target = rewards + discounts * self.critic_target(torch.cat([next_states, following], 1)).amin(0)
        pairs = torch.cat([states, actions], 1)
        values, critic_loss = regress(self.critic, pairs, target, config.critic_rate * rate)

        if self.steps % config.actor_every == 0:
            chosen = torch.tanh(self.actor.forward(states)[0])
            q = self.first_critic.forward(torch.cat([states, chosen], 1))
            weight = config.alpha / q.abs().mean().clamp_min(1e-6)
            uphill = self.first_critic.input_slope(torch.full_like(q, 1 / len(states)))[:, states.shape[1] :]
            error = chosen - actions
            slope = (error * (2 / error.numel()) - weight * uphill) * (1 - chosen.square())
            self.actor.backward(slope[None])
            self.actor.step(config.actor_rate * rate)
            self.actor_target.follow(self.actor, config.target_rate)
            self.critic_target.follow(self.critic, config.target_rate)
            self.last = error, q
        self.steps += 1
        return described(critic_loss, values, *self.last, self.data.reward_scale) if report else {}

    def teacher(self, steps: int) -> Teacher:
        """The target actor, which averages the last iterates, and both critics in reward units."""
        critics = tuple(self.critic.layers(number, self.data.reward_scale) for number in range(2))
        return make_teacher(self.dataset, self.config, steps, "td3_bc", self.actor_target.layers(), critics)


def smoothed_actions(actor: Networks, states: Tensor, config: DelayedActorConfig, generator: torch.Generator) -> Tensor:
    """Actions of ``actor`` with clipped noise: a critic's peak that is good only at a point is no good."""
    actions = torch.tanh(actor(states)[0])
    noise = torch.randn(actions.shape, generator=generator) * config.target_noise
    return (actions + noise.clamp_(-config.noise_clip, config.noise_clip)).clamp_(-1, 1)


def described(critic_loss: Tensor, values: Tensor, error: Tensor, q: Tensor, reward_scale: float) -> dict[str, float]:
    """The losses for people: ``error`` of the policy against the data's actions, Q in reward units."""
    return {
        "critic_loss": float(critic_loss),
        "imitation_error": float(error.square().mean()),
        "q_data": float(values.mean()) * reward_scale,
        "q_policy": float(q.mean()) * reward_scale,
    }
