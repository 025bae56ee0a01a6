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
from obd.teachers.networks import Networks, descend
from obd.teachers.teacher import Teacher
from obd.teachers.training import TeacherConfig, Transitions, make_teacher

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
        hidden = [config.hidden_width] * config.hidden_layers
        od, ad = dataset.observation_dim, dataset.action_dim
        self.actor = Networks([od, *hidden, ad], 1, generator)
        self.critic = Networks([od + ad, *hidden, 1], 2, generator)
        self.value = Networks([od, *hidden, 1], 1, generator)
        self.critic_target = self.critic.target()
        self.actor_optimizer = self.actor.adam(config.actor_rate)
        self.critic_optimizer = self.critic.adam(config.critic_rate)
        self.value_optimizer = self.value.adam(config.critic_rate)

    def update(self, rate: float = 1.0, report: bool = True) -> dict[str, float]:
        """One update; the losses of this step, values in reward units."""
        config = self.config
        states, actions, next_states, rewards, discounts = self.data.batch()
        pairs = torch.cat([states, actions], 1)
        with torch.no_grad():
            q = self.critic_target(pairs).amin(0)
            target = rewards + discounts * self.value(next_states)[0]

        values = self.value(states)[0]
        advantage = q - values
        expectile = torch.where(advantage.detach() < 0, 1 - config.expectile, config.expectile)
        value_loss = (expectile * advantage.square()).mean()
        value_loss = descend(value_loss, self.value_optimizer, config.critic_rate * rate)

        critic_loss = (self.critic(pairs) - target).square().mean((1, 2)).sum()
        critic_loss = descend(critic_loss, self.critic_optimizer, config.critic_rate * rate)
        self.critic_target.follow(self.critic, config.target_rate)

        weights = (config.temperature * advantage.detach()).exp().clamp_max(LARGEST_WEIGHT)
        distance = (torch.tanh(self.actor(states)[0]) - actions).square()
        descend((weights * distance).mean(), self.actor_optimizer, config.actor_rate * rate)
        if not report:
            return {}
        return {
            "critic_loss": float(critic_loss),
            "value_loss": float(value_loss),
            "imitation_error": float(distance.detach().mean()),
            "q_data": float(q.detach().mean()) * self.data.reward_scale,
            "v_data": float(values.detach().mean()) * self.data.reward_scale,
        }

    def teacher(self, steps: int) -> Teacher:
        """The actor and both critics in reward units."""
        critics = tuple(self.critic.layers(number, self.data.reward_scale) for number in range(2))
        return make_teacher(self.dataset, self.config, steps, "iql", self.actor.layers(), critics)
