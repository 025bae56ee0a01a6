from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from obd.data import density
from obd.data.density import fit_density, gaussian_log_density, held_out_likelihood, state_log_density
from tests.helpers import pendulum_dataset

DATA = pendulum_dataset()


def plain(points: np.ndarray, widths: np.ndarray, state: np.ndarray) -> float:
    """The formula of the module's docstring, in float64 and without tricks."""
    dim = len(state)
    squared = np.square(points.astype(np.float64) - state).sum(1)
    kernels = np.exp(-squared / (2 * widths**2)) / (2 * np.pi * widths**2) ** (dim / 2)
    return float(np.log(kernels.mean()))


def test_the_density_is_the_formula() -> None:
    rng = np.random.default_rng(0)
    points, states = (rng.normal(size=(count, 3)).astype(np.float32) for count in (60, 20))
    fitted = fit_density(points)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    expected = 0.75 * np.sort(distances, axis=1)[:, 10] / np.sqrt(3)
    assert np.allclose(fitted.widths, expected, rtol=1e-4)
    assert np.allclose(fitted.log_density(states), [plain(points, expected, s) for s in states], atol=1e-3)
    without = np.delete(np.arange(60), 7)
    left_out = fitted.log_density(points[7:8], np.array([7]))
    assert left_out[0] == pytest.approx(plain(points[without], expected[without], points[7]), abs=1e-3)


def test_the_density_integrates_to_one() -> None:
    points = np.random.default_rng(1).normal(size=(200, 1)).astype(np.float32)
    grid = np.linspace(-12, 12, 20_001, dtype=np.float32)[:, None]
    mass = np.exp(fit_density(points).log_density(grid).astype(np.float64)).sum() * (grid[1, 0] - grid[0, 0])
    assert mass == pytest.approx(1, abs=0.01)


def test_rare_states_have_a_lower_density(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(density, "REFERENCE", 300)
    found = state_log_density(DATA)
    assert found.shape == (len(DATA),) and np.isfinite(found).all()
    states = DATA.normalize(DATA.observations)
    tenth = np.sort(np.linalg.norm(states[:, None] - states[None], axis=2), axis=1)[:, 10]
    order = tenth.argsort()
    assert found[order[:60]].mean() > found[order[-60:]].mean() + 1
    assert state_log_density(DATA).tobytes() == found.tobytes()
    assert state_log_density(DATA, seed=1).tobytes() != found.tobytes()


def test_repeated_states_do_no_harm() -> None:
    same = replace(DATA, observations=np.repeat(DATA.observations[:2], 300, axis=0))
    assert np.isfinite(state_log_density(same)).all()
    assert all(np.isfinite(value) for value in held_out_likelihood(same).values())


def test_the_gaussian_is_scored_by_its_own_formula() -> None:
    known = np.random.default_rng(2).normal(3, 2, size=(100_000, 1)).astype(np.float32)
    found = gaussian_log_density(known, np.array([[5.0]], np.float32))
    assert found[0] == pytest.approx(-0.5 - np.log(2) - 0.5 * np.log(2 * np.pi), abs=0.02)


def test_kernels_describe_a_curve_better_than_a_gaussian() -> None:
    """Angles on a circle: a Gaussian puts its mass inside, the kernels on the curve."""
    found = held_out_likelihood(DATA)
    assert found["kernels"] > found["gaussian"] + 0.5
    alone = replace(DATA, episode_starts=DATA.episode_starts[:1])
    assert np.isfinite(held_out_likelihood(alone)["kernels"])
