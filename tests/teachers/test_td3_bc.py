from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from obd.errors import Cancelled, ObdError
from obd.teachers import ALGORITHMS, CONFIGS
from obd.teachers.td3_bc import Learner, TD3BCConfig, next_actions, train
from obd.teachers.teacher import load_teacher, save_teacher
from tests.teachers.conftest import line_dataset

TINY = TD3BCConfig(steps=600, hidden_width=32, batch_size=128, actor_rate=3e-3, critic_rate=3e-3, discount=0.8)


def test_learns_to_walk_to_the_reward(tmp_path: Path) -> None:
    dataset = line_dataset()
    reports: list[tuple[int, dict[str, float]]] = []
    teacher = train(dataset, dataclasses.replace(TINY, target_rate=0.02), lambda s, m: reports.append((s, m)))
    actions = teacher.act(torch.tensor([[-1.0], [1.0]])).flatten()
    assert actions[0] > 0.3 and actions[1] < -0.3  # the data's mean action is 0 everywhere
    states = torch.tensor([[0.0], [1.5]])
    values = teacher.q(states, teacher.act(states))
    assert values[1] < values[0] < 0.5 and values[1] > -1.5 / (1 - 0.8)
    assert reports[-1][0] == 600 and reports[-1][1]["fraction"] == 1
    save_teacher(tmp_path / "t", teacher)
    assert load_teacher(tmp_path / "t").details["steps"] == "600"


def test_same_seed_same_teacher() -> None:
    config = dataclasses.replace(TINY, steps=20)
    first, second = train(line_dataset(), config), train(line_dataset(), config)
    other = train(line_dataset(), dataclasses.replace(config, seed=1))
    assert torch.equal(first.actor[0][0], second.actor[0][0]) and not torch.equal(first.actor[0][0], other.actor[0][0])


def test_exported_critics_are_the_trained_ones_in_reward_units() -> None:
    dataset = line_dataset()
    learner = Learner(dataset, TINY)
    for _ in range(5):
        learner.update(1.0)
    states, actions = torch.from_numpy(dataset.observations[:7]), torch.from_numpy(dataset.actions[:7])
    normalized = torch.from_numpy(dataset.normalize(dataset.observations[:7]))
    inside = learner._values(learner.critic, normalized, actions)[..., 0].amin(0) * learner.reward_scale
    torch.testing.assert_close(learner.teacher(5).q(states, actions), inside.detach(), rtol=1e-4, atol=1e-5)


def test_only_terminations_stop_the_bootstrap() -> None:
    dataset = line_dataset()
    terminations = np.zeros(len(dataset), np.bool_)
    terminations[3] = True
    discounts = Learner(dataclasses.replace(dataset, terminations=terminations), TINY).table[:, -2]
    assert discounts[3] == 0 and (discounts == np.float32(0.8)).sum() == len(dataset) - 1


def test_next_actions_stay_in_their_episode() -> None:
    dataset = line_dataset(episodes=2, steps=3)
    following, known = next_actions(dataset)
    assert known.tolist() == [1, 1, 0, 1, 1, 0]
    np.testing.assert_array_equal(following[[0, 1, 3, 4]], dataset.actions[[1, 2, 4, 5]])


def test_critic_penalty_lowers_values_of_unseen_actions() -> None:
    plain = train(line_dataset(), dataclasses.replace(TINY, steps=300))
    cautious = train(line_dataset(), dataclasses.replace(TINY, steps=300, critic_penalty=1.0))
    states, actions = torch.zeros(1, 1), torch.zeros(1, 1)
    assert cautious.q(states, actions) < plain.q(states, actions)


def test_seconds_become_steps() -> None:
    teacher = train(line_dataset(), dataclasses.replace(TINY, steps=None, seconds=1.0, hidden_width=8, batch_size=8))
    assert int(teacher.details["steps"]) >= 400 and f'"steps": {teacher.details["steps"]}' in teacher.details["config"]


def test_stops_and_refuses() -> None:
    with pytest.raises(Cancelled):
        train(line_dataset(), TINY, should_stop=lambda: True)
    with pytest.raises(ObdError, match="alpha"):
        TD3BCConfig(alpha=-1)
    with pytest.raises(ObdError, match="seconds"):
        TD3BCConfig(seconds=None)
    assert ALGORITHMS["td3_bc"] is train and set(ALGORITHMS) == set(CONFIGS)
