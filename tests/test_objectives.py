from __future__ import annotations

import numpy as np
import pytest
import torch

from obd.config import DistillConfig
from obd.errors import ObdError
from obd.objectives import density_weights, outer_targets, q_weights, run_targets, visitation_weights
from tests.helpers import pendulum_dataset, pendulum_teacher, tiny_config

DATA = pendulum_dataset(1)
TEACHER = pendulum_teacher(DATA)
STATES = torch.from_numpy(DATA.observations)


def test_dbc_imitates_the_data() -> None:
    outer = outer_targets("dbc", DATA, None)
    assert torch.equal(outer.targets, torch.from_numpy(DATA.actions))
    assert outer.weights is None


def test_pbc_imitates_the_teacher() -> None:
    outer = outer_targets("pbc", DATA, TEACHER)
    assert torch.equal(outer.targets, TEACHER.act(STATES))
    assert outer.weights is None


def test_raw_weights_are_those_of_the_paper() -> None:
    outer = outer_targets("av_pbc", DATA, TEACHER, "raw")
    assert outer.weights is not None
    assert torch.allclose(outer.weights, 0.02 * TEACHER.q(STATES, TEACHER.act(STATES)))


def test_shifted_weights_are_positive_have_mean_one_and_keep_the_order() -> None:
    outer = outer_targets("av_pbc", DATA, TEACHER)
    q = TEACHER.q(STATES, TEACHER.act(STATES))
    assert outer.weights is not None
    assert outer.weights.min() > 0
    assert float(outer.weights.mean()) == pytest.approx(1.0, abs=1e-4)
    order = q.argsort()
    assert (outer.weights[order].diff() >= 0).all()


def test_shifted_weights_ignore_a_constant_reward() -> None:
    q = torch.randn(500, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(q_weights(q, "shifted"), q_weights(q + 7, "shifted"), atol=1e-4)


def test_a_constant_critic_gives_equal_weights() -> None:
    assert torch.equal(q_weights(torch.full((5,), 3.0), "shifted"), torch.ones(5))


def test_errors() -> None:
    with pytest.raises(ObdError, match="Unknown objective"):
        outer_targets("sac", DATA, TEACHER)
    with pytest.raises(ObdError, match="needs a teacher"):
        outer_targets("av_pbc", DATA, None)


def test_density_weights_are_the_clipped_power_with_mean_one() -> None:
    log_density = np.array([-40.0, -3.0, -2.0, -1.0, 30.0], np.float32)
    weights = density_weights(log_density, 0.5)
    assert weights.mean() == pytest.approx(1, abs=1e-6)
    assert weights / weights[2] == pytest.approx([10, np.exp(0.5), 1, np.exp(-0.5), 0.1], rel=1e-5)


@pytest.mark.parametrize("objective", ["dbc", "pbc", "av_pbc"])
def test_density_weights_multiply_those_of_every_objective(objective: str) -> None:
    plain, weighted = (
        run_targets(tiny_config(objective=objective, density_power=power), DATA, TEACHER) for power in (0.0, 0.2)
    )
    assert torch.equal(plain.targets, weighted.targets) and weighted.weights is not None
    rare = weighted.weights if plain.weights is None else weighted.weights / plain.weights
    assert float(rare.mean()) == pytest.approx(1, abs=1e-4) and float(rare.std()) > 0.1
    again = run_targets(tiny_config(objective=objective, density_power=0.2), DATA, TEACHER)
    assert again.weights is not None and torch.equal(again.weights, weighted.weights)


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_states_that_the_teachers_actions_led_to_count_more(share: float) -> None:
    data = pendulum_dataset(3)
    rng = np.random.default_rng(0)
    teacher = data.actions + rng.normal(size=data.actions.shape).astype(np.float32) * rng.random((len(data), 1))
    weights = visitation_weights(data, teacher, share)
    assert weights.mean() == pytest.approx(1, abs=1e-3) and weights.min() > 0.09
    assert weights.mean() ** 2 / np.square(weights).mean() == pytest.approx(share, abs=0.02)
    before = []  # mean error of the 20 actions before a state, in the same episode
    for index, first in enumerate(data.episode_starts[data.episode_index]):
        errors = np.square(data.actions - teacher)[max(first, index - 20) : index].mean(1)
        before.append(errors.mean() if len(errors) else 0.0)
    assert (weights[data.episode_starts] == weights.max()).all()
    assert (np.diff(weights[np.argsort(before)]) < 1e-5).all()


def test_data_of_the_teacher_count_alike() -> None:
    assert visitation_weights(DATA, DATA.actions, 0.3) == pytest.approx(np.ones(len(DATA)))


@pytest.mark.parametrize(("size", "share"), [(4, 0.15), (64, 0.25), (128, 0.5), (256, 1.0), (1024, 1.0)])
def test_fewer_pairs_look_after_fewer_states(size: int, share: float) -> None:
    assert tiny_config(size=size).share_of_states == share
    assert tiny_config(size=size, visitation_share=0.7).share_of_states == 0.7
    assert tiny_config(size=size, objective="dbc").share_of_states == 1  # knows no teacher


def test_a_small_run_from_before_the_share_goes_on_without() -> None:
    for size, share in ((8, 1.0), (256, 0.0)):
        stored = tiny_config(size=size).to_dict()
        assert DistillConfig.from_dict(stored).visitation_share == 0
        del stored["visitation_share"]
        assert DistillConfig.from_dict(stored).visitation_share == share


@pytest.mark.parametrize("objective", ["dbc", "pbc", "av_pbc"])
def test_visitation_weights_multiply_those_of_objectives_with_a_teacher(objective: str) -> None:
    plain, weighted = (
        run_targets(tiny_config(objective=objective, visitation_share=share), DATA, TEACHER) for share in (1.0, 0.5)
    )
    assert torch.equal(plain.targets, weighted.targets)
    if objective == "dbc":  # knows no teacher
        assert plain.weights is None and weighted.weights is None
        return
    factor = torch.from_numpy(visitation_weights(DATA, plain.targets.numpy(), 0.5))
    assert weighted.weights is not None
    assert torch.equal(weighted.weights, factor if plain.weights is None else plain.weights * factor)


def test_the_precision_of_targets_does_not_depend_on_who_ran_before() -> None:
    before = torch.get_float32_matmul_precision()
    config = tiny_config(objective="pbc", precision="medium")
    try:
        torch.set_float32_matmul_precision("highest")
        run_targets(config, DATA, TEACHER)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
