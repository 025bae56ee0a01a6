from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from obd.engine.distill import distill
from obd.errors import ObdError
from obd.students import (
    ARCHITECTURES,
    OPTIMIZERS,
    SELECTIONS,
    random_selection,
    selection,
    train_other_students,
    train_students,
)
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


@pytest.mark.parametrize("kind", SELECTIONS)
def test_a_selection_takes_different_real_states_and_is_reproducible(kind: str) -> None:
    chosen, again = (selection(DATA, tiny_config(size=32), kind, TEACHER, seed=3) for _ in range(2))
    assert np.array_equal(chosen.observations, again.observations) and np.array_equal(chosen.actions, again.actions)
    rows = [np.flatnonzero((DATA.observations == state).all(1)) for state in chosen.observations]
    assert all(len(found) for found in rows) and len(np.unique(chosen.observations, axis=0)) == 32
    expected = TEACHER.act(torch.from_numpy(chosen.observations)).numpy()
    data = np.array([DATA.actions[found[0]] for found in rows])
    assert np.allclose(chosen.actions, expected if kind.endswith("_teacher") else data, atol=1e-5)
    assert chosen.card["objective"] == f"{kind}_selection"
    assert len(train_students(chosen, 1)) == 1


def test_kmeans_covers_the_states_better_than_chance() -> None:
    def farthest(kind: str) -> float:
        points = selection(DATA, tiny_config(size=24), kind, None, seed=1).normalized_observations
        states = DATA.normalize(DATA.observations)
        return float(np.linalg.norm(states[:, None] - points[None], axis=2).min(1).mean())

    assert farthest("kmeans") < 0.9 * farthest("random")


def test_top_q_takes_the_highest_values() -> None:
    chosen = selection(DATA, tiny_config(size=20), "top_q", TEACHER)
    values = TEACHER.q(torch.from_numpy(DATA.observations), torch.from_numpy(DATA.actions)).numpy()
    own = TEACHER.q(torch.from_numpy(chosen.observations), torch.from_numpy(chosen.actions)).numpy()
    assert np.allclose(np.sort(own), np.sort(values)[-20:], atol=1e-5)


def test_selections_of_repeated_states_are_filled_up() -> None:
    same = replace(DATA, observations=np.repeat(DATA.observations[:4], 150, axis=0))
    assert len(selection(same, tiny_config(size=30), "kmeans", None)) == 30


@pytest.mark.parametrize(
    ("kind", "size", "words"),
    [("grid", 8, "Unknown selection"), ("top_q", 8, "needs a teacher"), ("random", 601, "600 transitions")],
)
def test_impossible_selections(kind: str, size: int, words: str) -> None:
    with pytest.raises(ObdError, match=words):
        selection(DATA, tiny_config(size=size), kind, None)
