"""Gradient matching against plain double backward in float64, and as an objective of a run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from obd.engine import plain
from obd.engine.distill import Distiller, distill
from obd.engine.matching import GradientMatching
from obd.engine.network import Shape, orthogonal_parameters
from obd.engine.unroll import Unroll
from obd.events import Checkpoint, Event, Progress
from obd.students import train_students
from tests.engine.test_unroll import problem, relative_error
from tests.helpers import pendulum_dataset, pendulum_teacher, tiny_config

DATA = pendulum_dataset()
TEACHER = pendulum_teacher(DATA)


def plain_matching(parameters, observations, actions, states, targets, weights):
    """The docstring's formula by ``create_graph``: H and its gradients for one replica."""
    flat = [tensor.detach().clone().requires_grad_() for pair in parameters for tensor in pair]
    pairs = list(zip(flat[::2], flat[1::2], strict=True))
    inputs = [observations.clone().requires_grad_(), actions.clone().requires_grad_()]
    loss = (plain.policy(pairs, inputs[0]) - inputs[1]).square().sum(1).mean()
    synthetic = torch.autograd.grad(loss, flat, create_graph=True)
    errors = (plain.policy(pairs, states) - targets).square().sum(1)
    real = torch.autograd.grad((errors if weights is None else errors * weights).mean(), flat)
    difference = sum((s - r).square().sum() for s, r in zip(synthetic, real, strict=True))
    value = difference / sum(r.square().sum() for r in real)
    return value.detach(), torch.autograd.grad(value, inputs)


@pytest.mark.parametrize("steps", [0, 7])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("batch", [0, 4])
def test_gradients_are_those_of_double_backward(steps: int, weighted: bool, batch: int) -> None:
    shape = Shape(2, size=11, observation_dim=5, action_dim=3, hidden=(8, 7), steps=9, batch=batch)
    data = problem(shape, weighted)
    start = orthogonal_parameters(shape, torch.Generator().manual_seed(1), dtype=torch.float64)
    arguments = (start, data["observations"], data["actions"], data["log_rates"].exp(), steps)
    wanted = (data["states"], data["targets"], data["weights"])
    matching = GradientMatching(shape, momentum=0.9, decay=True, dtype=torch.float64)
    for _ in range(2):  # the second time in used memory
        loss, *gradients = matching.gradients(*arguments, *wanted)

    student = Unroll(shape, momentum=0.9, decay=True, dtype=torch.float64).train(*arguments)
    for r in range(2):
        expected_loss, expected = plain_matching(
            [(w[r], b[r, 0]) for w, b in student],
            data["observations"][r],
            data["actions"][r],
            *(None if value is None else value[r] for value in wanted),
        )
        assert relative_error(loss[r], expected_loss) < 1e-10
        for value, reference in zip(gradients, expected, strict=True):
            assert relative_error(value[r], reference) < 1e-8


def test_the_real_data_match_themselves() -> None:
    shape = Shape(1, size=21, observation_dim=5, action_dim=3, hidden=(8,), steps=2)
    data = problem(shape, weighted=False)
    start = orthogonal_parameters(shape, torch.Generator().manual_seed(1), dtype=torch.float64)
    matching = GradientMatching(shape, momentum=0.0, decay=False, dtype=torch.float64)
    same = (data["states"], data["targets"])
    loss, *gradients = matching.gradients(start, *same, data["log_rates"].exp(), 1, *same, None)
    assert float(loss) < 1e-20 and all(float(g.abs().max()) < 1e-9 for g in gradients)


def test_training_without_keeping_the_path_ends_at_the_same_student() -> None:
    shape = Shape(2, size=6, observation_dim=4, action_dim=2, hidden=(8, 8), steps=9, batch=4)
    data = problem(shape, weighted=False)
    start = orthogonal_parameters(shape, torch.Generator().manual_seed(5), dtype=torch.float64)
    for steps in (0, 4, None):
        students = []
        for keep in (True, False):
            unroll = Unroll(shape, momentum=0.9, decay=True, keep=keep, dtype=torch.float64)
            final = unroll.train(start, data["observations"], data["actions"], data["log_rates"].exp(), steps)
            students.append([tensor.clone() for pair in final for tensor in pair])
        assert all(torch.equal(one, other) for one, other in zip(*students, strict=True))


def test_matching_lowers_the_mismatch_and_teaches_students() -> None:
    """It starts at the data's actions, which are random; the teacher's are known through the gradients only."""
    config = tiny_config(
        objective="gradient_matching",
        size=8,
        steps=150,
        inner_steps=30,
        batch_size=256,
        action_start="data",
        initialisations=8,  # with one the mismatch of a step scatters as much as it falls
    )
    losses: list[float] = []
    result = distill(
        config, DATA, TEACHER, on_event=lambda event: losses.append(event.loss) if isinstance(event, Progress) else None
    )
    assert np.mean(losses[-30:]) < 0.9 * np.mean(losses[:30])
    start = distill(config.replace(steps=1, outer_step_size=1e-6), DATA, TEACHER)
    target = TEACHER.act(torch.from_numpy(DATA.observations)).numpy()

    def error(distilled) -> float:
        students = train_students(distilled, 4, seed=9)
        return sum(float(((student.act(DATA.observations) - target) ** 2).mean()) for student in students)

    assert error(result) < 0.5 * error(start)
    assert result.recipe.step_sizes == pytest.approx((config.inner_step_size,) * 3)  # matching does not see them


@pytest.mark.parametrize("initialisations", [1, 3])
def test_resuming_is_bit_identical(initialisations: int) -> None:
    config = tiny_config(objective="gradient_matching", initialisations=initialisations, density_power=0.1)
    events: list[Event] = []
    whole = distill(config, DATA, TEACHER, on_event=events.append)
    checkpoint = next(e for e in events if isinstance(e, Checkpoint) and 0 < e.step < 12)
    resumed = distill(config, DATA, TEACHER, checkpoint=checkpoint)
    assert resumed.observations.tobytes() == whole.observations.tobytes()
    assert resumed.actions.tobytes() == whole.actions.tobytes()


def test_students_are_met_at_every_stage() -> None:
    distiller = Distiller(tiny_config(objective="gradient_matching", inner_steps=20, initialisations=2), DATA, TEACHER)
    taken = [[distiller._steps_taken(step, replica) for replica in range(2)] for step in range(40)]
    assert {number for pair in taken for number in pair} == set(range(20))
    assert all(abs(early - late) == 10 for early, late in taken)


def test_memory_for_a_long_unroll_is_not_asked_for() -> None:
    """The same sizes are refused for the other objectives (see test_distill)."""
    config = tiny_config(objective="gradient_matching", inner_steps=1000, hidden_width=32)
    distiller = Distiller(config, DATA, TEACHER)
    assert len({id(tensor) for tensor in distiller.matchers[0].student.path}) == 1
