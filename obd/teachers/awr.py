"""Advantage-weighted regression (Peng et al. 2019), https://arxiv.org/abs/1910.00177, on a fixed dataset as in MARWIL
(Wang et al. 2018, https://papers.nips.cc/paper/7866): imitate, and imitate more what turned out better than usual.

    value:   min_psi    E (V(s) - G)^2
    critic:  min_theta  sum_i (Q_i(s, a) - G)^2
    actor:   min_phi    E min(exp(beta (G - V(s)) / c), 20) |pi(s) - a|^2 / act_dim

G is the return of the data from s on, c the root mean square of G - V(s), as in MARWIL a running one.  Nothing is
bootstrapped: whole trajectories are compared, however far ahead the difference lies.  That is what a mixture of
policies needs, of which one earns more per step and falls early.  In exchange nothing is stitched together.  A time
limit is no end: beyond it G goes on with the mean reward of its episode.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from obd.config import option
from obd.data.dataset import OfflineDataset
from obd.teachers.networks import Networks, regress
from obd.teachers.teacher import Teacher
from obd.teachers.training import TeacherConfig, Transitions, actor_and_critics, discounted_returns, make_teacher

LARGEST_WEIGHT = 20.0
MEMORY = 0.99  # of the running mean of squared advantages


@dataclass(frozen=True)
class AWRConfig(TeacherConfig):
    """Settings of advantage-weighted regression."""

    temperature: float = option(1.0, "Inverse temperature", "beta: how strongly advantages count", low=0.0, high=100.0)
    best_share: float = option(
        1.0,
        "Best share",
        "part of the data, from the episodes with the highest returns, to imitate",
        low=0.001,
        high=1.0,
    )


PRESETS = {
    "fast": {
        "steps": None, "seconds": 180.0, "actor_rate": 1e-3, "critic_rate": 1e-3, "final_rate": 0.1,
        "discount": 0.998, "temperature": 3.0,
    },
    "paper": {},
}  # fmt: skip


class Learner:
    """Networks, optimisers and data of advantage-weighted regression."""

    over = False

    def __init__(self, dataset: OfflineDataset, config: AWRConfig) -> None:
        dataset.require_rewards()
        self.dataset, self.config = dataset, config
        scale = float(discounted_returns(dataset, config.discount, continued=True).std())
        columns = ("states", "actions", "continued_returns", "among_best")
        self.data = Transitions(dataset, config, columns, max(scale, 1e-6), config.best_share)
        generator = torch.Generator().manual_seed(config.seed)
        self.actor, self.critic = actor_and_critics(dataset, config, generator)
        hidden = [config.hidden_width] * config.hidden_layers
        self.value = Networks([dataset.observation_dim, *hidden, 1], 1, generator)
        self.actor_target = self.actor.target()
        self.square, self.weight = torch.zeros(()), 0.0  # running mean of squared advantages and its denominator

    def update(self, rate: float = 1.0, report: bool = True) -> dict[str, float]:
        """One update; the losses of this step, values in reward units."""
        config = self.config
        states, actions, returns, among_best = self.data.batch()
        values, value_loss = regress(self.value, states, returns, config.critic_rate * rate)
        q, critic_loss = regress(self.critic, torch.cat([states, actions], 1), returns, config.critic_rate * rate)

        advantage = returns - values[0]
        self.square = MEMORY * self.square + (1 - MEMORY) * advantage.square().mean()
        self.weight = MEMORY * self.weight + 1 - MEMORY
        typical = (self.square / self.weight).sqrt().clamp_min(1e-6)
        weights = (advantage * (config.temperature / typical)).exp_().clamp_max_(LARGEST_WEIGHT).mul_(among_best)
        chosen = torch.tanh(self.actor.forward(states)[0])
        error = chosen - actions
        self.actor.backward((weights * error * (1 - chosen.square()) * (2 / error.numel()))[None])
        self.actor.step(config.actor_rate * rate)
        self.actor_target.follow(self.actor, config.target_rate)
        if not report:
            return {}
        return {
            "critic_loss": float(critic_loss),
            "value_loss": float(value_loss),
            "imitation_error": float(error.square().mean()),
            "q_data": float(q.mean()) * self.data.reward_scale,
            "v_data": float(values.mean()) * self.data.reward_scale,
        }

    def teacher(self, steps: int) -> Teacher:
        """The moving average of the actor, and both critics in reward units."""
        critics = tuple(self.critic.layers(number, self.data.reward_scale) for number in range(2))
        return make_teacher(self.dataset, self.config, steps, "awr", self.actor_target.layers(), critics)
