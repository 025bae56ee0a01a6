from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from obd.engine.distill import distill
from obd.engine.drawing import generator
from obd.engine.network import Shape, orthogonal_parameters
from obd.errors import ObdError
from obd.students import (
    ARCHITECTURES,
    OPTIMIZERS,
    SELECTIONS,
    _train_other,
    own_names,
    random_selection,
    schedule,
    selection,
    student_kinds,
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
    for index, own in enumerate(train_students(SET, 2, seed=4)):
        for optimizer in ("recipe", "sgdm"):
            generic = _train_other(SET, generator(4, index), "mlp3", optimizer)
            assert np.allclose(own.act(DATA.observations), generic.act(DATA.observations), atol=1e-4)


def test_other_names_of_the_recipe_give_its_own_students() -> None:
    (own,) = train_students(SET, 1, seed=4)
    for names in (("recipe", "sgdm"), ("mlp3", "recipe"), ("mlp3", "sgdm")):
        (same,) = train_other_students(SET, 1, seed=4, architecture=names[0], optimizer=names[1])
        assert all(np.array_equal(a, b) for a, b in zip(own.weights, same.weights, strict=True))


def test_every_kind_of_student_is_there_once() -> None:
    kinds = student_kinds(SET.recipe)
    assert kinds[0] == own_names(SET.recipe) == ("mlp3", "sgdm")
    assert len(kinds) == len(set(kinds)) == 12 * 4 and not {"recipe"} & {name for kind in kinds for name in kind}
    assert ("mlp2", "adam") in kinds and ("width1024", "sgd") in kinds
    wide = replace(SET.recipe, hidden_width=512)  # one of the widths is the recipe's own
    assert len(student_kinds(wide)) == 11 * 4 and ("width512", "sgd") not in student_kinds(wide)
    odd = replace(SET.recipe, hidden_layers=7, inner_momentum=0.5)
    assert student_kinds(odd)[0] == ("columns1", "recipe") and len(student_kinds(odd)) == 13 * 5


def test_one_rule_for_step_sizes_and_steps() -> None:
    recipe = replace(SET.recipe, step_sizes=(0.2, 0.4, 0.1), inner_steps=80, inner_momentum=0.9, hidden_width=256)
    rates, steps = schedule(recipe, 3, 256, "sgdm")
    assert np.allclose(rates, (0.2, 0.4, 0.1)) and steps == 80
    for layers in (2, 4, 6):
        rates, _ = schedule(recipe, layers, 256, "recipe")
        assert np.isclose(rates.sum(), 0.7) and len(rates) == layers
    rates, steps = schedule(recipe, 3, 64, "sgd")
    assert np.allclose(rates, (0.2, 0.4, 0.1)) and steps == 800
    plain = replace(recipe, inner_momentum=0.0)
    rates, steps = schedule(plain, 3, 256, "sgdm")
    assert np.allclose(rates, (0.02, 0.04, 0.01)) and steps == 80
    rates, steps = schedule(recipe, 6, 1024, "adamw")
    assert np.allclose(rates, 2.5e-4) and steps == 400


def test_students_of_every_kind_stay_stable() -> None:
    spread = float(TEACHER.act(torch.from_numpy(DATA.observations)).var())
    for architecture in ("mlp2", "mlp4", "mlp6", "residual", "width64"):
        for optimizer in ("sgdm", "adam"):
            (student,) = train_other_students(SET, 1, seed=5, architecture=architecture, optimizer=optimizer)
            assert error(student) < spread, (architecture, optimizer)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_architectures(architecture: str) -> None:
    (student,) = train_other_students(SET, 1, architecture=architecture)
    hidden, residual, width, columns = ARCHITECTURES[architecture]
    assert student.weights[0].ndim == (3 if columns > 1 else 2)
    assert len(student.weights) == (hidden or 2) + 1
    assert student.weights[0].shape[-1] == (width or SET.recipe.hidden_width)
    assert student.residual == residual
    assert np.isfinite(student.act(DATA.observations)).all()


def test_optimizers_differ() -> None:
    policies = {name: train_other_students(SET, 1, seed=2, optimizer=name)[0] for name in OPTIMIZERS}
    actions = np.array([policy.act(DATA.observations).ravel() for policy in policies.values()])
    distances = np.abs(actions[:, None] - actions[None]).max(2) + np.eye(len(actions))
    assert distances.min() > 1e-6


def test_a_recipe_of_columns_has_them_as_its_own_students() -> None:
    several = replace(SET, recipe=replace(SET.recipe, columns=4))
    assert own_names(several.recipe) == ("columns4", "sgdm") == student_kinds(several.recipe)[0]
    assert ("mlp3", "sgdm") in student_kinds(several.recipe)  # the single network
    exact = replace(several, card={"settings": {"precision": "highest"}})
    for index, own in enumerate(train_students(exact, 2, seed=4)):
        assert own.weights[0].shape == (4, 3, 16)
        generic = _train_other(exact, generator(4, index), "columns4", "recipe")
        assert np.allclose(own.act(DATA.observations), generic.act(DATA.observations), atol=1e-4)
    (single,) = train_other_students(exact, 1, seed=4, architecture="columns1")
    assert single.weights[0].shape == (3, 16)
    assert np.allclose(single.weights[0], train_students(SET, 1, seed=4)[0].weights[0], atol=1e-4)


def test_columns_act_by_their_mean_and_are_more_alike() -> None:
    def students(columns: int) -> list:
        return train_other_students(SET, 6, seed=1, architecture="recipe" if columns == 1 else f"columns{columns}")

    policy = students(4)[0]
    assert [weight.shape for weight in policy.weights] == [(4, 3, 16), (4, 16, 16), (4, 16, 1)]
    columns = zip(zip(*policy.weights, strict=True), zip(*policy.biases, strict=True), strict=True)
    alone = [replace(policy, weights=weights, biases=biases) for weights, biases in columns]
    mean = np.mean([column.outputs(DATA.observations) for column in alone], axis=0)
    assert np.allclose(policy.act(DATA.observations), np.tanh(mean), atol=1e-6)
    spread = {c: np.std([s.act(DATA.observations) for s in students(c)], axis=0).mean() for c in (1, 4)}
    assert spread[4] < 0.8 * spread[1]
    assert np.mean([error(student) for student in students(4)]) < np.mean([error(student) for student in students(1)])


def test_one_column_of_several_learns_as_it_would_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns that start alike stay alike, and are the student of the recipe."""
    original = orthogonal_parameters

    def alike(shape: Shape, *arguments: object) -> list:
        one = original(replace(shape, replicas=1), *arguments)
        return [(w.expand(shape.replicas, -1, -1).clone(), b.expand(shape.replicas, -1, -1).clone()) for w, b in one]

    monkeypatch.setattr("obd.students.orthogonal_parameters", alike)
    exact = replace(SET, card={"settings": {"precision": "highest"}})  # matrix units would round
    (single,) = train_students(exact, 1, seed=4)
    for optimizer in ("recipe", "sgdm"):
        (wide,) = train_other_students(exact, 1, seed=4, architecture="columns4", optimizer=optimizer)
        assert np.allclose(wide.act(DATA.observations), single.act(DATA.observations), atol=1e-4)


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
