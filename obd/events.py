"""What a distillation tells its observer.  No event knows about the user interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # worker processes import this module and must start without torch
    from torch import Tensor


@dataclass(frozen=True)
class Started:
    """The number of outer steps is known (after calibration)."""

    outer_steps: int
    first_step: int = 0


@dataclass(frozen=True)
class Progress:
    """One outer step is done.  ``loss`` is the objective H on this step's real states, before the update."""

    step: int
    outer_steps: int
    loss: float
    gradient_norm: float
    step_sizes: tuple[float, ...]
    seconds: float
    skipped: bool = False


@dataclass(frozen=True)
class Snapshot:
    """The synthetic set after ``step`` outer steps: raw observations ``[N, obs_dim]``, actions ``[N, act_dim]``."""

    step: int
    observations: NDArray[np.float32]
    actions: NDArray[np.float32]
    step_sizes: NDArray[np.float32]


@dataclass(frozen=True)
class Checkpoint:
    """What :func:`obd.engine.distill` continues from, bit for bit."""

    step: int
    tensors: Mapping[str, Tensor]
    seconds: float
    initial_loss: float


@dataclass(frozen=True)
class Finished:
    """All steps are done, or the run was stopped after ``step`` of them."""

    step: int
    outer_steps: int
    seconds: float
    initial_loss: float
    final_loss: float


Event = Started | Progress | Snapshot | Checkpoint | Finished
OnEvent = Callable[[Event], None]
ShouldStop = Callable[[], bool]


def ignore(_event: Any) -> None:
    """An observer that does nothing."""
