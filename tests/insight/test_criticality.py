from __future__ import annotations

import numpy as np
import pytest
import torch

from obd.errors import Cancelled, ObdError
from obd.insight.criticality import UsualPosture, criticality, imbalance, sensitivity, value_scale, visited
from obd.insight.pose import torso
from obd.insight.transition import restores_balance, step_from
from obd.teachers.teacher import Teacher
from tests.helpers import random_layers

CHEETAH = "HalfCheetah-v5"


class Bowl:
    """pi* = 0 and q*(s, a) = -s_0 |a|^2: how much a mistake costs is the state's first number."""

    def act(self, observations: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(observations), 3)

    def q(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        return -observations[:, 0] * actions.square().sum(dim=1)


def test_criticality_of_a_teacher_with_a_known_answer() -> None:
    states = np.array([[0.0, 9.0], [1.0, 9.0], [5.0, -3.0]], np.float32)
    # The mean of a^2 is 1/3 for uniform actions in [-1, 1] and 0.3^2 for the noise, times three actions.
    np.testing.assert_allclose(criticality(Bowl(), states, 2.0), [0.0, 0.5, 2.5], rtol=0.03)
    np.testing.assert_allclose(criticality(Bowl(), states, 2.0, noisy=True), [0.0, 0.135, 0.675], rtol=0.15)


def test_scale_is_the_spread_of_q_over_the_data() -> None:
    states, actions = np.array([[1.0], [3.0]]), np.array([[1.0, 0, 0], [1.0, 0, 0]])
    assert value_scale(Bowl(), states, actions) == pytest.approx(1.0)
    assert value_scale(Bowl(), states, 0 * actions) == 1.0  # a constant critic: nothing to divide by


def test_criticality_stops_when_asked() -> None:
    with pytest.raises(Cancelled):
        criticality(Bowl(), np.ones((2, 2)), 1.0, should_stop=lambda: True)


@pytest.mark.parametrize("head", ["tanh", "tanh_gaussian"])
def test_sensitivity_is_the_norm_of_the_jacobian(head: str) -> None:
    outputs = 2 if head == "tanh" else 4
    std = torch.tensor([1.0, 2.0, 0.5])
    teacher = Teacher(
        env_id="x",
        algorithm="x",
        actor=random_layers(3, 8, 8, outputs),
        critics=(random_layers(5, 4, 1),),
        observation_mean=torch.zeros(3),
        observation_std=std,
        head=head,  # type: ignore[arg-type]
    )
    state = np.array([[0.3, -0.7, 0.2]])
    step, columns = 1e-2, []
    for k in range(3):
        move = np.zeros((1, 3))
        move[0, k] = step * float(std[k])
        ahead, behind = (teacher.act(torch.tensor(state + sign * move, dtype=torch.float32)) for sign in (1, -1))
        columns.append(((ahead - behind) / (2 * step)).numpy()[0])
    assert sensitivity(teacher, state)[0] == pytest.approx(float(np.linalg.norm(columns)), rel=1e-3)


def test_imbalance_counts_half_widths_beyond_the_usual() -> None:
    usual = UsualPosture(np.array([-0.1, -0.5]), np.array([0.1, 0.5]))
    states = np.zeros((4, 17))
    states[1, 1] = 1.0  # pitch, half a radian beyond
    states[2, 0] = -0.4  # height, three half-widths beyond
    states[3, 1] = 2 * np.pi  # once around is upright again
    np.testing.assert_allclose(imbalance(CHEETAH, states, usual), [0, 1, 3, 0], atol=1e-9)


def test_usual_posture_holds_the_middle_of_what_was_seen() -> None:
    states = np.zeros((1001, 17))
    states[:, 1] = np.linspace(-1, 1, 1001)
    usual = UsualPosture.of(CHEETAH, states)
    np.testing.assert_allclose(usual.low[1], -0.95, atol=1e-6)
    np.testing.assert_allclose(usual.high[1], 0.95, atol=1e-6)


def test_a_robot_without_a_torso_is_a_sentence() -> None:
    with pytest.raises(ObdError, match="Pendulum-v1 has no torso"):
        torso("Pendulum-v1", np.zeros((1, 3)))


class Still:
    """No force at all."""

    def act(self, observations: np.ndarray) -> np.ndarray:
        return np.zeros((len(observations), 1))


def test_visited_states_are_those_of_whole_episodes() -> None:
    states = visited("Pendulum-v1", Still(), episodes=2)
    assert states.shape == (400, 3)
    assert not np.array_equal(states[0], states[200])
    with pytest.raises(Cancelled):
        visited("Pendulum-v1", Still(), should_stop=lambda: True)


def test_one_step_is_the_step_of_the_simulator() -> None:
    import gymnasium

    env = gymnasium.make("Hopper-v5", disable_env_checker=True)
    before, _ = env.reset(seed=3)
    action = np.array([0.5, -0.2, 0.9])
    expected = env.step(action)[0]
    env.close()
    after = step_from("Hopper-v5", np.stack([before, before]), np.stack([action, 3 * action]))
    np.testing.assert_allclose(after[0], expected, atol=1e-6)
    np.testing.assert_allclose(after[1], step_from("Hopper-v5", before[None], np.clip(3 * action, -1, 1)[None])[0])
    with pytest.raises(ObdError, match="MountainCarContinuous-v0"):
        step_from("MountainCarContinuous-v0", np.zeros((1, 2)), np.zeros((1, 1)))


def test_one_step_of_the_pendulum() -> None:
    import gymnasium

    env = gymnasium.make("Pendulum-v1")
    before, _ = env.reset(seed=3)
    expected = env.step(np.array([1.0], np.float32))[0]
    env.close()
    np.testing.assert_allclose(step_from("Pendulum-v1", before[None], np.array([[0.5]]))[0], expected, atol=1e-5)


def test_only_an_action_that_brings_the_robot_back_restores_balance() -> None:
    """A cheetah tipped forwards: of two opposite pushes of the legs, one is better than chance and one is worse."""
    usual = UsualPosture(np.array([-1.0, -0.05]), np.array([1.0, 0.05]))
    states = np.zeros((6, 17))
    states[:, 1] = 0.1 + 0.02 * np.arange(6)
    push = np.ones((6, 6))
    one, other = (restores_balance(CHEETAH, states, sign * push, usual) for sign in (1, -1))
    assert one is not None and other is not None
    assert (one.value - 0.5) * (other.value - 0.5) < 0
    assert restores_balance(CHEETAH, np.zeros((6, 17)), push, usual) is None  # all usual: nothing to restore
