"""A model of the robot, learned from a dataset: which state follows an action, with which reward, and whether it falls.

Policies can be tried in it without the simulator, for hours of robot time in a second.  As in Chua et al. 2018
(arXiv 1805.12114) several networks predict the change of the state; their mean is taken, since a policy that lasts in
the mean model is what is looked for, not a bound.  The file holds ``dynamics.L.weight`` ``[E, in, out]`` and
``dynamics.L.bias`` ``[E, 1, out]`` in half precision and the scales of what the networks see and say.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from obd.data.dataset import OfflineDataset
from obd.data.identifiers import check_id
from obd.errors import Cancelled, ObdError
from obd.events import ShouldStop
from obd.paths import assets_dir, dynamics_dir

FORMAT = "obd-dynamics-1"
MEMBERS, WIDTH, BATCH, STEPS, RATE = 3, 256, 256, 10_000, 1e-3
HELD_OUT = 5_000  # transitions at most, and a tenth of the data at most, that the error is measured on
REPORT_EVERY = 200
LEAST = 500  # transitions to learn from
SAMPLE = 200_000  # transitions that the scales are found on
VECTORS = ("scale", "offset", "low", "high", "observation_mean", "observation_std")
FALLEN = 0.0  # logit above which an episode counts as ended

Float = NDArray[np.float32]
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Dynamics:
    """Predicts the next state, the reward and the end of an episode.

    Attributes:
        dataset: id of the dataset it was learned from.
        layers: (weight ``[E, in, out]``, bias ``[E, 1, out]``); input is the normalised state and the action, output
            the change of the normalised state, the reward and the logit of a terminal state, in units of ``scale``.
        scale, offset: ``[obs_dim + 1]`` of the changes and the reward; the changes have no offset.
        low, high: ``[obs_dim]`` range of the normalised states in the data; predictions stay inside.
        observation_mean, observation_std: ``[obs_dim]`` normaliser.
        error: share of the variance that is not explained on held-out transitions, for each change and the reward.
    """

    dataset: str
    layers: tuple[tuple[Tensor, Tensor], ...]
    scale: Tensor
    offset: Tensor
    low: Tensor
    high: Tensor
    observation_mean: Tensor
    observation_std: Tensor
    error: tuple[float, ...] = ()

    def normalize(self, observations: Tensor) -> Tensor:
        return (observations - self.observation_mean) / self.observation_std

    def step(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised states ``[B, obs_dim]`` and actions ``[B, act_dim]`` -> next states, rewards and ends ``[B]``."""
        members = len(self.layers[0][0])
        outputs = _forward(self.layers, torch.cat([states, actions], 1).expand(members, -1, -1)).mean(0)
        change = outputs[:, :-1] * self.scale + self.offset
        following = torch.minimum(torch.maximum(states + change[:, :-1], self.low), self.high)
        return following, change[:, -1], outputs[:, -1] > FALLEN


def _forward(layers: tuple[tuple[Tensor, Tensor], ...], inputs: Tensor) -> Tensor:
    for index, (weight, bias) in enumerate(layers):
        inputs = torch.baddbmm(bias, inputs, weight)
        if index < len(layers) - 1:
            inputs = nn.functional.silu(inputs)
    return inputs


def learn_dynamics(
    dataset: OfflineDataset,
    *,
    steps: int = STEPS,
    members: int = MEMBERS,
    width: int = WIDTH,
    seed: int = 0,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> Dynamics:
    """Fit the networks by Adam with a cosine schedule; each member sees batches of its own.

    Raises:
        ObdError: the dataset has no rewards or fewer than 500 transitions.
        Cancelled: ``should_stop`` said so.
    """
    torch.set_num_threads(1)  # the matrices are small, and the bits then do not depend on the number of cores
    dataset.require_rewards()
    if len(dataset) < LEAST:
        raise ObdError(f"The dataset has {len(dataset):,} transitions; a model of the robot needs {LEAST}.")
    source = torch.Generator().manual_seed(seed)

    def transitions(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs, raw changes with rewards, and ends of some transitions; the whole data are never copied."""
        at = rows.numpy()
        states, following = (
            torch.from_numpy(dataset.normalize(part[at])) for part in (dataset.observations, dataset.next_observations)
        )
        changes = torch.cat([following - states, torch.from_numpy(dataset.rewards[at])[..., None]], -1)
        ends = torch.from_numpy(dataset.terminations[at].astype(np.float32))
        return torch.cat([states, torch.from_numpy(dataset.actions[at])], -1), changes, ends

    order = torch.randperm(len(dataset), generator=source)
    held_out, seen = order[: min(HELD_OUT, len(order) // 10)], order[min(HELD_OUT, len(order) // 10) :]
    inputs, changes, _ = transitions(seen[:SAMPLE])
    scale, offset = changes.std(0) + 1e-6, torch.zeros(changes.shape[1])
    offset[-1] = changes[:, -1].mean()

    sizes = (inputs.shape[1], width, width, changes.shape[1] + 1)
    gains = (2**0.5, 2**0.5, 0.5)
    layers = tuple(
        (
            nn.Parameter(torch.randn(members, a, b, generator=source) * gain / a**0.5),
            nn.Parameter(torch.zeros(members, 1, b)),
        )
        for a, b, gain in zip(sizes[:-1], sizes[1:], gains, strict=True)
    )
    optimizer = torch.optim.Adam([tensor for layer in layers for tensor in layer], RATE)
    for step in range(steps):
        if should_stop is not None and should_stop():
            raise Cancelled
        for group in optimizer.param_groups:
            group["lr"] = RATE * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * step / steps)))
        rows = seen[torch.randint(len(seen), (members, BATCH), generator=source)]
        inputs, changes, ends = transitions(rows)
        outputs = _forward(layers, inputs)
        # Contacts make rare large errors: a loss that grows linearly there.  The members do not see each other.
        change = nn.functional.smooth_l1_loss(outputs[..., :-1], (changes - offset) / scale, beta=0.5)
        end = nn.functional.binary_cross_entropy_with_logits(outputs[..., -1], ends)
        optimizer.zero_grad()
        (2 * change + end).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if on_progress is not None and (step + 1) % REPORT_EVERY == 0:
            on_progress(step + 1, steps)
    fixed = tuple((weight.detach().half().float(), bias.detach().half().float()) for weight, bias in layers)
    with torch.no_grad():
        inputs, changes, _ = transitions(held_out)
        wanted = (changes - offset) / scale
        missed = _forward(fixed, inputs.expand(members, -1, -1)).mean(0)[:, :-1] - wanted
        error = missed.square().mean(0) / wanted.var(0).clamp_min(1e-6)
    return Dynamics(
        dataset.id,
        fixed,
        scale,
        offset,
        torch.from_numpy(dataset.normalize(dataset.observations.min(0))),
        torch.from_numpy(dataset.normalize(dataset.observations.max(0))),
        torch.from_numpy(dataset.observation_mean),
        torch.from_numpy(dataset.observation_std),
        tuple(round(float(value), 4) for value in error),
    )


def save_dynamics(path: Path, dynamics: Dynamics) -> None:
    """Write the file atomically; ObdError when the folder cannot be written."""
    tensors = {name: getattr(dynamics, name).contiguous() for name in VECTORS}
    for index, (weight, bias) in enumerate(dynamics.layers):
        tensors |= {f"dynamics.{index}.weight": weight.half(), f"dynamics.{index}.bias": bias.half()}
    metadata = {"format": FORMAT, "dataset": dynamics.dataset, "error": json.dumps(dynamics.error)}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(save(tensors, metadata=metadata))
        os.replace(temporary, path)
    except OSError as error:
        raise ObdError(f"The model of the robot cannot be written to {path}: {error}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def load_dynamics(path: Path) -> Dynamics:
    """Read a file of :func:`save_dynamics`; ObdError when it is missing, damaged or something else."""
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        if metadata.get("format") != FORMAT or not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
            raise ValueError("format")
        count = sum(name.startswith("dynamics.") for name in tensors) // 2
        layers = tuple((tensors[f"dynamics.{i}.weight"], tensors[f"dynamics.{i}.bias"]) for i in range(count))
        if not layers or layers[0][0].shape[1] <= len(tensors["low"]):
            raise ValueError("layers")
        error = tuple(float(value) for value in json.loads(metadata["error"]))
        return Dynamics(metadata["dataset"], layers, **{name: tensors[name] for name in VECTORS}, error=error)
    except (SafetensorError, OSError, KeyError, ValueError, IndexError):
        raise ObdError(
            f"{path.name} is not a model of the robot; make it again with `python -m obd dynamics --dataset ID`."
        ) from None


def own_path(dataset_id: str) -> Path:
    """Where the user's own file for a dataset is; ObdError when that is no name of a dataset."""
    return dynamics_dir() / f"{check_id(dataset_id).replace('/', '_')}.safetensors"


def dynamics_path(dataset_id: str) -> Path | None:
    """The file for a dataset: the user's own, else the shipped one, else None."""
    own = own_path(dataset_id)
    return next((path for path in (own, assets_dir() / "dynamics" / own.name) if path.is_file()), None)
