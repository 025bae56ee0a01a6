"""Cal-QL (Nakamoto et al. 2023), https://arxiv.org/abs/2303.05479: conservative Q-learning that is calibrated.

    critic:  min_theta  sum_i (Q_i(s, a) - r - gamma min_j Q'_j(s', a'))^2 + alpha (softmax_b Q_i(s, b) - Q_i(s, a))
    actor:   min_phi    E [ temperature log pi(b | s) - min_j Q_j(s, b) ],   b ~ pi(s)

Over b runs a log-sum-exp with importance weights: uniform actions and actions of pi(s) and pi(s').  Calibration: the
Q of the policy's actions counts as no less than a reference value, here the Monte-Carlo return of the data from s on
(cut at the end of the episode).  Backbone: soft actor-critic with a learned temperature, target entropy -act_dim, no
entropy in the targets.  Published: CQL weight 5, ten actions of each kind, actor 1e-4, critic 3e-4.

The networks may see divided rewards (``value_size``); that is a change of units alone, so the temperatures of entropy
and log-sum-exp and the CQL weight are divided too.  (Left at 1 beside rewards thirty times smaller, the entropy bonus
drowns the reward: thousands of updates go by before the policy does more than act at random.)  ``fast`` draws one
action of each kind.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from obd.config import option
from obd.data.dataset import OfflineDataset
from obd.teachers.teacher import Teacher
from obd.teachers.training import (
    TeacherConfig,
    Transitions,
    actor_and_critics,
    make_teacher,
    reward_scale,
    value_size,
)

LOG_STD = (-20.0, 2.0)


@dataclass(frozen=True)
class CalQLConfig(TeacherConfig):
    """Settings of Cal-QL."""

    actor_rate: float = option(1e-4, "Actor learning rate", "of Adam", low=1e-7, high=1.0)
    conservatism: float = option(5.0, "Conservatism", "weight of the CQL penalty, in reward units", low=0.0, high=1e3)
    actions_drawn: int = option(10, "Actions drawn", "per state and kind, for the penalty", low=1, high=100)
    temperature: float = option(
        1.0, "Temperature", "of the entropy at the start, in reward units; it is learned", low=1e-4, high=1e3
    )
    value_size: float = value_size()


PRESETS = {
    "fast": {
        "steps": None, "seconds": 180.0, "target_rate": 0.02, "actor_rate": 1e-3, "critic_rate": 1e-3,
        "final_rate": 0.1, "value_size": 10.0, "actions_drawn": 1, "conservatism": 5.0,
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
        self.ad = dataset.action_dim
        self.actor, self.critic = actor_and_critics(dataset, config, self.generator, outputs=2)
        self.critic_target = self.critic.target()
        self.unit = 1 / self.data.reward_scale  # one unit of reward as the networks see it
        self.temperature = ScalarAdam(math.log(config.temperature * self.unit))

    def update(self, rate: float = 1.0, report: bool = True) -> dict[str, float]:
        """One update; the losses of this step, action values in reward units."""
        config, drawn, unit = self.config, self.config.actions_drawn, self.unit
        states, actions, next_states, rewards, discounts, returns = self.data.batch()
        size = len(states)
        # One pass of the actor over s and s': n + n actions for the penalty, one more of s' for the target.
        mean, log_std = self._policy(self.actor(torch.cat([states, next_states])))
        sampled, log_density, _ = self._sample(mean, log_std, drawn)
        following, _, _ = self._sample(mean[size:], log_std[size:], 1)
        future = self.critic_target(torch.cat([next_states, following[0]], 1)).amin(0)
        target = rewards + discounts * future
        uniform = torch.rand((drawn, size, self.ad), generator=self.generator) * 2 - 1
        candidates = [uniform, sampled[:, :size], sampled[:, size:]]  # n of each kind
        uniform_density = torch.full((drawn, size), -self.ad * math.log(2))
        density = torch.cat([uniform_density, log_density[:, :size], log_density[:, size:]])
        # The data's pair and all candidates in one batch of (1 + 3 n) B rows.
        every = torch.cat([actions[None], *candidates])
        pairs = torch.cat([states.expand(len(every), -1, -1), every], 2).view(len(every) * size, -1)

        values = self.critic.forward(pairs).view(2, len(every), size)
        q_data, q_drawn = values[:, 0], values[:, 1:]
        floor = torch.cat([torch.full_like(returns, -math.inf).expand(-1, drawn), returns.expand(-1, 2 * drawn)], 1).t()
        logits = torch.maximum(q_drawn, floor) / unit - density
        error = q_data - target[:, 0]
        weight = config.conservatism * unit / size
        slope = torch.empty_like(values)
        slope[:, 0] = error * (2 / size) - weight
        slope[:, 1:] = torch.softmax(logits, 1) * (q_drawn > floor) * weight
        self.critic.backward(slope.view(2, -1, 1))
        self.critic.step(config.critic_rate * rate)

        mean, log_std = self._policy(self.actor.forward(states))
        chosen, log_density, pushed = self._sample(mean, log_std, 1)
        action = chosen[0]
        both = self.critic.forward(torch.cat([states, action], 1))
        q = both.amin(0)
        uphill = self.critic.input_slope((both == q) / size)[:, states.shape[1] :]
        share = math.exp(self.temperature.value) / size  # of every state in temperature * mean(log density)
        slope_mean = 2 * share * action - uphill * (1 - action.square())
        slope_std = (slope_mean * pushed[0] - share) * ((log_std > LOG_STD[0]) & (log_std < LOG_STD[1]))
        self.actor.backward(torch.cat([slope_mean, slope_std], 1)[None])
        self.actor.step(config.actor_rate * rate)
        entropy = -float(log_density.mean())
        self.temperature.step(entropy + self.ad, config.actor_rate * rate)  # the target entropy is -act_dim
        self.critic_target.follow(self.critic, config.target_rate)
        if not report:
            return {}
        penalty = (unit * torch.logsumexp(logits, 1) - q_data).mean(1).sum()
        return {
            "critic_loss": float(error.square().mean(1).sum()),
            "penalty": float(penalty) * self.data.reward_scale,
            "imitation_error": float((torch.tanh(mean) - actions).square().mean()),
            "q_data": float(q_data.mean()) * self.data.reward_scale,
            "q_policy": float(q.mean()) * self.data.reward_scale,
            "entropy": entropy,
        }

    def teacher(self, steps: int) -> Teacher:
        """The actor and both critics in reward units."""
        critics = tuple(self.critic.layers(number, self.data.reward_scale) for number in range(2))
        actor = self.actor.layers()
        return make_teacher(self.dataset, self.config, steps, "cal_ql", actor, critics, head="tanh_gaussian")

    def _policy(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = torch.split(outputs[0], self.ad, 1)
        return mean, log_std.clamp(*LOG_STD)

    def _sample(self, mean: Tensor, log_std: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """``count`` actions tanh(mean + std * noise), ``[count, B, act_dim]``, their log densities, and std * noise."""
        noise = torch.randn((count, *mean.shape), generator=self.generator)
        pushed = log_std.exp() * noise
        before = mean + pushed
        log_normal = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
        log_slope = 2 * (math.log(2) - before - softplus(-2 * before))  # log(1 - tanh^2), without cancellation
        return torch.tanh(before), (log_normal - log_slope).sum(-1), pushed


class ScalarAdam:
    """A number that Adam (Kingma and Ba 2015) moves, with its usual constants."""

    def __init__(self, value: float) -> None:
        self.value, self.mean, self.variance, self.steps = value, 0.0, 0.0, 0

    def step(self, slope: float, rate: float) -> None:
        self.steps += 1
        self.mean += 0.1 * (slope - self.mean)
        self.variance += 0.001 * (slope**2 - self.variance)
        mean, variance = self.mean / (1 - 0.9**self.steps), self.variance / (1 - 0.999**self.steps)
        self.value -= rate * mean / (math.sqrt(variance) + 1e-8)
