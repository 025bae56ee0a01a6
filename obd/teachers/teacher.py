"""A teacher: near-expert policy pi* and its action value q*, as plain linear layers in one safetensors file.

The file holds ``actor.L.weight`` ``[out, in]`` and ``actor.L.bias`` ``[out]`` (ReLU between the layers), the same for
``critic`` on concat(normalised observation, action) and optionally ``critic2``, ``observation_mean`` and
``observation_std`` (which already includes any epsilon).  Actions are scaled to [-1, 1].

Two metadata keys are optional: ``critic_norm = layer`` (ReBRAC) says that every hidden activation of the critics is
brought to mean 0 and variance 1 after its ReLU (epsilon 1e-5; a learned gain and offset belong into the next linear
layer), and ``critics = 0`` says that there are no action values (behaviour cloning), so that a missing critic is not
a damaged file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from obd.data.dataset import OfflineDataset
from obd.data.reference import DIMENSIONS
from obd.errors import ObdError
from obd.policy import Head, MLPPolicy
from obd.teachers.files import FORMAT

HEADS = ("tanh", "tanh_gaussian")
NORM_EPSILON = 1e-5  # of the critics' layer norm
CHUNK = 16_384  # rows evaluated at once: keeps a million states within a few dozen megabytes

Layers = tuple[tuple[Tensor, Tensor], ...]
CriticNorm = Literal["none", "layer"]


@dataclass(frozen=True)
class Teacher:
    """A trained policy and its critics: two, one, or none.

    Attributes:
        env_id: environment it was trained for.
        algorithm: for example ``td3_bc``.
        actor, critics: layers as (weight ``[out, in]``, bias ``[out]``), float32.
        observation_mean, observation_std: ``[obs_dim]``, the normaliser of both.
        head: ``tanh`` or ``tanh_gaussian`` (last layer holds mean and log_std; the action is tanh(mean)).
        q_discount: discount of q*.
        critic_norm: ``layer`` when the critics' hidden activations are normalised.
        details: further metadata, as strings.
    """

    env_id: str
    algorithm: str
    actor: Layers
    critics: tuple[Layers, ...]
    observation_mean: Tensor
    observation_std: Tensor
    head: Head = "tanh"
    q_discount: float = 0.99
    critic_norm: CriticNorm = "none"
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def observation_dim(self) -> int:
        return int(self.observation_mean.shape[0])

    @property
    def action_dim(self) -> int:
        outputs = int(self.actor[-1][1].shape[0])
        return outputs // 2 if self.head == "tanh_gaussian" else outputs

    @property
    def device(self) -> torch.device:
        return self.observation_mean.device

    def to(self, device: torch.device | str) -> Teacher:
        """A copy on ``device``."""

        def move(layers: Layers) -> Layers:
            return tuple((weight.to(device), bias.to(device)) for weight, bias in layers)

        return replace(
            self,
            actor=move(self.actor),
            critics=tuple(move(critic) for critic in self.critics),
            observation_mean=self.observation_mean.to(device),
            observation_std=self.observation_std.to(device),
        )

    @torch.no_grad()
    def act(self, observations: Tensor) -> Tensor:
        """pi*(s), ``[B, act_dim]`` in [-1, 1], for raw observations ``[B, obs_dim]``; on the input's device."""
        return torch.cat([self._act(chunk) for chunk in torch.split(observations, CHUNK)]).to(observations.device)

    @torch.no_grad()
    def q(self, observations: Tensor, actions: Tensor) -> Tensor:
        """q*(s, a), ``[B]``, for raw observations ``[B, obs_dim]`` and actions ``[B, act_dim]``.

        Raises ObdError if the teacher has no critic.
        """
        self.check_has_values()
        pairs = zip(torch.split(observations, CHUNK), torch.split(actions, CHUNK), strict=True)
        return torch.cat([self._q(states, chosen) for states, chosen in pairs]).to(observations.device)

    def targets(self, dataset: OfflineDataset) -> NDArray[np.float32]:
        """pi*(s) for every state of the dataset, ``[M, act_dim]``.  Raises ObdError if the two do not match."""
        self.check_matches(dataset)
        actions: NDArray[np.float32] = self.act(torch.from_numpy(dataset.observations)).numpy()
        return actions

    def values(self, dataset: OfflineDataset, actions: NDArray[np.float32]) -> NDArray[np.float32]:
        """q*(s, ``actions``) for every state of the dataset, ``[M]``."""
        self.check_matches(dataset)
        result: NDArray[np.float32] = self.q(torch.from_numpy(dataset.observations), torch.from_numpy(actions)).numpy()
        return result

    def check_matches(self, dataset: OfflineDataset) -> None:
        """Raise ObdError unless the teacher is for the dataset's environment."""
        if self.env_id != dataset.env_id:
            raise ObdError(
                f"The teacher is for {self.env_id} but the dataset {dataset.id} is from {dataset.env_id}; "
                "choose a teacher trained on that environment."
            )
        sizes, expected = (self.observation_dim, self.action_dim), (dataset.observation_dim, dataset.action_dim)
        if sizes != expected:
            raise ObdError(
                f"The teacher maps {sizes[0]} observations to {sizes[1]} actions but the dataset {dataset.id} has "
                f"{expected[0]} and {expected[1]}; choose a teacher trained on that dataset."
            )

    def check_has_values(self) -> None:
        """Raise ObdError if the teacher has no action values."""
        if not self.critics:
            raise ObdError(
                f"This teacher ({self.algorithm}) has no action values, which Av-PBC needs; distil with PBC, or choose "
                "a teacher trained by offline reinforcement learning."
            )

    def to_policy(self) -> MLPPolicy:
        """The same policy in numpy, for rollouts."""
        weights = tuple(np.ascontiguousarray(weight.cpu().numpy().T) for weight, _ in self.actor)
        biases = tuple(bias.cpu().numpy().copy() for _, bias in self.actor)
        mean, std = self.observation_mean.cpu().numpy().copy(), self.observation_std.cpu().numpy().copy()
        return MLPPolicy(weights, biases, mean, std, self.head)

    def _normalize(self, observations: Tensor) -> Tensor:
        moved = observations.to(self.device, torch.float32)
        return (moved - self.observation_mean) / self.observation_std

    def _act(self, observations: Tensor) -> Tensor:
        return torch.tanh(_forward(self.actor, self._normalize(observations))[:, : self.action_dim])

    def _q(self, observations: Tensor, actions: Tensor) -> Tensor:
        pair = torch.cat([self._normalize(observations), actions.to(self.device, torch.float32)], dim=1)
        values = torch.stack([_forward(critic, pair, self.critic_norm)[:, 0] for critic in self.critics])
        return values.amin(0)


def save_teacher(path: Path | str, teacher: Teacher) -> None:
    """Write the teacher file atomically.  Raises ObdError if the folder cannot be written or a value is not finite."""
    path = Path(path)
    tensors: dict[str, Tensor] = {
        "observation_mean": teacher.observation_mean,
        "observation_std": teacher.observation_std,
    }
    names = ("actor", "critic", "critic2")
    for name, layers in zip(names, (teacher.actor, *teacher.critics), strict=False):
        for index, (weight, bias) in enumerate(layers):
            tensors[f"{name}.{index}.weight"] = weight
            tensors[f"{name}.{index}.bias"] = bias
    tensors = {name: tensor.detach().to("cpu", torch.float32).contiguous() for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ObdError(f"The teacher diverged: {name} has values that are not finite; train with other settings.")
    metadata = {str(key): str(value) for key, value in teacher.details.items()} | {
        "format": FORMAT,
        "env_id": teacher.env_id,
        "algorithm": teacher.algorithm,
        "actor_head": teacher.head,
        "q_discount": repr(float(teacher.q_discount)),
        "critics": str(len(teacher.critics)),
        "critic_norm": teacher.critic_norm,
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(save(tensors, metadata=metadata))
        os.replace(temporary, path)
    except OSError as error:
        raise ObdError(f"The teacher cannot be written to {path}: {error}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def load_teacher(path: Path | str) -> Teacher:
    """Read and check a teacher file (on the CPU).

    Raises:
        ObdError: not a teacher file, a missing tensor, a wrong shape or a value that is not finite; the sentence
            names the tensor and the shape expected.
    """
    path = Path(path)
    if not path.is_file():
        raise ObdError(f"There is no teacher file {path}.")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ObdError(f"The file {path} is not a safetensors file ({error}); a teacher file is one.") from error
    if metadata.get("format") != FORMAT:
        raise ObdError(
            f"The file {path} is not a teacher file: its format is {metadata.get('format')!r}, expected {FORMAT!r}."
        )
    return _build(path, tensors, metadata)


def _build(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> Teacher:
    head = metadata.get("actor_head")
    if head not in HEADS:
        raise ObdError(f"The teacher file {path} has actor_head {head!r}, expected one of {', '.join(HEADS)}.")
    for key in ("env_id", "algorithm"):
        if not metadata.get(key):
            raise ObdError(f"The teacher file {path} lacks {key} in its metadata.")
    norm = metadata.get("critic_norm", "none")
    if norm not in ("none", "layer"):
        raise ObdError(f"The teacher file {path} has critic_norm {norm!r}, expected none or layer.")
    discount = _discount(path, metadata.get("q_discount"))
    reader = _Reader(path, tensors)
    known = DIMENSIONS.get(metadata["env_id"])
    mean = reader.take("observation_mean", (known[0] if known else None,))
    observation_dim = mean.shape[0]
    std = reader.take("observation_std", (observation_dim,))
    if not (std > 0).all():
        raise ObdError(f"The teacher file {path} has values in observation_std that are not positive.")
    per_action = 2 if head == "tanh_gaussian" else 1
    actor = reader.layers("actor", observation_dim, per_action * known[1] if known else None)
    outputs = int(actor[-1][1].shape[0])
    if outputs % per_action:
        raise ObdError(
            f"The teacher file {path} has {outputs} outputs in actor.{len(actor) - 1}.bias, expected an even number."
        )
    width = observation_dim + outputs // per_action
    critics = [] if metadata.get("critics") == "0" else [reader.layers("critic", width, 1)]
    if critics and any(name.startswith("critic2.") for name in tensors):
        critics.append(reader.layers("critic2", width, 1))
    own = {"format", "env_id", "algorithm", "actor_head", "q_discount", "critics", "critic_norm"}
    return Teacher(
        env_id=metadata["env_id"],
        algorithm=metadata["algorithm"],
        actor=actor,
        critics=tuple(critics),
        observation_mean=mean,
        observation_std=std,
        head=cast(Head, head),
        q_discount=discount,
        critic_norm=cast(CriticNorm, norm),
        details={key: value for key, value in metadata.items() if key not in own},
    )


def _discount(path: Path, text: str | None) -> float:
    try:
        value = float(text) if text is not None else float("nan")
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        raise ObdError(f"The teacher file {path} has q_discount {text!r}, expected a number between 0 and 1.")
    return value


def _forward(layers: Layers, hidden: Tensor, norm: CriticNorm = "none") -> Tensor:
    for weight, bias in layers[:-1]:
        hidden = torch.relu(torch.nn.functional.linear(hidden, weight, bias))
        if norm == "layer":
            hidden = torch.nn.functional.layer_norm(hidden, hidden.shape[-1:], eps=NORM_EPSILON)
    return torch.nn.functional.linear(hidden, *layers[-1])


class _Reader:
    """Takes tensors out of a file's content, checking each."""

    def __init__(self, path: Path, tensors: dict[str, Tensor]) -> None:
        self.path, self.tensors = path, tensors

    def take(self, name: str, shape: tuple[int | None, ...]) -> Tensor:
        """The tensor as float32; None in ``shape`` stands for any positive size."""
        expected = "[" + ", ".join("any" if size is None else str(size) for size in shape) + "]"
        tensor = self.tensors.get(name)
        if tensor is None:
            raise ObdError(f"The teacher file {self.path} lacks the tensor {name} (expected shape {expected}).")
        fits = tensor.dim() == len(shape) and all(
            size > 0 and want in (None, size) for size, want in zip(tensor.shape, shape, strict=True)
        )
        if not fits or not tensor.is_floating_point():
            raise ObdError(
                f"The tensor {name} in {self.path} is {str(tensor.dtype).removeprefix('torch.')} of shape "
                f"{list(tensor.shape)}, expected floating point numbers of shape {expected}."
            )
        tensor = tensor.to(torch.float32)
        if not torch.isfinite(tensor).all():
            raise ObdError(
                f"The tensor {name} in {self.path} has values that are not finite (expected shape {expected})."
            )
        return tensor

    def layers(self, prefix: str, inputs: int, outputs: int | None) -> Layers:
        """All linear layers called ``prefix``, widths checked from ``inputs`` to ``outputs``."""
        pattern = re.compile(rf"{prefix}\.(\d+)\.(?:weight|bias)")
        matches = (pattern.fullmatch(name) for name in self.tensors)
        indices = [int(match.group(1)) for match in matches if match]
        last = max(indices, default=0)
        result: list[Any] = []
        for index in range(last + 1):
            weight = self.take(f"{prefix}.{index}.weight", (outputs if index == last else None, inputs))
            inputs = weight.shape[0]
            result.append((weight, self.take(f"{prefix}.{index}.bias", (inputs,))))
        return tuple(result)
