from __future__ import annotations

import numpy as np
import pytest
import torch

from obd.engine.distill import distill
from obd.errors import ObdError
from obd.students import ARCHITECTURES, OPTIMIZERS, random_selection, train_other_students, train_students
from tests.helpers import pendulum_dataset, pendulum_teacher, tiny_config

DATA = pendulum_dataset()
TEACHER = pendulum_teacher(DATA)
SET = distill(tiny_config(steps=100, size=16, inner_steps=30), DATA, TEACHER)


def error(policy) -> float:
    """Mean squared distance to the teacher over the dataset."""
    target = TEACHER.act(torch.from_numpy(DATA.observations)).numpy()
    return float(((policy.act(DATA.observations) - target) ** 2).mean())


def test_students_learn_the_teacher_from_sixteen_pairs() -> None:
    spread = float(TEACHER.act(torch.from_numpy(DATA.observations)).var())
    students = train_students(SET, 3, seed=7)
    assert all(error(student) < 0.5 * spread for student in students)
    assert not np.array_equal(students[0].weights[0], students[1].weights[0])


def test_students_are_reproducible() -> None:
    first, again = train_students(SET, 2, seed=1), train_students(SET, 2, seed=1)
    assert all(np.array_equal(a.weights[-1], b.weights[-1]) for a, b in zip(first, again, strict=True))


def test_the_generic_trainer_agrees_with_the_recipe() -> None:
    """The same depth and optimizer through autograd and torch.optim give the same students."""
    for own, generic in zip(
        train_students(SET, 2, seed=4), train_other_students(SET, 2, seed=4, architecture="mlp3"), strict=True
    ):
        assert np.allclose(own.act(DATA.observations), generic.act(DATA.observations), atol=1e-4)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_architectures(architecture: str) -> None:
    (student,) = train_other_students(SET, 1, architecture=architecture)
    hidden, residual, width = ARCHITECTURES[architecture]
    assert len(student.weights) == (hidden or 2) + 1
    assert student.weights[0].shape[1] == (width or SET.recipe.hidden_width)
    assert student.residual == residual
    assert np.isfinite(student.act(DATA.observations)).all()


def test_optimizers_differ() -> None:
    policies = {name: train_other_students(SET, 1, seed=2, optimizer=name)[0] for name in OPTIMIZERS}
    actions = np.array([policy.act(DATA.observations).ravel() for policy in policies.values()])
    distances = np.abs(actions[:, None] - actions[None]).max(2) + np.eye(len(actions))
    assert distances.min() > 1e-6


def test_unknown_names() -> None:
    with pytest.raises(ObdError, match="architecture"):
        train_other_students(SET, 1, architecture="transformer")
    with pytest.raises(ObdError, match="optimizer"):
        train_other_students(SET, 1, optimizer="lion")


def test_random_selection_takes_real_pairs() -> None:
    chosen = random_selection(DATA, tiny_config(), seed=3)
    pairs = {tuple(row) for row in np.hstack([DATA.observations, DATA.actions])}
    assert len(chosen) == 8
    assert all(tuple(row) in pairs for row in np.hstack([chosen.observations, chosen.actions]))
