from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh working directory, where nothing but asked-for files may appear."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_gl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBD_RENDERER", "schematic")


class LinearPolicy:
    """tanh of a fixed random linear map: something definite to watch."""

    def __init__(self, observation_dim: int, action_dim: int, seed: int = 0, gain: float = 1.0) -> None:
        self.weights = gain * np.random.default_rng(seed).normal(size=(observation_dim, action_dim))

    def act(self, observations: np.ndarray) -> np.ndarray:
        return np.tanh(observations @ self.weights)


@pytest.fixture
def linear_policy() -> type[LinearPolicy]:
    return LinearPolicy
