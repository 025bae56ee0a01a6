"""Behaviour files: the snapshots of a learning agent that the built-in datasets are played from.

A file written by :mod:`obd.data.train_behaviour` holds, as half-precision safetensors, ``snapshot.NN.actor.L.weight``
``[out, in]`` and ``snapshot.NN.actor.L.bias`` ``[out]``; its metadata name the environment and each snapshot's
environment step and mean return.  Free of torch, because worker processes unpickle these policies.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from obd.errors import ObdError
from obd.policy import MLPPolicy

FORMAT = "obd-behaviour-1"
LOG_STD_BOUNDS = (-20.0, 2.0)  # of stable-baselines3's SAC actor

Float = NDArray[np.float32]


@dataclass(frozen=True)
class StochasticPolicy:
    """A SAC actor (Haarnoja et al., arXiv 1801.01290), or uniformly random actions when ``network`` is None.

    Attributes:
        network: head ``tanh_gaussian``, raw observations in.
        action_dim: number of actions.
        step: environment steps the agent had seen.
        mean_return: of the deterministic policy, as measured while training.
    """

    network: MLPPolicy | None
    action_dim: int
    step: int
    mean_return: float

    def draw_noise(self, generator: np.random.Generator, steps: int) -> Float:
        """Noise ``[steps, act_dim]`` for :meth:`sample`."""
        if self.network is None:
            return generator.uniform(-1.0, 1.0, (steps, self.action_dim)).astype(np.float32)
        return generator.standard_normal((steps, self.action_dim), dtype=np.float32)

    def sample(self, observations: Float, noise: Float) -> Float:
        """Actions ``[B, act_dim]`` in [-1, 1]: tanh(mean + std * noise), or the noise itself for random actions."""
        if self.network is None:
            return noise
        outputs = self.network.outputs(observations)
        mean, log_std = outputs[:, : self.action_dim], outputs[:, self.action_dim :]
        action: Float = np.tanh(mean + np.exp(np.clip(log_std, *LOG_STD_BOUNDS)) * noise)
        return action


@dataclass(frozen=True)
class Behaviour:
    """All snapshots of one agent, in the order of training."""

    env_id: str
    algorithm: str
    command: str
    sha256: str
    snapshots: tuple[StochasticPolicy, ...]


def load_behaviour(path: Path) -> Behaviour:
    """Read a behaviour file.  A snapshot of step 0 becomes uniformly random actions, as SAC itself starts with.

    Raises:
        ObdError: the file is missing, is no behaviour file, or lacks a tensor.
    """
    if not path.is_file():
        raise ObdError(f"The behaviour file {path} is missing; reinstall the tool or train one with train_behaviour.")
    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
    except (SafetensorError, OSError) as error:
        raise ObdError(f"The behaviour file {path} is not a readable safetensors file ({error}).") from error
    if metadata.get("format") != FORMAT or metadata.get("actor_head") != "tanh_gaussian":
        raise ObdError(f"The file {path} is not a behaviour file of format {FORMAT} with a tanh_gaussian actor.")
    try:
        described: list[dict[str, Any]] = json.loads(metadata["snapshots"])
        snapshots = tuple(_snapshot(tensors, index, entry) for index, entry in enumerate(described))
        env_id = metadata["env_id"]
    except (KeyError, ValueError, TypeError) as error:
        raise ObdError(f"The behaviour file {path} is incomplete: {error}.") from error
    if not snapshots:
        raise ObdError(f"The behaviour file {path} holds no snapshot.")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Behaviour(env_id, metadata.get("algorithm", ""), metadata.get("command", ""), digest, snapshots)


def _snapshot(tensors: dict[str, NDArray[Any]], index: int, entry: dict[str, Any]) -> StochasticPolicy:
    prefix = f"snapshot.{index:02d}.actor."
    layers = sum(name.startswith(prefix) and name.endswith(".weight") for name in tensors)
    if layers == 0:
        raise KeyError(f"{prefix}0.weight")
    weights = tuple(
        np.ascontiguousarray(tensors[f"{prefix}{layer}.weight"].T, dtype=np.float32) for layer in range(layers)
    )
    biases = tuple(tensors[f"{prefix}{layer}.bias"].astype(np.float32) for layer in range(layers))
    observation_dim = weights[0].shape[0]
    network = MLPPolicy(
        weights,
        biases,
        observation_mean=np.zeros(observation_dim, np.float32),
        observation_std=np.ones(observation_dim, np.float32),
        head="tanh_gaussian",
    )
    step = int(entry["step"])
    return StochasticPolicy(network if step > 0 else None, network.action_dim, step, float(entry["return"]))
