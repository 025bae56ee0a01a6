from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from obd.errors import Cancelled, ObdError
from obd.teachers import teacher_config, train
from obd.teachers.rebrac import ReBRACConfig
from obd.teachers.td3_bc import Learner, TD3BCConfig
from obd.teachers.teacher import load_teacher, save_teacher
from obd.teachers.training import discounted_returns, next_actions
from tests.teachers.conftest import line_dataset

TINY = TD3BCConfig(
    steps=600,
    hidden_width=32,
    batch_size=128,
    actor_rate=3e-3,
    critic_rate=3e-3,
    discount=0.8,
    value_size=10.0,
    final_rate=0.1,
)


def test_learns_to_walk_to_the_reward(tmp_path: Path) -> None:
    dataset = line_dataset()
    reports: list[tuple[int, dict[str, float]]] = []
    teacher = train("td3_bc", dataset, dataclasses.replace(TINY, target_rate=0.02), lambda s, m: reports.append((s, m)))
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
    first, second = train("td3_bc", line_dataset(), config), train("td3_bc", line_dataset(), config)
    other = train("td3_bc", line_dataset(), dataclasses.replace(config, seed=1))
    assert torch.equal(first.actor[0][0], second.actor[0][0]) and not torch.equal(first.actor[0][0], other.actor[0][0])


def test_exported_critics_are_the_trained_ones_in_reward_units() -> None:
    dataset = line_dataset()
    learner = Learner(dataset, TINY)
    for _ in range(5):
        learner.update(1.0)
    states, actions = torch.from_numpy(dataset.observations[:7]), torch.from_numpy(dataset.actions[:7])
    normalized = torch.from_numpy(dataset.normalize(dataset.observations[:7]))
    inside = learner.critic(torch.cat([normalized, actions], 1))[..., 0].amin(0) * learner.data.reward_scale
    torch.testing.assert_close(learner.teacher(5).q(states, actions), inside, rtol=1e-4, atol=1e-5)


def test_only_terminations_stop_the_bootstrap() -> None:
    dataset = line_dataset()
    terminations = np.zeros(len(dataset), np.bool_)
    terminations[3] = True
    discounts = Learner(dataclasses.replace(dataset, terminations=terminations), TINY).data.table[:, -1]
    assert discounts[3] == 0 and (discounts == np.float32(0.8)).sum() == len(dataset) - 1


def test_next_actions_stay_in_their_episode() -> None:
    dataset = line_dataset(episodes=2, steps=3)
    following, known = next_actions(dataset)
    assert known.tolist() == [1, 1, 0, 1, 1, 0]
    np.testing.assert_array_equal(following[[0, 1, 3, 4]], dataset.actions[[1, 2, 4, 5]])


def test_returns_are_discounted_to_the_end_of_the_episode() -> None:
    dataset = line_dataset(episodes=2, steps=3)
    rewards = dataset.rewards
    returns = discounted_returns(dataset, 0.5)
    assert returns[3] == pytest.approx(rewards[3] + 0.5 * rewards[4] + 0.25 * rewards[5])
    assert returns[2] == rewards[2] and returns[5] == rewards[5]


def test_returns_go_on_beyond_a_time_limit_but_not_beyond_a_fall() -> None:
    dataset = line_dataset(episodes=2, steps=3)
    terminations = np.zeros(len(dataset), np.bool_)
    terminations[5] = True
    dataset = dataclasses.replace(dataset, terminations=terminations, truncations=dataset.truncations & ~terminations)
    returns = discounted_returns(dataset, 0.5, continued=True)
    rewards = dataset.rewards
    assert returns[2] == pytest.approx(rewards[2] + 0.5 * rewards[:3].mean() / 0.5)
    assert returns[1] == pytest.approx(rewards[1] + 0.5 * returns[2])
    assert returns[5] == rewards[5]


def test_critic_penalty_lowers_values_of_unseen_actions() -> None:
    config = ReBRACConfig(steps=300, hidden_width=32, hidden_layers=2, batch_size=128, discount=0.8, critic_penalty=0)
    plain = train("rebrac", line_dataset(), config)
    cautious = train("rebrac", line_dataset(), dataclasses.replace(config, critic_penalty=1.0))
    states, actions = torch.zeros(1, 1), torch.zeros(1, 1)
    assert cautious.q(states, actions) < plain.q(states, actions)


def test_seconds_become_steps() -> None:
    config = dataclasses.replace(TINY, steps=None, seconds=1.0, hidden_width=8, batch_size=8)
    teacher = train("td3_bc", line_dataset(), config)
    steps = int(teacher.details["steps"])
    assert steps >= 200 and f'"steps": {steps}' in teacher.details["config"]
    again = train("td3_bc", line_dataset(), dataclasses.replace(config, steps=steps, seconds=None))
    assert torch.equal(again.actor[0][0], teacher.actor[0][0])  # the recorded number reproduces the training


def test_stops_and_refuses() -> None:
    with pytest.raises(Cancelled):
        train("td3_bc", line_dataset(), TINY, should_stop=lambda: True)
    with pytest.raises(ObdError, match="alpha"):
        TD3BCConfig(alpha=-1)
    with pytest.raises(ObdError, match="seconds"):
        TD3BCConfig(seconds=None, steps=None)
    huge = dataclasses.replace(line_dataset(), rewards=np.full(500, 1e30, np.float32))
    with pytest.raises(ObdError, match="diverged"):
        train("td3_bc", huge, dataclasses.replace(TINY, value_size=0.0))


def test_presets() -> None:
    fast, paper = teacher_config("td3_bc"), teacher_config("td3_bc", "paper")
    assert (fast.alpha, fast.seconds, fast.steps) == (20.0, 180.0, None)
    assert (paper.alpha, paper.seconds, paper.steps) == (2.5, None, 1_000_000)
    steady = teacher_config("td3_bc", "steady")
    rates = ("alpha", "actor_rate", "critic_rate", "target_rate")
    assert all(getattr(steady, name) == getattr(paper, name) for name in rates) and steady.seconds == 300
    assert teacher_config("td3_bc", steps=5).seconds is None and teacher_config("iql", seconds=9.0).steps is None
