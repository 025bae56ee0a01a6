from __future__ import annotations

import numpy as np
import pytest
import torch

from obd.engine import plain
from obd.engine.drawing import generator
from obd.engine.network import orthogonal_parameters
from obd.engine.playground import (
    BATCH,
    FRESH,
    MAX_POINTS,
    MEASURED,
    MOMENTUM,
    OUTPUT_GAIN,
    SPEED_SCALE,
    Playground,
    Problem,
    Settings,
    observations_of,
    student_returns,
)
from obd.errors import ObdError


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem.build()


@pytest.mark.parametrize("objective", ["dbc", "av_pbc"])
def test_gradient_through_the_angle_is_that_of_autograd(objective: str) -> None:
    problem = Problem.build(torch.float64)
    ground = Playground(problem, Settings(objective, size=5, inner_steps=6))
    loss, gradient, by_rate = ground.hypergradient(3)

    points = ground.points.clone().requires_grad_()
    rates = ground.log_rates.clone().requires_grad_()
    rows = torch.randint(len(problem.states), (BATCH,), generator=generator(0, 3, 1))
    weights = problem.weights[objective]
    starts = orthogonal_parameters(ground._unroll.shape, generator(0, 3, 0), OUTPUT_GAIN, torch.float64)
    losses, expected, expected_rate = [], torch.zeros_like(points), torch.zeros_like(rates)
    for replica in range(FRESH):
        start = [(weight[replica], bias[replica, 0]) for weight, bias in starts]
        observations = observations_of(points, problem.mean, problem.std)
        value, (by_observation, by_action, rate) = plain.hypergradient(
            start,
            observations,
            points[:, 2:],
            rates,
            steps=6,
            momentum=MOMENTUM,
            decay=True,
            states=problem.states[rows],
            targets=problem.targets[objective][rows],
            weights=None if weights is None else weights[rows],
        )
        (chained,) = torch.autograd.grad(observations, points, by_observation)
        expected += (chained + torch.cat([torch.zeros(5, 2, dtype=torch.float64), by_action], 1)) / FRESH
        expected_rate += rate / FRESH
        losses.append(float(value))
    assert loss == pytest.approx(np.mean(losses), rel=1e-9)
    torch.testing.assert_close(gradient, expected, rtol=1e-7, atol=1e-11)
    torch.testing.assert_close(by_rate, expected_rate, rtol=1e-7, atol=1e-11)


def test_same_settings_same_bytes(problem: Problem) -> None:
    grounds = [Playground(problem, Settings(size=6, inner_steps=8, seed=seed)) for seed in (0, 0, 1)]
    for ground in grounds:
        for _ in range(5):
            ground.step()
    assert torch.equal(grounds[0].points, grounds[1].points)
    assert not torch.equal(grounds[0].points, grounds[2].points)
    assert len(grounds[0].losses) == grounds[0].steps == 5


def test_points_stay_in_the_picture_and_the_loss_falls(problem: Problem) -> None:
    ground = Playground(problem, Settings("pbc", size=16, inner_steps=20))
    before = ground.points.clone()
    for _ in range(60):
        ground.step()
    assert ground.points[:, :2].abs().max() <= np.pi and ground.points[:, 2].abs().max() < 1
    assert not torch.equal(before, ground.points)
    assert np.mean(ground.losses[-10:]) < 0.8 * np.mean(ground.losses[:5])


def test_hands_add_move_turn_and_delete(problem: Problem) -> None:
    ground = Playground(problem, Settings(size=4, inner_steps=8))
    ground.step()
    student = ground.students()
    ground.move(1, 0.5, -2.0)
    np.testing.assert_allclose(ground.points[1, :2], [0.5, -2.0 / SPEED_SCALE], rtol=1e-6)
    assert not torch.equal(ground.students()[0][0], student[0][0])
    ground.turn(1, 5.0)
    assert float(ground.points[1, 2]) == pytest.approx(0.99)
    ground.add(3.0, 1.0)
    wanted = problem.teacher.actions_at(np.array(3.0), np.array(1.0))
    assert len(ground.points) == 5 and float(ground.points[4, 2]) == pytest.approx(
        np.clip(wanted, -0.99, 0.99), abs=1e-5
    )
    kept = ground.points[[0, 2, 3, 4]].clone()
    ground.delete(1)
    assert torch.equal(ground.points, kept)
    ground.step()  # the sizes still fit


def test_senseless_hands_do_nothing(problem: Problem) -> None:
    ground = Playground(problem, Settings(size=2, inner_steps=2))
    before = ground.points.clone()
    ground.move(7, 0.0, 0.0)
    ground.move(0, float("nan"), 0.0)
    ground.turn(-1, 0.0)
    ground.delete(2)
    ground.add(float("inf"), 0.0)
    assert torch.equal(ground.points, before)
    ground.delete(0)
    ground.delete(0)
    assert len(ground.points) == 1
    for _ in range(MAX_POINTS + 5):
        ground.add(0.1, 0.1, 0.5)
    assert len(ground.points) == MAX_POINTS


def test_adapting_keeps_the_points(problem: Problem) -> None:
    ground = Playground(problem, Settings("dbc", size=6, inner_steps=8))
    ground.step()
    before = ground.points.clone()
    ground.adapt(Settings("pbc", size=9, inner_steps=5))
    assert torch.equal(ground.points[:6], before) and len(ground.points) == 9
    ground.adapt(Settings("pbc", size=3, inner_steps=5))
    assert torch.equal(ground.points, before[:3])
    ground.step()


def test_inner_steps_go_from_nothing_to_the_whole_training(problem: Problem) -> None:
    ground = Playground(problem, Settings(size=4, inner_steps=8))
    none, some, every, whole = (ground.students(inner_steps=t)[0][0] for t in (0, 3, 8, None))
    assert torch.equal(every, whole)
    assert not torch.equal(none, some) and not torch.equal(some, every)


def test_students_of_one_set_differ_by_their_start_only(problem: Problem) -> None:
    ground = Playground(problem, Settings(size=8, inner_steps=8))
    returns = student_returns(ground.students(3, MEASURED), problem, episodes=4)
    again = student_returns(ground.students(3, MEASURED), problem, episodes=4)
    assert returns.shape == (3, 4)
    np.testing.assert_array_equal(returns, again)
    assert len({tuple(row) for row in returns}) == 3


@pytest.mark.parametrize("wrong", [{"size": 0}, {"size": 65}, {"inner_steps": 0}])
def test_settings_out_of_bounds_are_a_sentence(wrong: dict[str, int]) -> None:
    with pytest.raises(ObdError):
        Settings(**wrong)  # type: ignore[arg-type]
