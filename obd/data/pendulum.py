"""The pendulum of Gymnasium's Pendulum-v1 as arrays, and a small offline dataset of mixed quality.

The state is (angle, angular velocity), the angle being 0 upright and pi hanging; the torque is an action in [-1, 1]
times 2.  A state has two numbers, so a whole policy is one picture.  No torch here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obd.data.dataset import OfflineDataset

Float = NDArray[np.floating[Any]]
Behaviour = Callable[[Float, Float], Float]  # angle and velocity -> action, before its noise

MAX_SPEED, MAX_TORQUE, TIME_STEP, EPISODE_STEPS = 8.0, 2.0, 0.05, 200
GRAVITY_PULL, TORQUE_PULL = 15.0, 3.0  # 3 g / (2 l) and 3 / (m l^2) with g = 10, m = l = 1
UPRIGHT_ENERGY = GRAVITY_PULL

EPISODES, NOISE, NOISE_MEMORY = 60, 0.35, 0.8


def wrap(angle: Float) -> Float:
    """The angle in [-pi, pi)."""
    wrapped: Float = (angle + np.pi) % (2 * np.pi) - np.pi
    return wrapped


def observe(angle: Float, velocity: Float) -> Float:
    """What Pendulum-v1 shows of a state: (cos, sin, velocity), ``[..., 3]``."""
    return np.stack([np.cos(angle), np.sin(angle), velocity], axis=-1)


def move(angle: Float, velocity: Float, action: Float) -> tuple[Float, Float, Float]:
    """One step of Pendulum-v1: next angle (wrapped), next velocity and reward, elementwise with broadcasting."""
    torque = MAX_TORQUE * np.clip(action, -1, 1)
    reward = -(wrap(angle) ** 2 + 0.1 * velocity**2 + 0.001 * torque**2)
    faster = velocity + (GRAVITY_PULL * np.sin(angle) + TORQUE_PULL * torque) * TIME_STEP
    faster = np.clip(faster, -MAX_SPEED, MAX_SPEED)
    return wrap(angle + faster * TIME_STEP), faster, reward


def start_states(count: int, source: np.random.Generator) -> tuple[Float, Float]:
    """Start angles and velocities as Pendulum-v1 draws them, ``[count]`` each."""
    return source.uniform(-np.pi, np.pi, count), source.uniform(-1, 1, count)


def swing_up(angle: Float, velocity: Float) -> Float:
    """A decent player: pumps energy along the swing and balances when upright and slow."""
    energy = 0.5 * velocity**2 + GRAVITY_PULL * np.cos(angle)
    pump = np.where(energy < UPRIGHT_ENERGY, 1.0, -0.4) * np.where(velocity >= 0, 1.0, -1.0)
    upright = wrap(angle)
    return np.where(np.abs(upright) < 0.5, np.clip(-5 * upright - 1.5 * velocity, -1, 1), pump)


def brake(angle: Float, velocity: Float) -> Float:
    """A fearful player: always pushes against the motion, so the pendulum ends up hanging."""
    against: Float = np.clip(-1.2 * velocity, -1, 1)
    return against


def idle(angle: Float, velocity: Float) -> Float:
    """A player without a plan: only its noise moves the pendulum."""
    return np.zeros_like(angle)


PLAYERS: dict[str, tuple[Behaviour, float, float]] = {  # name -> (behaviour, noise, share of the episodes)
    "decent": (swing_up, 0.35, 0.4),
    "fearful": (brake, 0.35, 0.4),
    "random": (idle, 1.0, 0.2),
}


def mixed_dataset(episodes: int = EPISODES, seed: int = 0) -> OfflineDataset:
    """Episodes of 200 steps by three players: decent (40 %), fearful (40 %) and random (20 %).

    Every player's action carries noise that lasts a few steps.  Takes some milliseconds; the same seed gives the
    same bytes.  ``provenance["players"]`` holds each player's share and mean return.
    """
    source = np.random.default_rng(seed)
    counts = {name: max(1, round(share * episodes)) for name, (_, _, share) in PLAYERS.items()}
    parts = [_play(PLAYERS[name], count, source) for name, count in counts.items()]
    observations, actions, rewards, following = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    total = len(observations)
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in (observations, actions, rewards)))
    returns = {name: float(part[2].sum() / counts[name]) for name, part in zip(counts, parts, strict=True)}
    starts = np.arange(0, total, EPISODE_STEPS, dtype=np.int64)
    truncations = np.zeros(total, np.bool_)
    truncations[EPISODE_STEPS - 1 :: EPISODE_STEPS] = True
    return OfflineDataset(
        id="obd/pendulum/mixed-v0",
        env_id="Pendulum-v1",
        observations=observations,
        actions=actions[:, None],
        rewards=rewards,
        next_observations=following,
        terminations=np.zeros(total, np.bool_),
        truncations=truncations,
        episode_starts=starts,
        action_low=np.full(1, -MAX_TORQUE, np.float32),
        action_high=np.full(1, MAX_TORQUE, np.float32),
        content_hash=digest.hexdigest(),
        provenance={"players": {name: {"episodes": counts[name], "return": returns[name]} for name in counts}},
    )


def _play(player: tuple[Behaviour, float, float], episodes: int, source: np.random.Generator) -> tuple[Float, ...]:
    """Observations, actions, rewards and next observations of one player, episode after episode, float32."""
    behaviour, scale, _ = player
    angle, velocity = start_states(episodes, source)
    noise = np.zeros(episodes)
    steps = []
    for _ in range(EPISODE_STEPS):
        noise = NOISE_MEMORY * noise + scale * np.sqrt(1 - NOISE_MEMORY**2) * source.standard_normal(episodes)
        action = np.clip(behaviour(angle, velocity) + noise, -1, 1)
        next_angle, next_velocity, reward = move(angle, velocity, action)
        steps.append((observe(angle, velocity), action, reward, observe(next_angle, next_velocity)))
        angle, velocity = next_angle, next_velocity
    columns = (np.stack(column, axis=1) for column in zip(*steps, strict=True))  # [episodes, steps, ...]
    return tuple(np.asarray(c, np.float32).reshape(episodes * EPISODE_STEPS, *c.shape[2:]) for c in columns)


def returns_of(
    act: Callable[[Float, Float], Float], episodes: int = 100, policies: int = 1, seed: int = 1_000_003
) -> NDArray[np.float64]:
    """Undiscounted returns ``[policies, episodes]`` over 200 steps.

    ``act`` maps angles and velocities ``[policies, episodes]`` to actions of that shape.  The start states are
    drawn as in Pendulum-v1, depend on the seed only and are the same for every policy.
    """
    starts = start_states(episodes, np.random.default_rng(seed))
    angle, velocity = (np.broadcast_to(values, (policies, episodes)) for values in starts)
    total = np.zeros((policies, episodes))
    for _ in range(EPISODE_STEPS):
        angle, velocity, reward = move(angle, velocity, act(angle, velocity))
        total += reward
    return total
