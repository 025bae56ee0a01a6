from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from obd.errors import Cancelled, ObdError
from obd.evaluation import rollout_returns, summarize
from obd.policy import EnsemblePolicy, MLPPolicy


def constant_policy(value: float) -> MLPPolicy:
    return MLPPolicy(
        (np.zeros((3, 1), np.float32),), (np.full(1, np.arctanh(value), np.float32),), np.zeros(3), np.ones(3)
    )


def test_processes_and_thread_agree_and_seeds_are_shared() -> None:
    policies = [constant_policy(0.0), constant_policy(0.5), constant_policy(0.0)]
    fractions: list[float] = []
    parallel = rollout_returns("Pendulum-v1", policies, 2, seed=5, max_steps=30, on_progress=fractions.append)
    single = rollout_returns("Pendulum-v1", policies, 2, seed=5, max_steps=30, workers=1)
    assert parallel.shape == (3, 2)
    assert np.array_equal(parallel, single)
    assert np.array_equal(parallel[0], parallel[2]) and not np.array_equal(parallel[0], parallel[1])
    assert parallel[0, 0] != parallel[0, 1]
    assert fractions[-1] == 1.0


def test_a_diverged_student_does_not_break_the_rollout() -> None:
    broken = MLPPolicy((np.full((3, 1), np.nan),), (np.zeros(1),), np.zeros(3), np.ones(3))
    assert np.isfinite(rollout_returns("Pendulum-v1", [broken], 1, max_steps=20, workers=1)).all()


def test_unknown_environment() -> None:
    with pytest.raises(ObdError, match="Nowhere"):
        rollout_returns("Nowhere-v0", [constant_policy(0.0)], 1)


@pytest.mark.parametrize("workers", [1, None])
def test_stopping(workers: int | None) -> None:
    with pytest.raises(Cancelled):
        rollout_returns("Pendulum-v1", [constant_policy(0.0)], 3, workers=workers, should_stop=lambda: True)


def test_summary_of_students() -> None:
    returns = np.array([[0.0, 10.0], [20.0, 30.0], [40.0, 50.0]])
    score = summarize(returns, (0.0, 50.0))
    assert score.normalized_return_mean == pytest.approx(50.0)
    assert score.return_mean == pytest.approx(25.0)
    assert score.normalized_return_std_over_students == pytest.approx(40.0)
    half = 4.30265 * 40 / np.sqrt(3)  # Student's t with two degrees of freedom
    assert score.normalized_return_ci95 == pytest.approx((50 - half, 50 + half), rel=1e-4)
    assert (score.students, score.episodes) == (3, 2)


def test_summary_of_one_policy_uses_its_episodes() -> None:
    score = summarize(np.array([[1.0, 2.0, 3.0]]), None)
    assert score.normalized_return_mean == 2.0
    assert score.normalized_return_ci95[0] < 2 < score.normalized_return_ci95[1]
    assert summarize(np.array([[4.0]]), None).normalized_return_ci95 == (4.0, 4.0)


@pytest.mark.parametrize("students", [1, 3])
def test_without_reference_returns_both_means_are_the_same_number(students: int) -> None:
    for seed in range(20):
        score = summarize(np.random.default_rng(seed).normal(700, 300, (students, 3)), None)
        assert score.return_mean == score.normalized_return_mean


def test_ensemble_is_the_mean_action() -> None:
    ensemble = EnsemblePolicy((constant_policy(0.2), constant_policy(0.6)))
    assert np.allclose(ensemble.act(np.zeros((4, 3))), 0.4)


def test_residual_and_gaussian_networks() -> None:
    weights = (np.eye(2), np.eye(2), np.ones((2, 2)))
    biases = (np.zeros(2), np.zeros(2), np.zeros(2))
    plain = MLPPolicy(weights, biases, np.zeros(2), np.ones(2))
    residual = MLPPolicy(weights, biases, np.zeros(2), np.ones(2), residual=True)
    gaussian = MLPPolicy(weights, biases, np.zeros(2), np.ones(2), head="tanh_gaussian")
    states = np.array([[0.1, 0.2]])
    assert np.allclose(plain.act(states), np.tanh(0.3))
    assert np.allclose(residual.act(states), np.tanh(4 * 0.3))
    assert gaussian.act(states).shape == (1, 1)


PLAYING = """
import multiprocessing, time
from obd.evaluation import rollout_returns
from tests.helpers import pendulum_dataset, pendulum_teacher
policy = pendulum_teacher(pendulum_dataset()).to_policy()
rollout_returns("Pendulum-v1", [policy] * 2, 2, max_steps=3)
print(*[child.pid for child in multiprocessing.active_children()], flush=True)
time.sleep(600)
"""


def alive(process: Path) -> bool:
    try:
        return "\nState:\tZ" not in (process / "status").read_text()
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_workers_end_when_their_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PLAYING], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [Path(f"/proc/{pid}") for pid in parent.stdout.readline().split()]
        assert workers and all(map(alive, workers))
        parent.kill()
    end = time.monotonic() + 60
    while any(map(alive, workers)):
        assert time.monotonic() < end, "workers are left over"
        time.sleep(0.1)
