from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from obd.errors import Cancelled
from obd.teachers.behaviour_cloning import BCConfig, clone_behaviour, split_rows
from tests.teachers.conftest import line_dataset

TINY = BCConfig(steps=400, batch_size=64, hidden_width=32, check_every=20, patience=5, precision="highest")


def test_clones_a_deterministic_behaviour() -> None:
    dataset = line_dataset()
    dataset = dataclasses.replace(dataset, actions=np.tanh(-2 * dataset.observations))
    result = clone_behaviour(dataset, TINY)
    error = np.abs(result.policy.act(dataset.observations) - dataset.actions).mean()
    assert error < 0.1 and result.best_loss == min(entry["validation_loss"] for entry in result.curve)
    assert result.curve[0]["validation_loss"] > result.best_loss
    again = clone_behaviour(dataset, TINY)
    np.testing.assert_array_equal(again.policy.weights[0], result.policy.weights[0])


def test_stops_early_on_noise_and_keeps_the_best() -> None:
    dataset = line_dataset(episodes=5)
    reports: list[int] = []
    result = clone_behaviour(dataset, dataclasses.replace(TINY, steps=5000), lambda step, _: reports.append(step))
    assert result.stopped_early and result.last_step == result.best_step + 100 < 5000
    _, held = split_rows(dataset, 0.1, np.random.default_rng(0))
    kept = np.square(result.policy.act(dataset.observations[held]) - dataset.actions[held]).mean()
    assert kept == pytest.approx(result.best_loss, rel=1e-3) and result.last_loss > result.best_loss
    assert reports == [int(entry["step"]) for entry in result.curve]


def test_whole_episodes_are_held_out() -> None:
    dataset = line_dataset(episodes=20)
    training, held = split_rows(dataset, 0.1, np.random.default_rng(0))
    assert len(set(dataset.episode_index[held])) == 2 and len(training) + len(held) == len(dataset)
    assert not set(dataset.episode_index[held]) & set(dataset.episode_index[training])
    training, held = split_rows(line_dataset(episodes=1), 0.1, np.random.default_rng(0))
    assert held.min() > training.max()


def test_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    clone_behaviour(line_dataset(), dataclasses.replace(TINY, steps=5))
    assert torch.equal(before, torch.random.get_rng_state())


def test_can_be_stopped() -> None:
    with pytest.raises(Cancelled):
        clone_behaviour(line_dataset(), TINY, should_stop=lambda: True)
