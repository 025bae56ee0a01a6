"""The product of a distillation: synthetic pairs together with the training recipe they were distilled for."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from obd.errors import ObdError

Float = NDArray[np.float32]
FORMAT = "obd-distilled-1"

ARRAYS = {"observations": 2, "actions": 2, "observation_mean": 1, "observation_std": 1}  # name -> dimensions


@dataclass(frozen=True)
class Recipe:
    """How a student is trained on the set: T steps of heavy-ball SGD, one step size per layer.

    Each step takes the next block of ``inner_batch`` pairs (0: all pairs).  A student of several ``columns`` is that
    many such networks side by side, whose outputs before the tanh are averaged, trained together on the error of that
    mean with that many times the step sizes.  The distillation unrolls one column alone.
    """

    step_sizes: tuple[float, ...]
    inner_steps: int
    inner_momentum: float
    inner_batch: int
    step_size_decay: bool
    hidden_layers: int
    hidden_width: int
    output_gain: float
    columns: int = 1  # what sets have that were stored before there were any

    @property
    def hidden(self) -> tuple[int, ...]:
        return (self.hidden_width,) * self.hidden_layers


@dataclass(frozen=True)
class DistilledDataset:
    """Synthetic pairs.

    Attributes:
        observations: ``[N, obs_dim]`` raw units.
        actions: ``[N, act_dim]`` regression targets in the scale where the environment's bounds are [-1, 1];
            they may lie slightly outside.
        observation_mean, observation_std: ``[obs_dim]`` normaliser of the source dataset.
        recipe: the training recipe.
        card: source dataset, teacher, objective, settings, scores, versions (JSON-serialisable).
    """

    observations: Float
    actions: Float
    observation_mean: Float
    observation_std: Float
    recipe: Recipe
    card: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.observations)

    @property
    def normalized_observations(self) -> Float:
        return (self.observations - self.observation_mean) / self.observation_std

    def write(self, stream: IO[bytes]) -> None:
        """Write as npz without pickles."""
        np.savez(
            stream,
            observations=self.observations,
            actions=self.actions,
            observation_mean=self.observation_mean,
            observation_std=self.observation_std,
            step_sizes=np.asarray(self.recipe.step_sizes, dtype=np.float64),
            card=np.array(self.card_text()),
        )

    def card_text(self) -> str:
        """Format, recipe and card as one JSON object."""
        return json.dumps({"format": FORMAT, "recipe": recipe_dict(self.recipe), **self.card})

    def to_safetensors(self) -> bytes:
        """The same content as a safetensors file; the card is in its metadata."""
        tensors = {name: np.ascontiguousarray(getattr(self, name)) for name in ARRAYS}
        tensors["step_sizes"] = np.asarray(self.recipe.step_sizes, dtype=np.float64)
        return save(tensors, metadata={"card": self.card_text()})


def recipe_dict(recipe: Recipe) -> dict[str, Any]:
    return {name: getattr(recipe, name) for name in Recipe.__dataclass_fields__}


def load_distilled(path: Path) -> DistilledDataset:
    """Read a file written by :meth:`DistilledDataset.write`; ObdError when it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        card = json.loads(str(arrays["card"]))
        if card.pop("format") != FORMAT:
            raise ValueError("format")
        values = card.pop("recipe")
        recipe = Recipe(**{**values, "step_sizes": tuple(float(x) for x in values["step_sizes"])})
        return DistilledDataset(
            arrays["observations"],
            arrays["actions"],
            arrays["observation_mean"],
            arrays["observation_std"],
            recipe,
            card,
        )
    except FileNotFoundError:
        raise ObdError(f"{path.parent.name} has no distilled set yet; let the run finish or resume it.") from None
    except (KeyError, TypeError, ValueError, OSError, EOFError, zipfile.BadZipFile):
        raise ObdError(f"{path} is damaged; resume the run to write it again.") from None
