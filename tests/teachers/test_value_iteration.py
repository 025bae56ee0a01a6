from __future__ import annotations

import numpy as np
import torch

from obd.data.pendulum import observe, returns_of
from obd.teachers.value_iteration import pendulum_teacher, value_grid


def test_the_teacher_swings_up() -> None:
    returns = returns_of(pendulum_teacher().actions_at, episodes=40)
    assert returns.min() > -450 and returns.mean() > -250
    nothing = returns_of(lambda angle, _: np.zeros_like(angle), episodes=40)
    assert nothing.mean() < -1000


def test_values_solve_the_bellman_equation_and_mirror() -> None:
    value, one_more = value_grid(24, 17, 5, sweeps=400), value_grid(24, 17, 5, sweeps=401)
    assert np.abs(one_more - value).max() < 1e-3
    mirrored = np.roll(value[::-1, ::-1], 1, axis=0)  # angle -> -angle, velocity -> -velocity
    np.testing.assert_allclose(value, mirrored, atol=1e-6)


def test_the_action_is_nearly_the_best_and_q_is_its_value() -> None:
    teacher, source = pendulum_teacher(), np.random.default_rng(0)
    angle, velocity = source.uniform(-3, 3, 50), source.uniform(-7, 7, 50)
    observations = torch.from_numpy(observe(angle, velocity))
    actions = teacher.act(observations)
    q = teacher.q(observations, actions).numpy()
    best = teacher.q_values(angle[:, None], velocity[:, None], np.linspace(-1, 1, 41)).max(1)
    assert (best - q < 0.5).all()
    assert actions.shape == (50, 1) and actions.abs().max() <= 1
