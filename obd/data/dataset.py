"""The in-memory form of an offline dataset: arrays, episode boundaries, normaliser and provenance."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obd.errors import ObdError

Float = NDArray[np.float32]

MISSING_REWARDS = "missing"  # in the provenance, under "rewards"
BLOCK = 100_000  # rows that are looked at together
STD_EPSILON = 1e-3  # added to the standard deviation, as in Lei et al. 2024 (arXiv 2410.22728)


@dataclass(frozen=True)
class OfflineDataset:
    """Transitions ``(s, a, r, s', terminated, truncated)`` of whole episodes, one after another.

    Attributes:
        id: Catalogue name, for example ``obd/halfcheetah/medium-replay-v0``.
        env_id: Gymnasium environment the transitions come from.
        observations: ``[M, obs_dim]`` float32, raw units.
        actions: ``[M, act_dim]`` float32, scaled so that the environment's bounds become [-1, 1].
        rewards: ``[M]`` float32.
        next_observations: ``[M, obs_dim]`` float32.
        terminations: ``[M]`` bool, the episode ended in a terminal state here.
        truncations: ``[M]`` bool, the episode was cut here (time limit).
        episode_starts: ``[E]`` int64, index of each episode's first transition, ascending, first is 0.
        action_low, action_high: ``[act_dim]`` bounds of the environment.
        reference_returns: (random, expert) returns that define the normalised return, or None.
        content_hash: SHA-256 (hex) of the arrays.
        provenance: free-form description for the dataset card (JSON-serialisable).
    """

    id: str
    env_id: str
    observations: Float
    actions: Float
    rewards: Float
    next_observations: Float
    terminations: NDArray[np.bool_]
    truncations: NDArray[np.bool_]
    episode_starts: NDArray[np.int64]
    action_low: Float
    action_high: Float
    reference_returns: tuple[float, float] | None = None
    content_hash: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        size = len(self.observations)
        if size == 0:
            raise ObdError(f"The dataset {self.id} holds no transitions; collect or import it again.")
        for name in ("actions", "rewards", "next_observations", "terminations", "truncations"):
            if len(getattr(self, name)) != size:
                raise ObdError(
                    f"The dataset {self.id} has {size} observations but {len(getattr(self, name))} {name}; "
                    "it is damaged, collect or import it again."
                )

    def __len__(self) -> int:
        return len(self.observations)

    @property
    def has_rewards(self) -> bool:
        """Whether ``rewards`` are real; an imported file may lack them, and then they are zero."""
        return self.provenance.get("rewards") != MISSING_REWARDS

    def require_rewards(self) -> None:
        """Raise ObdError if the dataset has no rewards, for algorithms that need them."""
        if not self.has_rewards:
            raise ObdError(
                f"The dataset {self.id} has no rewards, so this algorithm cannot use it; clone its behaviour, "
                "give a teacher file, or import it again with the option recompute rewards."
            )

    @property
    def observation_dim(self) -> int:
        return int(self.observations.shape[1])

    @property
    def action_dim(self) -> int:
        return int(self.actions.shape[1])

    @cached_property
    def observation_mean(self) -> Float:
        """Per-dimension mean, ``[obs_dim]``."""
        mean: Float = self.observations.mean(axis=0, dtype=np.float64).astype(np.float32)
        return mean

    @cached_property
    def observation_std(self) -> Float:
        """Per-dimension standard deviation plus 1e-3, ``[obs_dim]``."""
        mean = self.observations.mean(axis=0, dtype=np.float64)
        total = np.zeros((1, self.observation_dim))
        for start in range(0, len(self), BLOCK):  # a 64-bit copy of all states would be twice the data
            deviations = self.observations[start : start + BLOCK] - mean
            total = np.concatenate([total, np.square(deviations)]).sum(axis=0, keepdims=True)
        std: Float = (np.sqrt(total[0] / len(self)) + STD_EPSILON).astype(np.float32)
        return std

    def normalize(self, observations: Float) -> Float:
        """(observations - mean) / std, same shape."""
        normalized: Float = observations - self.observation_mean
        normalized /= self.observation_std
        return normalized

    def denormalize(self, observations: Float) -> Float:
        """The inverse of :meth:`normalize`."""
        return observations * self.observation_std + self.observation_mean

    @cached_property
    def episode_lengths(self) -> NDArray[np.int64]:
        """``[E]`` transitions per episode."""
        return np.diff(np.append(self.episode_starts, len(self)))

    @cached_property
    def episode_returns(self) -> NDArray[np.float64]:
        """``[E]`` undiscounted return of each episode."""
        return np.add.reduceat(self.rewards.astype(np.float64), self.episode_starts)

    @cached_property
    def episode_index(self) -> NDArray[np.int64]:
        """``[M]`` episode number of each transition."""
        return np.repeat(np.arange(len(self.episode_starts)), self.episode_lengths)

    def normalized(self, returns: Any) -> NDArray[np.float64]:
        """Normalised returns in D4RL's 0-100 scale (Fu et al., arXiv 2004.07219); raw ones without references."""
        return normalized_return(returns, self.reference_returns)


def normalized_return(returns: Any, reference: tuple[float, float] | None) -> NDArray[np.float64]:
    """100 * (R - R_random) / (R_expert - R_random); ``returns`` unchanged if ``reference`` is None."""
    values = np.asarray(returns, dtype=np.float64)
    if reference is None:
        return values
    low, high = reference
    return 100.0 * (values - low) / (high - low)
