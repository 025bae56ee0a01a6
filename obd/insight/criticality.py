"""How critical a state is: how much it matters there to act well.

Lei et al. 2024 (arXiv 2410.22728, section 5.4) show pictures of distilled states and call them critical, imbalanced
poses; they give no number.  The main measure here is

    c(s) = ( q*(s, pi*(s)) - mean_a q*(s, a) ) / std_D q*,     a uniform in [-1, 1]^act_dim,

the value lost by acting at random for one step and like the teacher afterwards.  Where every action is as good as
any other it is zero; where only the right one saves the episode it is large.  q* has no natural unit (rewards can be
scaled), so it is divided by the standard deviation of q*(s, a) over the pairs of the data.  The variant "noisy"
replaces random actions by the teacher's own with noise, clip(pi*(s) + 0.3 e), e normal: small mistakes, not big ones.

Measures that do not need q*: the teacher's sensitivity || d pi*/d s || (how much a small change of the state changes
what should be done), and :func:`imbalance`, how far torso height and pitch lie outside what the teacher's own
episodes show.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm, qmc
from torch import Tensor

from obd.data.simulate import from_unit, make_env
from obd.errors import Cancelled
from obd.insight.pose import torso
from obd.policy import Policy
from obd.teachers.teacher import Teacher

ACTIONS = 32  # compared actions per state; with 1,024 a mean changes by 0.3 %
NOISE = 0.3  # of the variant "noisy", in the scale where actions span [-1, 1]
USUAL = (2.5, 97.5)  # percentiles of the teacher's own postures that count as usual

Array = NDArray[np.floating[Any]]


class ValueTeacher(Protocol):
    """A policy with its action value: ``act [B, obs_dim] -> [B, act_dim]``, ``q -> [B]``."""

    def act(self, observations: Tensor) -> Tensor: ...

    def q(self, observations: Tensor, actions: Tensor) -> Tensor: ...


def value_scale(teacher: ValueTeacher, observations: Array, actions: Array) -> float:
    """The standard deviation of q* over pairs of the data: raw observations ``[M, obs_dim]``, actions in [-1, 1]."""
    scale = float(teacher.q(_tensor(observations), _tensor(actions)).std(correction=0))
    return scale if scale > 0 else 1.0


def criticality(
    teacher: ValueTeacher,
    observations: Array,
    scale: float,
    *,
    noisy: bool = False,
    count: int = ACTIONS,
    on_progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> NDArray[np.float64]:
    """c(s) of the module's head for raw ``observations [B, obs_dim]``; ``[B]`` in standard deviations of q*.

    All states are compared with the same ``count`` actions (a scrambled Sobol sequence), so that differences between
    states are not differences between draws.

    Raises:
        Cancelled: ``should_stop()`` returned true.
    """
    states = _tensor(observations)
    best = teacher.act(states)
    draws = qmc.Sobol(best.shape[1], seed=0).random(count)
    offsets = _tensor(NOISE * norm.ppf(np.clip(draws, 1e-6, 1 - 1e-6)) if noisy else 2 * draws - 1)
    total = torch.zeros(len(states), dtype=torch.float64)
    for number, offset in enumerate(offsets):
        if should_stop is not None and should_stop():
            raise Cancelled
        actions = (best + offset).clamp(-1, 1) if noisy else offset.expand_as(best)
        total += teacher.q(states, actions).double()
        if on_progress is not None:
            on_progress((number + 1) / count)
    difference: NDArray[np.float64] = (teacher.q(states, best).double() - total / count).numpy() / scale
    return difference


def sensitivity(teacher: Teacher, observations: Array) -> NDArray[np.float64]:
    """|| d pi*(s) / d s || (Frobenius) with s in standard deviations of the data, for raw ``[B, obs_dim]``; ``[B]``."""
    hidden = (_tensor(observations) - teacher.observation_mean) / teacher.observation_std
    active = []
    with torch.no_grad():
        for weight, bias in teacher.actor[:-1]:
            hidden = torch.relu(hidden @ weight.T + bias)
            active.append(hidden > 0)
        weight, bias = (tensor[: teacher.action_dim] for tensor in teacher.actor[-1])
        slope = 1 - torch.tanh(hidden @ weight.T + bias).square()
        jacobian = slope[:, :, None] * weight
        for (weight, _), mask in zip(reversed(teacher.actor[:-1]), reversed(active), strict=True):
            jacobian = (jacobian * mask[:, None, :]) @ weight
        size: NDArray[np.float64] = jacobian.double().square().sum(dim=(1, 2)).sqrt().numpy()
    return size


@dataclass(frozen=True)
class UsualPosture:
    """The middle 95 % of the torso's (height, pitch) in the teacher's own episodes, in metres and radians."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def of(cls, env_id: str, observations: Array) -> UsualPosture:
        """From raw observations ``[T, obs_dim]`` that the teacher visited."""
        low, high = np.percentile(torso(env_id, observations), USUAL, axis=0)
        return cls(low, np.maximum(high, low + 1e-6))


def imbalance(env_id: str, observations: Array, usual: UsualPosture) -> NDArray[np.float64]:
    """How far height or pitch (the worse of the two) lies outside the usual range, in half-widths of it; ``[B]``.

    0 is a posture the teacher usually has.  Raises ObdError for a robot whose pose is not known.
    """
    posture = torso(env_id, observations)
    beyond = np.maximum(usual.low - posture, posture - usual.high)
    worst: NDArray[np.float64] = np.maximum(beyond / ((usual.high - usual.low) / 2), 0).max(axis=-1)
    return worst


def visited(
    env_id: str, policy: Policy, episodes: int = 3, seed: int = 0, should_stop: Callable[[], bool] | None = None
) -> Array:
    """Raw observations ``[T, obs_dim]`` of whole episodes of ``policy``.  Raises ObdError or Cancelled."""
    env = make_env(env_id)
    low, high = env.action_space.low, env.action_space.high  # type: ignore[attr-defined]
    seen = []
    try:
        for episode in range(episodes):
            observation, _ = env.reset(seed=seed + episode)
            over = False
            while not over:
                if should_stop is not None and should_stop():
                    raise Cancelled
                seen.append(np.asarray(observation, np.float64))
                action = np.clip(policy.act(seen[-1][None].astype(np.float32))[0], -1, 1)
                observation, _, terminated, truncated, _ = env.step(from_unit(action, low, high))
                over = terminated or truncated
    finally:
        env.close()
    return np.stack(seen)


def _tensor(values: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
