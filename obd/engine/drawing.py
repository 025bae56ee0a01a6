"""Random numbers without a state to keep, and the draw of real states."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from obd.config import DistillConfig
from obd.data.dataset import OfflineDataset
from obd.objectives import OuterTargets


def generator(*key: int) -> torch.Generator:
    """A generator for (seed, step, replica): drawing needs no state, so a resumed run draws the same."""
    words = np.random.SeedSequence(key).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 32 | int(words[1]))


@dataclass(frozen=True)
class RealData:
    """Normalised states ``[M, obs_dim]`` and their targets on the device, and how states are drawn.

    A policy's return depends on the states it visits, discounted: in Theorem 2 of Lei et al. 2024 the expectation is
    over d_pi, which puts a state at time t in proportion to gamma^t.  An offline dataset spreads its states evenly
    over an episode, so the few states in which a robot must start moving hardly count.  Of every batch a share
    ``early_share`` is therefore drawn in proportion to ``early_discount ** t``, the rest evenly.
    """

    states: Tensor
    targets: Tensor
    weights: Tensor | None
    early_share: float
    early_cumulated: Tensor  # [M] float64, on the CPU

    @classmethod
    def build(
        cls, config: DistillConfig, dataset: OfflineDataset, outer: OuterTargets, device: torch.device
    ) -> RealData:
        states = torch.from_numpy(dataset.normalize(dataset.observations))
        weights = None if outer.weights is None else outer.weights.to(device)
        times = np.arange(len(dataset)) - dataset.episode_starts[dataset.episode_index]
        cumulated = torch.from_numpy(np.cumsum(config.early_discount ** times.astype(np.float64)))
        return cls(states.to(device), outer.targets.to(device), weights, config.early_share, cumulated)

    def draw(self, count: int, source: torch.Generator) -> Tensor:
        """Rows of ``count`` states, with replacement, ``[count]``."""
        early = round(self.early_share * count)
        points = torch.rand(early, generator=source, dtype=torch.float64) * self.early_cumulated[-1]
        late = torch.randint(len(self.states), (count - early,), generator=source)
        found = torch.searchsorted(self.early_cumulated, points).clamp_max(len(self.states) - 1)
        return torch.cat([found, late])
