"""Policies as plain numpy networks: what rollouts, videos and worker processes use.

Keeping this file free of torch lets a worker process start in a fraction of a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Head = Literal["tanh", "tanh_gaussian"]


class Policy(Protocol):
    """Anything that maps observations to actions."""

    def act(self, observations: Array) -> Array:
        """Map raw observations ``[B, obs_dim]`` to actions ``[B, act_dim]`` in [-1, 1].

        The result is deterministic.  Callers scale it to the environment's bounds.
        """
        ...


@dataclass(frozen=True)
class MLPPolicy:
    """A multilayer perceptron with ReLU between the layers and a tanh at the end.

    ``weights[l]`` has shape ``[in, out]`` and ``biases[l]`` shape ``[out]``, or ``[C, in, out]`` and ``[C, 1, out]``
    for a network of C columns side by side, whose outputs are averaged before the tanh.  With head ``tanh_gaussian``
    the last layer holds (mean, log_std) and the action is tanh(mean).  With ``residual`` every hidden layer that
    keeps its width adds its input to its output.
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    observation_mean: Array
    observation_std: Array
    head: Head = "tanh"
    residual: bool = False

    @property
    def action_dim(self) -> int:
        outputs = int(self.biases[-1].shape[-1])
        return outputs // 2 if self.head == "tanh_gaussian" else outputs

    def outputs(self, observations: Array) -> Array:
        """The last layer before the squashing, ``[B, outputs]``."""
        hidden = (np.asarray(observations) - self.observation_mean) / self.observation_std
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            above = np.maximum(hidden @ weight + bias, 0)
            hidden = above + hidden if self.residual and above.shape == hidden.shape else above
        result: Array = hidden @ self.weights[-1] + self.biases[-1]
        return result.mean(0) if self.weights[-1].ndim == 3 else result

    def act(self, observations: Array) -> Array:
        action: Array = np.tanh(self.outputs(observations)[..., : self.action_dim])
        return action


@dataclass(frozen=True)
class EnsemblePolicy:
    """The mean action of several policies."""

    members: tuple[Policy, ...]

    def act(self, observations: Array) -> Array:
        action: Array = np.mean([member.act(observations) for member in self.members], axis=0)
        return action
