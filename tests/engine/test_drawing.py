from __future__ import annotations

import numpy as np
import pytest
import torch

from obd.engine.distill import Distiller
from obd.engine.drawing import generator
from tests.helpers import pendulum_dataset, pendulum_teacher, tiny_config

DATA = pendulum_dataset()
TEACHER = pendulum_teacher(DATA)


def test_early_states_are_drawn_in_proportion_to_discounted_time() -> None:
    real = Distiller(tiny_config(early_share=0.5, early_discount=0.9), DATA, TEACHER).real
    times = real.draw(40_000, generator(1)).numpy() % 200  # three episodes of 200 steps
    expected = 0.5 / 200 + 0.5 * 0.9 ** np.arange(200) * 0.1
    share = np.bincount(times, minlength=200) / len(times)
    assert np.allclose(share[:20], expected[:20], rtol=0.15)
    assert share[100:].sum() == pytest.approx(0.25, rel=0.05)
    even = Distiller(tiny_config(early_share=0.0), DATA, TEACHER).real.draw(40_000, generator(1)).numpy()
    assert np.bincount(even, minlength=600).max() < 130


def test_draws_depend_on_the_whole_key() -> None:
    def draw(*key: int) -> float:
        return float(torch.rand(1, generator=generator(*key)))

    assert draw(1, 2, 3) == draw(1, 2, 3)
    assert len({draw(1, 2, 3), draw(1, 2, 4), draw(1, 3, 3), draw(2, 2, 3)}) == 4
