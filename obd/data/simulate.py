"""Play stochastic policies in an environment, several episodes side by side.  Runs in worker processes: no torch."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium.envs.registration import find_highest_version, get_env_id, parse_env_id
from numpy.typing import NDArray

from obd.data.behaviour import Float, StochasticPolicy
from obd.errors import ObdError

ENV_ID = re.compile(r"(?:\w[\w.-]*/)?\w[\w.-]*", re.ASCII)
EXAMPLE = "HalfCheetah-v5"
SLOTS = 8  # episodes per batch; always the same, because a matrix product's last bits depend on its shape
LOOK_EVERY = 64  # environment steps of a batch between two looks at the stop signal


@dataclass(frozen=True)
class Episode:
    """One episode of T steps; ``observations`` has T + 1 rows, ``actions`` lie in [-1, 1]."""

    observations: Float
    actions: Float
    rewards: Float
    terminated: bool


def make_env(env_id: str) -> gym.Env[Any, Any]:
    """The environment without Gymnasium's checker and without MUJOCO_LOG.TXT in the working directory.

    Raises:
        ObdError: Gymnasium cannot make it, or it has no bounded Box actions or no flat Box observations.
    """
    if not ENV_ID.fullmatch(env_id):  # a colon would import any module of this machine
        raise ObdError(f"{env_id!r} is not the name of a Gymnasium environment, such as {EXAMPLE}.")
    mujoco.set_mju_user_warning(lambda _message: None)
    try:
        env: gym.Env[Any, Any] = gym.make(_registered(env_id), disable_env_checker=True)
    except (gym.error.Error, ImportError) as error:
        told = " ".join(str(error).split())
        advice = f" Check its name, or what it needs; a usual one is {EXAMPLE}."
        raise ObdError(f"Gymnasium cannot make the environment {env_id!r}: {told.rstrip('.?')}.{advice}") from error
    action_space, observation_space = env.action_space, env.observation_space
    if not isinstance(action_space, gym.spaces.Box) or not action_space.is_bounded() or len(action_space.shape) != 1:
        raise ObdError(f"The environment {env_id} has no bounded continuous actions; only those are supported.")
    if not isinstance(observation_space, gym.spaces.Box) or len(observation_space.shape) != 1:
        raise ObdError(f"The environment {env_id} has no flat vector observations; only those are supported.")
    return env


def _registered(env_id: str) -> Any:
    """The specification of ``env_id``, the newest if it has no version; given a name, Gymnasium warns on stderr."""
    namespace, name, version = parse_env_id(env_id)
    newest = find_highest_version(namespace, name) if version is None else None
    found = gym.registry.get(env_id if newest is None else get_env_id(namespace, name, newest))
    return env_id if found is None else found


def from_unit(actions: NDArray[Any], low: NDArray[Any], high: NDArray[Any]) -> Float:
    """[-1, 1] -> the environment's bounds; exact when those are -1 and 1."""
    if np.all(low == -1) and np.all(high == 1):
        return np.asarray(actions, np.float32)
    return np.asarray(low + (actions + 1) * 0.5 * (high - low), np.float32)


def to_unit(actions: NDArray[Any], low: NDArray[Any], high: NDArray[Any]) -> Float:
    """The inverse of :func:`from_unit`."""
    if np.all(low == -1) and np.all(high == 1):
        return np.asarray(actions, np.float32)
    return np.asarray(2 * (actions - low) / (high - low) - 1, np.float32)


def play(
    env_id: str,
    policy: StochasticPolicy,
    transitions: int,
    seed: tuple[int, int],
    tick: Callable[[int], None],
    stopped: Callable[[], bool],
) -> list[Episode]:
    """Whole episodes of ``policy``, at least ``transitions`` steps and not one episode more than needed.

    Episode e draws its start and its noise from ``default_rng((*seed, e))``, so the result depends on nothing else.
    """
    first = make_env(env_id)
    envs = {0: first}
    assert isinstance(first.action_space, gym.spaces.Box) and first.spec is not None
    low, high = first.action_space.low, first.action_space.high
    limit = first.spec.max_episode_steps or 1000
    observations = np.zeros((SLOTS, *(first.observation_space.shape or ())), np.float32)
    noise = np.zeros((SLOTS, policy.action_dim), np.float32)
    running: dict[int, _Recorder] = {}
    finished: dict[int, Episode] = {}
    done_steps = started = ticks = 0
    while True:
        for slot in range(SLOTS):
            # Even if every running episode lasts to the time limit, one more is needed: then it is surely used.
            if slot not in running and done_steps + len(running) * limit < transitions:
                if slot not in envs:
                    envs[slot] = make_env(env_id)
                recorder = _Recorder(started, envs[slot], policy, (*seed, started), limit)
                running[slot] = recorder
                observations[slot] = recorder.observations[0]
                started += 1
        if not running:
            break
        for slot, recorder in running.items():
            noise[slot] = recorder.noise[recorder.step]
        actions = policy.sample(observations, noise)
        scaled = from_unit(actions, low, high)
        for slot, recorder in list(running.items()):
            over = recorder.advance(actions[slot], scaled[slot])
            observations[slot] = recorder.observations[recorder.step]
            if over:
                finished[recorder.index] = recorder.episode()
                done_steps += recorder.step
                del running[slot]
                tick(recorder.step)
        ticks += 1
        if ticks % LOOK_EVERY == 0 and stopped():
            break
    for env in envs.values():
        env.close()
    return [finished[index] for index in sorted(finished)]


class _Recorder:
    """One running episode and its buffers."""

    def __init__(
        self, index: int, env: gym.Env[Any, Any], policy: StochasticPolicy, seed: tuple[int, ...], limit: int
    ) -> None:
        generator = np.random.default_rng(seed)
        self.index, self.env, self.step, self.terminated = index, env, 0, False
        first, _ = env.reset(seed=int(generator.integers(2**31)))
        self.noise = policy.draw_noise(generator, limit)
        self.observations = np.empty((limit + 1, len(first)), np.float32)
        self.actions = np.empty((limit, policy.action_dim), np.float32)
        self.rewards = np.empty(limit, np.float32)
        self.observations[0] = first

    def advance(self, action: Float, scaled: Float) -> bool:
        """One step; true when the episode is over."""
        observation, reward, self.terminated, truncated, _ = self.env.step(scaled)
        self.actions[self.step] = action
        self.rewards[self.step] = reward
        self.step += 1
        self.observations[self.step] = observation
        return bool(self.terminated or truncated or self.step == len(self.rewards))

    def episode(self) -> Episode:
        steps = self.step
        return Episode(
            self.observations[: steps + 1].copy(),
            self.actions[:steps].copy(),
            self.rewards[:steps].copy(),
            bool(self.terminated),
        )
