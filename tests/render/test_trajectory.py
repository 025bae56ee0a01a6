from __future__ import annotations

from typing import ClassVar

import gymnasium
import numpy as np
import pytest

from obd.errors import Cancelled, ObdError
from obd.insight.pose import state_from_observation
from obd.render.trajectory import opening, record


class PictureEnv(gymnasium.Env):
    """Two numbers, one action in [-2, 4], ends after seven steps; its pictures show the step."""

    metadata: ClassVar[dict[str, object]] = {"render_modes": ["rgb_array"], "render_fps": 10}
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Box(np.array([-2.0], np.float32), np.array([4.0], np.float32))

    def __init__(self, render_mode=None):
        self.render_mode = render_mode
        self.step_number = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.step_number = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.step_number += 1
        return np.zeros(2, np.float32), float(action[0]), self.step_number == 7, False, {}

    def render(self):
        return np.full((40, 640, 3), 30 * self.step_number, np.uint8)


class Discrete(PictureEnv):
    action_space = gymnasium.spaces.Discrete(2)


class Unbounded(PictureEnv):
    action_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,))


@pytest.fixture(autouse=True)
def registered():
    classes = {"ObdPictures-v0": PictureEnv, "ObdDiscrete-v0": Discrete, "ObdUnbounded-v0": Unbounded}
    for name, entry in classes.items():
        gymnasium.register(name, entry_point=entry, max_episode_steps=50)
    yield
    for name in classes:
        del gymnasium.registry[name]


class Constant:
    def __init__(self, value):
        self.value = value

    def act(self, observations):
        return np.full((len(observations), 1), self.value)


def test_records_a_mujoco_episode(linear_policy, working_folder):
    policy = linear_policy(17, 6)
    fractions: list[float] = []
    episode = record("HalfCheetah-v5", policy, 3, max_steps=60, on_progress=fractions.append)
    assert len(episode) == 60 and not episode.terminated and episode.has_states
    assert episode.qpos.shape == (61, 9) and episode.qvel.shape == (61, 9) and episode.actions.shape == (60, 6)
    assert episode.frames_per_second == 20 and episode.seconds == 3.0 and episode.frames is None
    for step in (0, 60):
        qpos, qvel = state_from_observation("HalfCheetah-v5", episode.observations[step])
        np.testing.assert_allclose(qpos[1:], episode.qpos[step, 1:], atol=1e-5)
        np.testing.assert_allclose(qvel, episode.qvel[step], atol=1e-4)
    assert episode.total_return == pytest.approx(sum(episode.rewards))
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert list(working_folder.iterdir()) == []

    again = record("HalfCheetah-v5", policy, 3, max_steps=60)
    np.testing.assert_array_equal(again.qpos, episode.qpos)
    assert not np.array_equal(record("HalfCheetah-v5", policy, 4, max_steps=60).qpos, episode.qpos)


def test_a_fall_is_a_termination(linear_policy):
    episode = record("Hopper-v5", linear_policy(11, 3, gain=5.0), 0)
    assert episode.terminated and len(episode) < 500 and episode.frames_per_second == 125


def test_time_to_state():
    episode = record("Pendulum-v1", Constant(0.0), 0)
    assert len(episode) == 200 and not episode.terminated and not episode.has_states
    rate = episode.frames_per_second
    assert [episode.index_at(i / rate) for i in range(0, 200, 7)] == list(range(0, 200, 7))
    assert episode.index_at(1e6) == 200 and episode.index_at(-1.0) == 0


def test_actions_are_scaled_to_the_bounds():
    for value, expected in ((-1.0, -2.0), (0.0, 1.0), (1.0, 4.0), (9.0, 4.0)):
        episode = record("ObdPictures-v0", Constant(value), 0, max_steps=1)
        assert episode.rewards.tolist() == [expected]
        assert np.abs(episode.actions).max() <= 1


def test_keeps_pictures_of_other_environments():
    episode = record("ObdPictures-v0", Constant(0.0), 0)
    assert episode.terminated and len(episode) == 7 and episode.frame_stride == 1
    assert episode.frames is not None and episode.frames.shape == (8, 20, 320, 3)
    assert episode.frames[:, 0, 0, 0].tolist() == [30 * step for step in range(8)]


def test_the_opening_is_where_every_episode_begins(linear_policy):
    start = opening("Hopper-v5", 5)
    episode = record("Hopper-v5", linear_policy(11, 3), 5, max_steps=3)
    np.testing.assert_array_equal(start.qpos[0], episode.qpos[0])
    assert len(start) == 0 and start.actions.shape == (0, 3)


def test_stops_when_asked(linear_policy):
    with pytest.raises(Cancelled):
        record("HalfCheetah-v5", linear_policy(17, 6), 0, should_stop=lambda: True)


@pytest.mark.parametrize(
    ("env_id", "value", "words"),
    [
        ("NoSuchRobot-v0", 0.0, "NoSuchRobot"),
        ("ObdDiscrete-v0", 0.0, "discrete"),
        ("ObdUnbounded-v0", 0.0, "unbounded"),
        ("ObdPictures-v0", np.nan, "NaN"),
        ("HalfCheetah-v5", 0.0, "another environment"),
    ],
)
def test_refuses(env_id, value, words):
    with pytest.raises(ObdError, match=words):
        record(env_id, Constant(value), 0, max_steps=3)
