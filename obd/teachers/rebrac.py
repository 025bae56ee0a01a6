"""ReBRAC (Tarasov et al. 2023), https://arxiv.org/abs/2305.09836: TD3+BC with the parts that matter.

    critic:  min_theta  sum_i (Q_i(s, a) - r - gamma (min_j Q'_j(s', a') - beta_critic |a' - a'_data|^2))^2
    actor:   min_phi    beta_actor |pi(s) - a|^2 - min_j Q_j(s, pi(s)) / mean|min_j Q_j|

with a' = clip(pi'(s') + clipped noise, -1, 1), layer norm in the critics, three hidden layers and large batches.  The
paper tunes the two penalties per dataset; the defaults are its values for HalfCheetah medium-replay, and other
locomotion sets take 0.001 to 0.1 (Hopper medium-replay 0.05 and 0.5, Walker2d medium-replay 0.05 and 0.01).  Where
the data has no next action (the end of an episode) the critic's penalty is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from obd.config import option
from obd.data.dataset import OfflineDataset
from obd.teachers.networks import Networks, descend
from obd.teachers.teacher import Teacher
from obd.teachers.training import TeacherConfig, Transitions, make_teacher, reward_scale, value_size


@dataclass(frozen=True)
class ReBRACConfig(TeacherConfig):
    """Settings of ReBRAC."""

    hidden_layers: int = option(3, "Hidden layers", "of every network", low=1, high=8)
    batch_size: int = option(1024, "Batch size", "transitions per update", low=1, high=65_536)
    actor_rate: float = option(1e-3, "Actor learning rate", "of Adam", low=1e-7, high=1.0)
    critic_rate: float = option(1e-3, "Critic learning rate", "of Adam", low=1e-7, high=1.0)
    actor_penalty: float = option(
        0.01, "Actor penalty", "beta of the actor, per squared distance to the data's action", low=0.0, high=100.0
    )
    critic_penalty: float = option(
        0.001, "Critic penalty", "beta of the critic, in reward units per squared distance", low=0.0, high=100.0
    )
    actor_every: int = option(2, "Actor delay", "critic updates per actor update", low=1, high=100)
    target_noise: float = option(0.2, "Target noise", "standard deviation of the smoothing noise", low=0.0, high=1.0)
    noise_clip: float = option(0.5, "Noise clip", "bound of the smoothing noise", low=0.0, high=2.0)
    value_size: float = value_size()


PRESETS = {
    "fast": {
        "steps": None, "seconds": 180.0, "batch_size": 256, "hidden_layers": 2, "target_rate": 0.02,
        "final_rate": 0.1, "value_size": 10.0,
    },
    "paper": {},
}  # fmt: skip


class Learner:
    """Networks, optimisers and data of ReBRAC."""

    over = False

    def __init__(self, dataset: OfflineDataset, config: ReBRACConfig) -> None:
        self.dataset, self.config, self.steps = dataset, config, 0
        columns = ("states", "actions", "next_states", "next_actions", "next_known", "rewards", "discounts")
        self.data = Transitions(dataset, config, columns, reward_scale(dataset, config.value_size, config.discount))
        self.generator = torch.Generator().manual_seed(config.seed)
        hidden = [config.hidden_width] * config.hidden_layers
        od, ad = dataset.observation_dim, dataset.action_dim
        self.actor = Networks([od, *hidden, ad], 1, self.generator)
        self.critic = Networks([od + ad, *hidden, 1], 2, self.generator, layer_norm=True)
        self.actor_target, self.critic_target = self.actor.target(), self.critic.target()
        self.actor_optimizer = self.actor.adam(config.actor_rate)
        self.critic_optimizer = self.critic.adam(config.critic_rate)
        self.critic_penalty = config.critic_penalty / self.data.reward_scale

    def update(self, rate: float = 1.0, report: bool = True) -> dict[str, float]:
        """One update; the losses of this step, action values in reward units."""
        config = self.config
        states, actions, next_states, next_actions, next_known, rewards, discounts = self.data.batch()
        with torch.no_grad():
            noise = torch.randn(actions.shape, generator=self.generator) * config.target_noise
            noise.clamp_(-config.noise_clip, config.noise_clip)
            following = (torch.tanh(self.actor_target(next_states)[0]) + noise).clamp_(-1, 1)
            future = self.critic_target(torch.cat([next_states, following], 1)).amin(0)
            distance = (following - next_actions).square().sum(1, keepdim=True)
            target = rewards + discounts * (future - self.critic_penalty * next_known * distance)

        values = self.critic(torch.cat([states, actions], 1))
        critic_loss = (values - target).square().mean((1, 2)).sum()
        critic_loss = descend(critic_loss, self.critic_optimizer, config.critic_rate * rate)

        if self.steps % config.actor_every == 0:
            chosen = torch.tanh(self.actor(states)[0])
            q = self.critic.frozen(torch.cat([states, chosen], 1)).amin(0)
            imitation = (chosen - actions).square().sum(1).mean()
            actor_loss = config.actor_penalty * imitation - q.mean() / q.detach().abs().mean().clamp_min(1e-6)
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
            "imitation_error": float(imitation) / actions.shape[1],
            "q_data": float(values.detach().mean()) * self.data.reward_scale,
            "q_policy": float(q.detach().mean()) * self.data.reward_scale,
        }

    def teacher(self, steps: int) -> Teacher:
        """The target actor, which averages the last iterates, and both critics in reward units."""
        critics = tuple(self.critic.layers(number, self.data.reward_scale) for number in range(2))
        actor = self.actor_target.layers()
        return make_teacher(self.dataset, self.config, steps, "rebrac", actor, critics, critic_norm="layer")
