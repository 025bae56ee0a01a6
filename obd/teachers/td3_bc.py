"""TD3+BC (Fujimoto and Gu 2021), https://arxiv.org/abs/2106.06860.

    critic:  min_theta  sum_i (Q_i(s, a) - r - gamma min_j Q'_j(s', a'))^2,   a' = clip(pi'(s') + clipped noise, -1, 1)
    actor:   min_phi    |pi(s) - a|^2 / act_dim - alpha Q_1(s, pi(s)) / mean|Q_1|

The actor and the targets move at every second update.  The published settings are the defaults; ``fast`` is for
minutes: on the built-in HalfCheetah set the published rates fail within 50,000 updates, and these reach a normalised
return of 54 in 60,000.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import mse_loss

from obd.config import option
from obd.data.dataset import OfflineDataset
from obd.teachers.networks import Networks, descend
from obd.teachers.teacher import Teacher
from obd.teachers.training import TeacherConfig, Transitions, make_teacher, reward_scale, value_size


@dataclass(frozen=True)
class TD3BCConfig(TeacherConfig):
    """Settings of TD3+BC."""

    alpha: float = option(2.5, "Alpha", "weight of the action value against imitation", low=0.0, high=1e3)
    actor_every: int = option(2, "Actor delay", "critic updates per actor update", low=1, high=100)
    target_noise: float = option(0.2, "Target noise", "standard deviation of the smoothing noise", low=0.0, high=1.0)
    noise_clip: float = option(0.5, "Noise clip", "bound of the smoothing noise", low=0.0, high=2.0)
    value_size: float = value_size()


PRESETS = {
    "fast": {
        "steps": None, "seconds": 180.0, "alpha": 20.0, "target_rate": 0.02, "actor_rate": 1e-3, "critic_rate": 1e-3,
        "final_rate": 0.1, "value_size": 10.0,
    },
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
        hidden = [config.hidden_width] * config.hidden_layers
        od, ad = dataset.observation_dim, dataset.action_dim
        self.actor = Networks([od, *hidden, ad], 1, self.generator)
        self.critic = Networks([od + ad, *hidden, 1], 2, self.generator)
        self.actor_target, self.critic_target = self.actor.target(), self.critic.target()
        self.actor_optimizer = self.actor.adam(config.actor_rate)
        self.critic_optimizer = self.critic.adam(config.critic_rate)

    def update(self, rate: float = 1.0, report: bool = True) -> dict[str, float]:
        """One update; the losses of this step, action values in reward units."""
        config = self.config
        states, actions, next_states, rewards, discounts = self.data.batch()
        with torch.no_grad():
            noise = torch.randn(actions.shape, generator=self.generator) * config.target_noise
            noise.clamp_(-config.noise_clip, config.noise_clip)
            following = (torch.tanh(self.actor_target(next_states)[0]) + noise).clamp_(-1, 1)
            future = self.critic_target(torch.cat([next_states, following], 1)).amin(0)
            target = rewards + discounts * future

        values = self.critic(torch.cat([states, actions], 1))
        critic_loss = (values - target).square().mean((1, 2)).sum()
        critic_loss = descend(critic_loss, self.critic_optimizer, config.critic_rate * rate)

        if self.steps % config.actor_every == 0:
            chosen = torch.tanh(self.actor(states)[0])
            q = self.critic.frozen(torch.cat([states, chosen], 1))[0]
            imitation = mse_loss(chosen, actions)
            actor_loss = imitation - config.alpha / q.detach().abs().mean().clamp_min(1e-6) * q.mean()
            descend(actor_loss, self.actor_optimizer, config.actor_rate * rate)
            self.actor_target.follow(self.actor, config.target_rate)
            self.critic_target.follow(self.critic, config.target_rate)
            self.last = imitation.detach(), q.detach()
        self.steps += 1
        if not report:
            return {}
        imitation, q = self.last
        return {
            "critic_loss": float(critic_loss),
            "imitation_error": float(imitation),
            "q_data": float(values.detach().mean()) * self.data.reward_scale,
            "q_policy": float(q.detach().mean()) * self.data.reward_scale,
        }

    def teacher(self, steps: int) -> Teacher:
        """The target actor, which averages the last iterates, and both critics in reward units."""
        critics = tuple(self.critic.layers(number, self.data.reward_scale) for number in range(2))
        return make_teacher(self.dataset, self.config, steps, "td3_bc", self.actor_target.layers(), critics)
