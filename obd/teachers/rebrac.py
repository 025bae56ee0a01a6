"""ReBRAC (Tarasov et al. 2023), https://arxiv.org/abs/2305.09836: TD3+BC with the parts that matter.

    critic:  min_theta  sum_i (Q_i(s, a) - r - gamma (min_j Q'_j(s', a') - beta_critic |a' - a'_data|^2))^2
    actor:   min_phi    beta_actor |pi(s) - a|^2 - min_j Q_j(s, pi(s)) / mean|min_j Q_j|

with a' = clip(pi'(s') + clipped noise, -1, 1), layer norm in the critics, three hidden layers and large batches.  The
paper tunes the two penalties per dataset (:data:`PENALTIES`); the defaults, for other data, are its values for
HalfCheetah medium-replay.  Where the data has no next action (the end of an episode) the critic's penalty is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from obd.config import option
from obd.data.dataset import OfflineDataset
from obd.teachers.networks import regress
from obd.teachers.td3_bc import DelayedActorConfig, described, smoothed_actions
from obd.teachers.teacher import Teacher
from obd.teachers.training import Transitions, actor_and_critics, make_teacher, reward_scale


@dataclass(frozen=True)
class ReBRACConfig(DelayedActorConfig):
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


PRESETS = {
    "fast": {
        "steps": None, "seconds": 180.0, "batch_size": 256, "hidden_layers": 2, "target_rate": 0.02,
        "final_rate": 0.1, "value_size": 10.0,
    },
    "paper": {},
}  # fmt: skip

# The paper's best penalties of the actor and the critic for D4RL's set of that robot and kind.
PENALTIES = {
    "halfcheetah/medium-replay": (0.01, 0.001),
    "halfcheetah/medium": (0.001, 0.01),
    "halfcheetah/medium-expert": (0.01, 0.1),
    "hopper/medium-replay": (0.05, 0.5),
    "hopper/medium": (0.01, 0.001),
    "hopper/medium-expert": (0.1, 0.01),
    "walker2d/medium-replay": (0.05, 0.01),
    "walker2d/medium": (0.05, 0.1),
    "walker2d/medium-expert": (0.01, 0.01),
}


def tuned(dataset_id: str, preset: str) -> dict[str, float]:
    """The published penalties for a dataset whose id ends like ``hopper/medium-v0``; empty for any other.

    With ``fast`` the actor's is at least 0.01: below, actions run to their bounds before the critic knows anything
    (HalfCheetah medium: a normalised return of -2 after 12,000 updates, 38 with 0.01).
    """
    robot_and_kind = "/".join(dataset_id.rsplit("-v", 1)[0].split("/")[-2:])
    if robot_and_kind not in PENALTIES:
        return {}
    actor, critic = PENALTIES[robot_and_kind]
    return {"actor_penalty": max(actor, 0.01) if preset == "fast" else actor, "critic_penalty": critic}


class Learner:
    """Networks, optimisers and data of ReBRAC."""

    over = False

    def __init__(self, dataset: OfflineDataset, config: ReBRACConfig) -> None:
        self.dataset, self.config, self.steps = dataset, config, 0
        columns = ("states", "actions", "next_states", "next_actions", "next_known", "rewards", "discounts")
        self.data = Transitions(dataset, config, columns, reward_scale(dataset, config.value_size, config.discount))
        self.generator = torch.Generator().manual_seed(config.seed)
        self.actor, self.critic = actor_and_critics(dataset, config, self.generator, layer_norm=True)
        self.actor_target, self.critic_target = self.actor.target(), self.critic.target()
        self.critic_penalty = config.critic_penalty / self.data.reward_scale

    def update(self, rate: float = 1.0, report: bool = True) -> dict[str, float]:
        """One update; the losses of this step, action values in reward units."""
        config = self.config
        states, actions, next_states, next_actions, next_known, rewards, discounts = self.data.batch()
        following = smoothed_actions(self.actor_target, next_states, config, self.generator)
        future = self.critic_target(torch.cat([next_states, following], 1)).amin(0)
        distance = (following - next_actions).square().sum(1, keepdim=True)
        target = rewards + discounts * (future - self.critic_penalty * next_known * distance)
        pairs = torch.cat([states, actions], 1)
        values, critic_loss = regress(self.critic, pairs, target, config.critic_rate * rate)

        if self.steps % config.actor_every == 0:
            chosen = torch.tanh(self.actor.forward(states)[0])
            both = self.critic.forward(torch.cat([states, chosen], 1))
            q = both.amin(0)
            scale = len(states) * q.abs().mean().clamp_min(1e-6)
            uphill = self.critic.input_slope((both == q) / scale)[:, states.shape[1] :]
            error = chosen - actions
            slope = (error * (2 * config.actor_penalty / len(states)) - uphill) * (1 - chosen.square())
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
        actor = self.actor_target.layers()
        return make_teacher(self.dataset, self.config, steps, "rebrac", actor, critics, critic_norm="layer")
