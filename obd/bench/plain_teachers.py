"""The offline RL algorithms as one would first write them in PyTorch: the yardstick of ``bench teachers``.

Separate ``nn.Sequential`` critics, two (or three) ordinary Adam optimisers, autograd, parameter by parameter moving
averages.  Each starts from the networks, the batches and the random numbers of a learner, so that the same updates
must give the same parameters (see the tests).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, softplus

from obd.teachers import awr, cal_ql, iql
from obd.teachers.iql import LARGEST_WEIGHT
from obd.teachers.networks import Networks


def plain(networks: Networks) -> list[nn.Sequential]:
    """One ordinary module per copy."""
    modules = []
    for number in range(networks.copies):
        parts: list[nn.Module] = []
        for weight, bias in networks.layers(number):
            linear = nn.Linear(weight.shape[1], weight.shape[0])
            linear.load_state_dict({"weight": weight, "bias": bias})
            parts += [linear, nn.ReLU()]
            if networks.layer_norm:
                parts.append(nn.LayerNorm(weight.shape[0], elementwise_affine=False))
        modules.append(nn.Sequential(*parts[: -2 if networks.layer_norm else -1]))
    return modules


class Plain:
    """Actor, two critics, their targets and optimisers."""

    def __init__(self, learner: Any) -> None:
        self.config, self.steps = learner.config, 0
        self.data = copy.deepcopy(learner.data)
        self.generator = torch.Generator()
        if hasattr(learner, "generator"):
            self.generator.set_state(learner.generator.get_state())
        (self.actor,) = plain(learner.actor)
        self.q1, self.q2 = plain(learner.critic)
        self.actor_target = copy.deepcopy(self.actor)
        self.q1_target, self.q2_target = copy.deepcopy(self.q1), copy.deepcopy(self.q2)
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), lr=self.config.actor_rate)
        critics = [*self.q1.parameters(), *self.q2.parameters()]
        self.critic_optimizer = torch.optim.Adam(critics, lr=self.config.critic_rate)

    def follow(self, target: nn.Module, source: nn.Module) -> None:
        rate = self.config.target_rate
        for old, new in zip(target.parameters(), source.parameters(), strict=True):
            old.data.copy_(rate * new.data + (1 - rate) * old.data)

    def critic_step(self, loss: Tensor) -> None:
        self.critic_optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.critic_optimizer.step()

    def actor_step(self, loss: Tensor) -> None:
        self.actor_optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.actor_optimizer.step()

    def smoothed(self, next_states: Tensor, actions: Tensor) -> Tensor:
        """The target actor's action with clipped noise."""
        noise = torch.randn(actions.shape, generator=self.generator) * self.config.target_noise
        noise = noise.clamp(-self.config.noise_clip, self.config.noise_clip)
        smoothed: Tensor = torch.tanh(self.actor_target(next_states)) + noise
        return smoothed.clamp(-1, 1)

    def follow_all(self) -> None:
        for target, source in (
            (self.actor_target, self.actor),
            (self.q1_target, self.q1),
            (self.q2_target, self.q2),
        ):
            self.follow(target, source)


class PlainTD3BC(Plain):
    def update(self) -> None:
        config = self.config
        states, actions, next_states, rewards, discounts = self.data.batch()
        with torch.no_grad():
            pairs = torch.cat([next_states, self.smoothed(next_states, actions)], 1)
            target = rewards + discounts * torch.min(self.q1_target(pairs), self.q2_target(pairs))
        pairs = torch.cat([states, actions], 1)
        self.critic_step(mse_loss(self.q1(pairs), target) + mse_loss(self.q2(pairs), target))
        if self.steps % config.actor_every == 0:
            chosen = torch.tanh(self.actor(states))
            q = self.q1(torch.cat([states, chosen], 1))
            self.actor_step(mse_loss(chosen, actions) - config.alpha / q.abs().mean().detach() * q.mean())
            self.follow_all()
        self.steps += 1


class PlainReBRAC(Plain):
    def update(self) -> None:
        config = self.config
        states, actions, next_states, next_actions, next_known, rewards, discounts = self.data.batch()
        with torch.no_grad():
            following = self.smoothed(next_states, actions)
            pairs = torch.cat([next_states, following], 1)
            distance = ((following - next_actions) ** 2).sum(1, keepdim=True)
            future = torch.min(self.q1_target(pairs), self.q2_target(pairs))
            future = future - config.critic_penalty / self.data.reward_scale * next_known * distance
            target = rewards + discounts * future
        pairs = torch.cat([states, actions], 1)
        self.critic_step(mse_loss(self.q1(pairs), target) + mse_loss(self.q2(pairs), target))
        if self.steps % config.actor_every == 0:
            chosen = torch.tanh(self.actor(states))
            pairs = torch.cat([states, chosen], 1)
            q = torch.min(self.q1(pairs), self.q2(pairs))
            imitation = ((chosen - actions) ** 2).sum(1).mean()
            self.actor_step(config.actor_penalty * imitation - q.mean() / q.abs().mean().detach())
            self.follow_all()
        self.steps += 1


class PlainIQL(Plain):
    def __init__(self, learner: iql.Learner) -> None:
        super().__init__(learner)
        (self.value,) = plain(learner.value)
        self.value_optimizer = torch.optim.Adam(self.value.parameters(), lr=self.config.critic_rate)

    def update(self) -> None:
        config = self.config
        states, actions, next_states, rewards, discounts = self.data.batch()
        pairs = torch.cat([states, actions], 1)
        with torch.no_grad():
            q = torch.min(self.q1_target(pairs), self.q2_target(pairs))
            target = rewards + discounts * self.value(next_states)
        advantage = q - self.value(states)
        loss = (torch.abs(config.expectile - (advantage < 0).float()) * advantage**2).mean()
        self.value_optimizer.zero_grad()
        loss.backward()
        self.value_optimizer.step()
        self.critic_step(mse_loss(self.q1(pairs), target) + mse_loss(self.q2(pairs), target))
        self.follow(self.q1_target, self.q1)
        self.follow(self.q2_target, self.q2)
        weights = torch.exp(config.temperature * advantage.detach()).clamp(max=LARGEST_WEIGHT)
        self.actor_step((weights * (torch.tanh(self.actor(states)) - actions) ** 2).mean())


class PlainAWR(Plain):
    def __init__(self, learner: awr.Learner) -> None:
        super().__init__(learner)
        (self.value,) = plain(learner.value)
        self.value_optimizer = torch.optim.Adam(self.value.parameters(), lr=self.config.critic_rate)
        self.squares: list[Tensor] = []  # the last mean squared advantages, newest first

    def update(self) -> None:
        config = self.config
        states, actions, returns, among_best = self.data.batch()
        advantage = returns - self.value(states)
        self.value_optimizer.zero_grad()
        (advantage**2).mean().backward()
        self.value_optimizer.step()
        pairs = torch.cat([states, actions], 1)
        self.critic_step(mse_loss(self.q1(pairs), returns) + mse_loss(self.q2(pairs), returns))
        advantage = advantage.detach()
        self.squares = [(advantage**2).mean(), *self.squares[:2000]]
        shares = awr.MEMORY ** torch.arange(len(self.squares))
        typical = torch.sqrt((torch.stack(self.squares) * shares).sum() / shares.sum())
        weights = torch.exp(config.temperature * advantage / typical).clamp(max=awr.LARGEST_WEIGHT) * among_best
        self.actor_step((weights * (torch.tanh(self.actor(states)) - actions) ** 2).mean())
        self.follow(self.actor_target, self.actor)


class PlainCalQL(Plain):
    def __init__(self, learner: cal_ql.Learner) -> None:
        super().__init__(learner)
        self.unit = learner.unit
        self.log_temperature = torch.tensor(learner.temperature.value, requires_grad=True)
        self.temperature_optimizer = torch.optim.Adam([self.log_temperature], lr=self.config.actor_rate)

    def policy(self, states: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = self.actor(states).chunk(2, dim=1)
        return mean, log_std.clamp(*cal_ql.LOG_STD)

    def sample(self, mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        before = mean + log_std.exp() * noise
        log_normal = -0.5 * noise**2 - log_std - 0.5 * math.log(2 * math.pi)
        log_slope = 2 * (math.log(2) - before - softplus(-2 * before))
        return torch.tanh(before), (log_normal - log_slope).sum(-1)

    def draw(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator)

    def update(self) -> None:
        config, drawn, unit = self.config, self.config.actions_drawn, self.unit
        states, actions, next_states, rewards, discounts, returns = self.data.batch()
        size, ad = actions.shape
        with torch.no_grad():
            noise = self.draw(drawn, 2 * size, ad)
            current, current_density = self.sample(*self.policy(states), noise[:, :size])
            following, following_density = self.sample(*self.policy(next_states), noise[:, size:])
            chosen, _ = self.sample(*self.policy(next_states), self.draw(1, size, ad))
            pairs = torch.cat([next_states, chosen[0]], 1)
            target = rewards + discounts * torch.min(self.q1_target(pairs), self.q2_target(pairs))
            uniform = torch.rand((drawn, size, ad), generator=self.generator) * 2 - 1
        repeated = states.expand(drawn, -1, -1)
        loss = torch.zeros(())
        for critic in (self.q1, self.q2):
            q = critic(torch.cat([states, actions], 1))
            q_uniform = critic(torch.cat([repeated, uniform], 2))[..., 0]
            q_current = critic(torch.cat([repeated, current], 2))[..., 0]
            q_following = critic(torch.cat([repeated, following], 2))[..., 0]
            everything = torch.cat(
                [
                    q_uniform / unit + ad * math.log(2),
                    torch.maximum(q_current, returns[:, 0]) / unit - current_density,
                    torch.maximum(q_following, returns[:, 0]) / unit - following_density,
                ]
            )
            penalty = (unit * torch.logsumexp(everything, 0) - q[:, 0]).mean()
            loss = loss + mse_loss(q, target) + config.conservatism * unit * penalty
        self.critic_step(loss)
        chosen, density = self.sample(*self.policy(states), self.draw(1, size, ad))
        pairs = torch.cat([states, chosen[0]], 1)
        q = torch.min(self.q1(pairs), self.q2(pairs))
        self.actor_step(self.log_temperature.exp().detach() * density.mean() - q.mean())
        temperature_loss = self.log_temperature * (-density.detach().mean() + ad)
        self.temperature_optimizer.zero_grad()
        temperature_loss.backward()
        self.temperature_optimizer.step()
        self.follow(self.q1_target, self.q1)
        self.follow(self.q2_target, self.q2)


PLAIN: dict[str, Callable[[Any], Any]] = {
    "td3_bc": PlainTD3BC,
    "rebrac": PlainReBRAC,
    "iql": PlainIQL,
    "awr": PlainAWR,
    "cal_ql": PlainCalQL,
}
