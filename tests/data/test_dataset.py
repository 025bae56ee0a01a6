from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from obd.data import dataset as module
from obd.data.dataset import STD_EPSILON
from tests.helpers import pendulum_dataset


@pytest.mark.parametrize("block", [1, 7, 10_000])
def test_the_normaliser_does_not_depend_on_blocks(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    dataset = dataclasses.replace(pendulum_dataset())  # without what has been computed and kept
    expected = (dataset.observations.std(axis=0, dtype=np.float64) + STD_EPSILON).astype(np.float32)
    assert np.array_equal(dataset.observation_std, expected)
    before = dataset.observations.copy()
    normalized = dataset.normalize(dataset.observations)
    assert np.array_equal(dataset.observations, before)
    assert normalized.dtype == np.float32
    assert np.allclose(normalized.mean(axis=0), 0, atol=1e-5)
    assert np.allclose(dataset.denormalize(normalized), before, atol=1e-5)
