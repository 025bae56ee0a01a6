from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from obd.data.dataset import OfflineDataset


@pytest.fixture(autouse=True)
def full_precision() -> Iterator[None]:
    """Comparisons to five digits need it; trainings set the process-wide precision themselves."""
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision("highest")


def line_dataset(episodes: int = 20, steps: int = 25) -> OfflineDataset:
    """A point on a line, s' = s + 0.2 a, reward -|s'|; actions are random, so imitation alone does nothing useful."""
    generator = np.random.default_rng(0)
    states = np.empty((episodes, steps + 1, 1), np.float32)
    actions = generator.uniform(-1, 1, (episodes, steps, 1)).astype(np.float32)
    states[:, 0] = generator.uniform(-1, 1, (episodes, 1))
    for step in range(steps):
        states[:, step + 1] = states[:, step] + 0.2 * actions[:, step]
    ends = np.zeros((episodes, steps), np.bool_)
    ends[:, -1] = True
    return OfflineDataset(
        id="test/line-v0",
        env_id="Line-v0",
        observations=states[:, :-1].reshape(-1, 1),
        actions=actions.reshape(-1, 1),
        rewards=-np.abs(states[:, 1:]).reshape(-1),
        next_observations=states[:, 1:].reshape(-1, 1),
        terminations=np.zeros(episodes * steps, np.bool_),
        truncations=ends.reshape(-1),
        episode_starts=np.arange(episodes, dtype=np.int64) * steps,
        action_low=-np.ones(1, np.float32),
        action_high=np.ones(1, np.float32),
    )
