"""Implicit Q-learning (Kostrikov, Nair and Levine 2021), https://arxiv.org/abs/2110.06169.

    value:   min_psi    E |tau - 1(u < 0)| u^2,   u = min_j Q'_j(s, a) - V(s)          (expectile regression)
    critic:  min_theta  sum_i (Q_i(s, a) - r - gamma V(s'))^2
    actor:   min_phi    E min(exp(beta u), 100) |pi(s) - a|^2 / act_dim                (advantage-weighted regression)

No action outside the data is ever evaluated.  As published, rewards are divided so that the returns of the dataset's
episodes span 1,000, which gives beta its meaning.  The actor is the deterministic tanh network of the file format, so
its log-likelihood is a squared distance.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from obd.config import option
from obd.data.dataset import OfflineDataset
from obd.teachers.networks import Networks, regress
from obd.teachers.teacher import Teacher
from obd.teachers.training import TeacherConfig, Transitions, actor_and_critics, make_teacher

RETURN_SPAN = 1000.0
LARGEST_WEIGHT = 100.0


@dataclass(frozen=True)
class IQLConfig(TeacherConfig):
    """Settings of IQL."""

    expectile: float = option(0.7, "Expectile", "tau: how far above the mean V lies", low=0.5, high=0.999)
    temperature: float = option(3.0, "Inverse temperature", "beta: how strongly advantages count", low=0.0, high=100.0)


PRESETS = {
    "fast": {
        "steps": None, "seconds": 180.0, "target_rate": 0.02, "actor_rate": 1e-3, "critic_rate": 1e-3,
        "final_rate": 0.1, "expectile": 0.9, "temperature": 10.0,
    },
    "paper": {},
}  # fmt: skip


class Learner:
    """Networks, optimisers and data of IQL."""

    over = False

    def __init__(self, dataset: OfflineDataset, config: IQLConfig) -> None:
        self.dataset, self.config = dataset, config
        span = float(dataset.episode_returns.max() - dataset.episode_returns.min())
        columns = ("states", "actions", "next_states", "rewards", "discounts")
        self.data = Transitions(dataset, config, columns, max(span / RETURN_SPAN, 1e-6))
        generator = torch.Generator().manual_seed(config.seed)
        self.actor, self.critic = actor_and_critics(dataset, config, generator)
        hidden = [config.hidden_width] * config.hidden_layers
        self.value = Networks([dataset.observation_dim, *hidden, 1], 1, generator)
        self.critic_target = self.critic.target()

    def update(self, rate: float = 1.0, report: bool = True) -> dict[str, float]:
        """One update; the losses of this step, values in reward units."""
        config = self.config
        states, actions, next_states, rewards, discounts = self.data.batch()
        pairs = torch.cat([states, actions], 1)
        q = self.critic_target(pairs).amin(0)
        target = rewards + discounts * self.value(next_states)[0]

        values = self.value.forward(states)[0]
        advantage = q - values
        expectile = torch.where(advantage < 0, 1 - config.expectile, config.expectile)
        self.value.backward((expectile * advantage * (-2 / len(q)))[None])
        self.value.step(config.critic_rate * rate)

        _, critic_loss = regress(self.critic, pairs, target, config.critic_rate * rate)
        self.critic_target.follow(self.critic, config.target_rate)

        weights = (config.temperature * advantage).exp_().clamp_max_(LARGEST_WEIGHT)
        chosen = torch.tanh(self.actor.forward(states)[0])
        error = chosen - actions
        self.actor.backward((weights * error * (1 - chosen.square()) * (2 / error.numel()))[None])
        self.actor.step(config.actor_rate * rate)
        if not report:
            return {}
        return {
            "critic_loss": float(critic_loss),
            "value_loss": float((expectile * advantage.square()).mean()),
            "imitation_error": float(error.square().mean()),
            "q_data": float(q.mean()) * self.data.reward_scale,
            "v_data": float(values.mean()) * self.data.reward_scale,
        }

    def teacher(self, steps: int) -> Teacher:
        """The actor and both critics in reward units."""
        critics = tuple(self.critic.layers(number, self.data.reward_scale) for number in range(2))
        return make_teacher(self.dataset, self.config, steps, "iql", self.actor.layers(), critics)
