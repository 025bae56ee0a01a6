"""Cal-QL (Nakamoto et al. 2023), https://arxiv.org/abs/2303.05479: conservative Q-learning that is calibrated.

    critic:  min_theta  sum_i (Q_i(s, a) - r - gamma min_j Q'_j(s', a'))^2 + alpha (softmax_b Q_i(s, b) - Q_i(s, a))
    actor:   min_phi    E [ temperature log pi(b | s) - min_j Q_j(s, b) ],   b ~ pi(s)

Over b runs a log-sum-exp with importance weights: uniform actions and actions of pi(s) and pi(s').  Calibration: the
Q of the policy's actions counts as no less than a reference value, here the Monte-Carlo return of the data from s on
(cut at the end of the episode).  Backbone: soft actor-critic with a learned temperature, target entropy -act_dim, no
entropy in the targets.  Published: CQL weight 5, ten actions of each kind, actor 1e-4, critic 3e-4.  ``fast`` is the
cheapest form (one action of each kind); 5,000 updates of it do not make a good policy yet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from obd.config import option
from obd.data.dataset import OfflineDataset
from obd.teachers.networks import Networks, descend
from obd.teachers.teacher import Teacher
from obd.teachers.training import TeacherConfig, Transitions, make_teacher, reward_scale, value_size

LOG_STD = (-20.0, 2.0)


@dataclass(frozen=True)
class CalQLConfig(TeacherConfig):
    """Settings of Cal-QL."""

    actor_rate: float = option(1e-4, "Actor learning rate", "of Adam", low=1e-7, high=1.0)
    conservatism: float = option(5.0, "Conservatism", "weight of the CQL penalty", low=0.0, high=1e3)
    actions_drawn: int = option(10, "Actions drawn", "per state and kind, for the penalty", low=1, high=100)
    value_size: float = value_size()


PRESETS = {
    "fast": {
        "steps": None, "seconds": 180.0, "target_rate": 0.02, "actor_rate": 1e-3, "critic_rate": 1e-3,
        "final_rate": 0.1, "value_size": 10.0, "actions_drawn": 1, "conservatism": 0.5,
    },
    "paper": {},
}  # fmt: skip


class Learner:
    """Networks, optimisers and data of Cal-QL."""

    over = False

    def __init__(self, dataset: OfflineDataset, config: CalQLConfig) -> None:
        self.dataset, self.config = dataset, config
        columns = ("states", "actions", "next_states", "rewards", "discounts", "returns")
        self.data = Transitions(dataset, config, columns, reward_scale(dataset, config.value_size, config.discount))
        self.generator = torch.Generator().manual_seed(config.seed)
        hidden = [config.hidden_width] * config.hidden_layers
        od, self.ad = dataset.observation_dim, dataset.action_dim
        self.actor = Networks([od, *hidden, 2 * self.ad], 1, self.generator)
        self.critic = Networks([od + self.ad, *hidden, 1], 2, self.generator)
        self.critic_target = self.critic.target()
        self.log_temperature = torch.zeros((), requires_grad=True)
        self.actor_optimizer = self.actor.adam(config.actor_rate)
        self.critic_optimizer = self.critic.adam(config.critic_rate)
        self.temperature_optimizer = torch.optim.Adam([self.log_temperature], lr=config.actor_rate)

    def update(self, rate: float = 1.0, report: bool = True) -> dict[str, float]:
        """One update; the losses of this step, action values in reward units."""
        config, drawn = self.config, self.config.actions_drawn
        states, actions, next_states, rewards, discounts, returns = self.data.batch()
        size = len(states)
        with torch.no_grad():
            # One pass of the actor over s and s': n + n actions for the penalty, one more of s' for the target.
            mean, log_std = self._policy(torch.cat([states, next_states]))
            sampled, log_density = self._sample(mean, log_std, drawn)
            following, _ = self._sample(mean[size:], log_std[size:], 1)
            future = self.critic_target(torch.cat([next_states, following[0]], 1)).amin(0)
            target = rewards + discounts * future
            uniform = torch.rand((drawn, size, self.ad), generator=self.generator) * 2 - 1
            candidates = torch.cat([uniform, sampled[:, :size], sampled[:, size:]])  # [3 n, B, act_dim]
            density = torch.cat(
                [torch.full((drawn, size), -self.ad * math.log(2)), log_density[:, :size], log_density[:, size:]]
            )
            # The data's pair and all candidates in one batch of (1 + 3 n) B rows.
            every = torch.cat([actions[None], candidates]).reshape(-1, self.ad)
            pairs = torch.cat([states.repeat(1 + 3 * drawn, 1), every], 1)

        values = self.critic(pairs).view(2, 1 + 3 * drawn, size)
        q_data, q_drawn = values[:, 0], values[:, 1:]
        q_drawn = torch.cat([q_drawn[:, :drawn], torch.maximum(q_drawn[:, drawn:], returns[:, 0])], 1)
        penalty = (torch.logsumexp(q_drawn - density, 1) - q_data).mean(1).sum()
        critic_loss = (q_data - target[:, 0]).square().mean(1).sum()
        descend(critic_loss + config.conservatism * penalty, self.critic_optimizer, config.critic_rate * rate)

        mean, log_std = self._policy(states)
        chosen, log_density = self._sample(mean, log_std, 1)
        q = self.critic.frozen(torch.cat([states, chosen[0]], 1)).amin(0)
        temperature = self.log_temperature.detach().exp()
        descend(temperature * log_density.mean() - q.mean(), self.actor_optimizer, config.actor_rate * rate)
        entropy = -log_density.detach().mean()
        temperature_loss = self.log_temperature * (entropy + self.ad)  # the target entropy is -act_dim
        self.log_temperature.grad = None
        descend(temperature_loss, self.temperature_optimizer, config.actor_rate * rate)
        self.critic_target.follow(self.critic, config.target_rate)
        if not report:
            return {}
        return {
            "critic_loss": float(critic_loss.detach()),
            "penalty": float(penalty.detach()),
            "imitation_error": float((torch.tanh(mean.detach()) - actions).square().mean()),
            "q_data": float(q_data.detach().mean()) * self.data.reward_scale,
            "q_policy": float(q.detach().mean()) * self.data.reward_scale,
            "entropy": float(entropy),
        }

    def teacher(self, steps: int) -> Teacher:
        """The actor and both critics in reward units."""
        critics = tuple(self.critic.layers(number, self.data.reward_scale) for number in range(2))
        actor = self.actor.layers()
        return make_teacher(self.dataset, self.config, steps, "cal_ql", actor, critics, head="tanh_gaussian")

    def _policy(self, states: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = torch.split(self.actor(states)[0], self.ad, 1)
        return mean, log_std.clamp(*LOG_STD)

    def _sample(self, mean: Tensor, log_std: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """``count`` actions ``[count, B, act_dim]`` of tanh(normal) and their log densities ``[count, B]``."""
        noise = torch.randn((count, *mean.shape), generator=self.generator)
        before = mean + log_std.exp() * noise
        log_normal = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
        log_slope = 2 * (math.log(2) - before - softplus(-2 * before))  # log(1 - tanh^2), without cancellation
        return torch.tanh(before), (log_normal - log_slope).sum(-1)
