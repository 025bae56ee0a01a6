"""The fused learners take the very steps of the plain implementations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from obd.bench.plain_teachers import PLAIN
from obd.teachers import algorithm, teacher_config
from obd.teachers.networks import Networks
from tests.teachers.conftest import line_dataset

TINY: dict[str, Any] = {"hidden_width": 16, "batch_size": 32, "hidden_layers": 2, "discount": 0.8}


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    """Rounding then hides nothing: a wrong gradient shows in the first digits."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def assert_equal(ours: Networks, modules: list[Any]) -> None:
    """Every parameter of ours is its counterpart, to a relative 1e-8."""
    for number, module in enumerate(modules):
        flat = [tensor for pair in ours.layers(number) for tensor in pair]
        torch.testing.assert_close(flat, [tensor.detach() for tensor in module.parameters()], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", sorted(PLAIN))
@pytest.mark.parametrize("preset", ["fast", "paper"])
def test_same_batches_same_parameters(name: str, preset: str) -> None:
    changes = {"best_share": 0.3} if name == "awr" and preset == "fast" else {}
    learner: Any = algorithm(name).learner(line_dataset(), teacher_config(name, preset, steps=6, **TINY, **changes))
    plain = PLAIN[name](learner)
    start = learner.critic.flat.clone()
    for _ in range(6):
        learner.update(1.0, False)
        plain.update()
    assert float((learner.critic.flat - start).abs().max()) > 1e-4
    assert_equal(learner.actor, [plain.actor])
    assert_equal(learner.critic, [plain.q1, plain.q2])
    if name == "awr":
        assert_equal(learner.actor_target, [plain.actor_target])
    else:
        assert_equal(learner.critic_target, [plain.q1_target, plain.q2_target])
    if name in ("iql", "awr"):
        assert_equal(learner.value, [plain.value])
    if name == "cal_ql":
        assert learner.temperature.value == pytest.approx(float(plain.log_temperature.detach()), rel=1e-8)


def test_cal_ql_does_not_depend_on_the_unit_of_rewards() -> None:
    """``value_size`` is a change of units: penalty and calibration follow from it exactly."""
    learners: list[Any] = []
    for size in (0.0, 7.0):
        config = teacher_config("cal_ql", "paper", steps=2, value_size=size, **TINY)
        learner: Any = algorithm("cal_ql").learner(line_dataset(), config)
        for tensor in (learner.critic.weights[-1], learner.critic.biases[-1]):
            tensor.mul_(learner.unit)  # the same critics in the other unit
        learner.critic_target.flat.copy_(learner.critic.flat)
        learner.update(1.0, False)
        learners.append(learner)
    raw, scaled = learners
    assert raw.unit == 1 != scaled.unit
    last = raw.critic.weights[-1].numel() + raw.critic.biases[-1].numel()
    factors = torch.full_like(raw.critic.gradient, scaled.unit**2)  # of the loss
    factors[-last:] /= scaled.unit  # the last layer's parameters are in the other unit themselves
    expected = raw.critic.gradient * factors
    torch.testing.assert_close(scaled.critic.gradient, expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max()))
