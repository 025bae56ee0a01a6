"""The pendulum's exact teacher: value iteration on a grid of its two state variables (Bellman 1957).

Other teachers learn from the dataset alone.  The pendulum is a teaching example whose equations are known, so here
q* comes from dynamic programming: V <- max_a r(s, a) + gamma V(s'), V being interpolated linearly between grid points.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from obd.data.pendulum import MAX_SPEED, move, wrap

Float = NDArray[np.floating[Any]]

ANGLES, VELOCITIES, ACTIONS = 72, 65, 15
DISCOUNT = 0.97
SWEEPS = 500  # 0.97^500 = 2e-7
SOFTNESS = 0.05  # of the choice among actions, in units of the action value


def value_grid(
    angles: int = ANGLES, velocities: int = VELOCITIES, actions: int = ACTIONS, sweeps: int = SWEEPS
) -> NDArray[np.float64]:
    """V* on ``[angles, velocities]``: angles from -pi (periodic, end excluded), velocities from -8 to 8."""
    angle, velocity, action = np.meshgrid(
        np.arange(angles) * 2 * np.pi / angles - np.pi,
        np.linspace(-MAX_SPEED, MAX_SPEED, velocities),
        np.linspace(-1, 1, actions),
        indexing="ij",
    )
    next_angle, next_velocity, reward = move(angle, velocity, action)
    corners, shares = _corners(next_angle, next_velocity, angles, velocities)
    value = np.zeros((angles, velocities))
    for _ in range(sweeps):
        flat = value.ravel()
        following = sum(share * flat[corner] for corner, share in zip(corners, shares, strict=True))
        value = (reward + DISCOUNT * following).max(axis=2)
    return value


def _corners(
    angle: Float, velocity: Float, angles: int, velocities: int
) -> tuple[list[NDArray[np.int64]], list[Float]]:
    """Flat indices and shares of the four grid points around each state."""
    x = (wrap(angle) + np.pi) * angles / (2 * np.pi)
    y = (np.clip(velocity, -MAX_SPEED, MAX_SPEED) + MAX_SPEED) * (velocities - 1) / (2 * MAX_SPEED)
    left, low = np.floor(x).astype(np.int64), np.minimum(np.floor(y).astype(np.int64), velocities - 2)
    fx, fy = x - left, y - low
    left, right = left % angles, (left + 1) % angles
    indices = [
        left * velocities + low,
        right * velocities + low,
        left * velocities + low + 1,
        right * velocities + low + 1,
    ]
    return indices, [(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy]


@dataclass(frozen=True)
class PendulumTeacher:
    """q* and pi* from a grid of values ``[angles, velocities]``; the teacher protocol of the objectives.

    Its action is the mean of exp(q(s, a) / softness) over a row of actions: nearly the best one, but without jumps
    where two actions are equally good.
    """

    value: NDArray[np.float64]
    actions: int = 41

    def q_values(self, angle: Float, velocity: Float, action: Float) -> Float:
        """q*(s, a), elementwise."""
        next_angle, next_velocity, reward = move(angle, velocity, action)
        corners, shares = _corners(next_angle, next_velocity, *self.value.shape)
        flat = self.value.ravel()
        following = sum(share * flat[corner] for corner, share in zip(corners, shares, strict=True))
        result: Float = reward + DISCOUNT * following
        return result

    def actions_at(self, angle: Float, velocity: Float) -> Float:
        """pi*(s), same shape as the angles."""
        row = np.linspace(-1, 1, self.actions)
        q = self.q_values(angle[..., None], velocity[..., None], row)
        likely = np.exp((q - q.max(axis=-1, keepdims=True)) / SOFTNESS)
        chosen: Float = (likely * row).sum(-1) / likely.sum(-1)
        return chosen

    def act(self, observations: Tensor) -> Tensor:
        angle, velocity = _state(observations)
        return torch.from_numpy(self.actions_at(angle, velocity)[:, None]).to(observations)

    def q(self, observations: Tensor, actions: Tensor) -> Tensor:
        angle, velocity = _state(observations)
        action = actions[:, 0].numpy().astype(np.float64)
        return torch.from_numpy(self.q_values(angle, velocity, action)).to(observations)


def _state(observations: Tensor) -> tuple[Float, Float]:
    cosine, sine, velocity = observations.numpy().astype(np.float64).T
    return np.arctan2(sine, cosine), velocity


@lru_cache(maxsize=1)
def pendulum_teacher() -> PendulumTeacher:
    """The teacher of the playground; about a second on first use."""
    return PendulumTeacher(value_grid())
