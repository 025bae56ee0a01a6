"""The fused learners take the very steps of the plain implementations."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from obd.bench.plain_teachers import PLAIN
from obd.teachers import algorithm, teacher_config
from obd.teachers.networks import Networks
from tests.teachers.conftest import line_dataset

TINY = {"hidden_width": 16, "batch_size": 32, "hidden_layers": 2, "discount": 0.8}


def difference(networks: Networks, modules: list[Any]) -> float:
    """Largest distance between a parameter of ours and its counterpart."""
    distances = []
    for number, module in enumerate(modules):
        flat = [tensor for pair in networks.layers(number) for tensor in pair]
        distances += [float((a - b.detach()).abs().max()) for a, b in zip(flat, module.parameters(), strict=True)]
    return max(distances)


@pytest.mark.parametrize("name", sorted(PLAIN))
@pytest.mark.parametrize("preset", ["fast", "paper"])
def test_same_batches_same_parameters(name: str, preset: str) -> None:
    config = teacher_config(name, preset, steps=6, **TINY)
    learner: Any = algorithm(name).learner(line_dataset(), config)
    plain = PLAIN[name](learner)
    start = learner.critic.flat.detach().clone()
    for _ in range(6):
        learner.update(1.0, False)
        plain.update()
    assert float((learner.critic.flat.detach() - start).abs().max()) > 1e-4
    assert difference(learner.actor, [plain.actor]) < 1e-5
    assert difference(learner.critic, [plain.q1, plain.q2]) < 1e-5
    assert difference(learner.critic_target, [plain.q1_target, plain.q2_target]) < 1e-5
    if name == "iql":
        assert difference(learner.value, [plain.value]) < 1e-5
    if name == "cal_ql":
        torch.testing.assert_close(learner.log_temperature, plain.log_temperature, rtol=1e-5, atol=1e-6)
