"""Play behaviour snapshots into an offline dataset, like D4RL's medium-replay sets.

D4RL (Fu et al., arXiv 2004.07219) ships the replay buffer of an agent that learned to a medium level.  Here each
snapshot of such an agent plays the same share of the transitions with its own exploration noise.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from obd.data.behaviour import StochasticPolicy
from obd.data.dataset import OfflineDataset
from obd.data.reference import reference_returns
from obd.data.simulate import Episode, from_unit, make_env, play, to_unit
from obd.data.workers import run_parallel
from obd.errors import ObdError
from obd.events import ShouldStop

DEFAULT_TRANSITIONS = 200_000
HASH_ROWS = 65_536
HASHED = ("observations", "actions", "rewards", "next_observations", "terminations", "truncations", "episode_starts")


@dataclass(frozen=True)
class Player:
    """A policy and its part of the transitions; parts are relative to their sum."""

    policy: StochasticPolicy
    part: float = 1.0


def content_hash(dataset: OfflineDataset, as_stored: Callable[[Any], Any] | None = None) -> str:
    """SHA-256 (hex) of the arrays with their names, types and shapes; ``as_stored`` is applied to the actions."""
    digest = hashlib.sha256()
    for name in HASHED:
        array = np.ascontiguousarray(getattr(dataset, name))
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        for start in range(0, len(array), HASH_ROWS):  # by parts, so that no second copy of the actions is made
            part = array[start : start + HASH_ROWS]
            digest.update(np.ascontiguousarray(as_stored(part) if as_stored and name == "actions" else part).data)
    return digest.hexdigest()


def shares(transitions: int, parts: Sequence[float], episode_limit: int) -> list[int]:
    """Split ``transitions`` by ``parts`` into whole full-length episodes, at least one each."""
    bounds = np.cumsum([0.0, *parts]) / sum(parts) * transitions / episode_limit
    full_episodes = np.diff(np.floor(bounds + 0.5 + 1e-9)).astype(int)
    return [max(1, int(count)) * episode_limit for count in full_episodes]


def collect_dataset(
    dataset_id: str,
    env_id: str,
    players: Sequence[Player],
    *,
    transitions: int = DEFAULT_TRANSITIONS,
    seed: int = 0,
    workers: int | None = None,
    provenance: dict[str, Any] | None = None,
    on_progress: Callable[[float], None] | None = None,
    should_stop: ShouldStop | None = None,
) -> OfflineDataset:
    """Whole episodes of every player, ``transitions`` steps in all up to a part of an episode for each player.

    The result depends on the policies, ``transitions`` and ``seed`` only, not on ``workers``.

    Raises:
        Cancelled: ``should_stop()`` returned true; nothing is left behind.
        ObdError: the environment cannot be made, or the numbers are out of range.
    """
    if transitions < 1:
        raise ObdError(f"The number of transitions must be at least 1, not {transitions}.")
    if seed < 0:
        raise ObdError(f"The seed must not be negative, it is {seed}.")
    env = make_env(env_id)
    space, spec = env.action_space, env.spec
    env.close()
    assert isinstance(space, gym.spaces.Box) and spec is not None
    quotas = shares(transitions, [player.part for player in players], spec.max_episode_steps or 1000)
    arguments = [
        (env_id, player.policy, quota, (seed, index))
        for index, (player, quota) in enumerate(zip(players, quotas, strict=True))
    ]
    played = run_parallel(
        play,
        arguments,
        total=sum(quotas),
        workers=workers,
        on_progress=on_progress,
        should_stop=should_stop,
    )
    episodes = [episode for of_player in played for episode in of_player]
    origin = np.repeat(np.arange(len(players)), [len(of_player) for of_player in played])
    details = {
        **(provenance or {}),
        "seed": seed,
        "transitions": transitions,
        "policies": [
            {"step": player.policy.step, "return": player.policy.mean_return, "episodes": len(of_player)}
            for player, of_player in zip(players, played, strict=True)
        ],
        "episode_policy": [int(index) for index in origin],
    }
    return _assemble(dataset_id, env_id, episodes, space, details)


def _assemble(
    dataset_id: str, env_id: str, episodes: Sequence[Episode], space: gym.spaces.Box, provenance: dict[str, Any]
) -> OfflineDataset:
    ends = np.cumsum([len(episode.rewards) for episode in episodes])
    terminations = np.zeros(ends[-1], np.bool_)
    terminations[ends - 1] = [episode.terminated for episode in episodes]
    truncations = np.zeros(ends[-1], np.bool_)
    truncations[ends - 1] = [not episode.terminated for episode in episodes]
    low, high = np.asarray(space.low, np.float32), np.asarray(space.high, np.float32)
    actions = np.concatenate([episode.actions for episode in episodes])
    dataset = OfflineDataset(
        id=dataset_id,
        env_id=env_id,
        observations=np.concatenate([episode.observations[:-1] for episode in episodes]),
        actions=to_unit(from_unit(actions, low, high), low, high),  # what a reader of the stored file will see
        rewards=np.concatenate([episode.rewards for episode in episodes]),
        next_observations=np.concatenate([episode.observations[1:] for episode in episodes]),
        terminations=terminations,
        truncations=truncations,
        episode_starts=np.concatenate([[0], ends[:-1]]).astype(np.int64),
        action_low=low,
        action_high=high,
        reference_returns=reference_returns(env_id),
        provenance=provenance,
    )
    return dataclasses.replace(dataset, content_hash=content_hash(dataset))
