from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from obd.errors import ObdError
from obd.insight.pose import LAYOUTS, set_state, state_from_observation, supports_pose


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo may write MUJOCO_LOG.TXT


@pytest.mark.parametrize("env_id", sorted(LAYOUTS))
def test_inverts_the_real_observation(env_id):
    env = gymnasium.make(env_id, disable_env_checker=True)
    rng = np.random.default_rng(0)
    observation, _ = env.reset(seed=1)
    unwrapped = env.unwrapped
    clip = LAYOUTS[env_id].velocity_clip or np.inf
    for _ in range(25):
        qpos, qvel = state_from_observation(env_id, observation)
        hidden = LAYOUTS[env_id].hidden
        np.testing.assert_allclose(qpos[hidden:], unwrapped.data.qpos[hidden:])
        assert not qpos[:hidden].any()
        np.testing.assert_allclose(qvel, np.clip(unwrapped.data.qvel, -clip, clip))

        observation, *_ = env.step(env.action_space.low + rng.random(env.action_space.shape) * 2)
    # Into the simulator and out again: the same observation.
    unwrapped.set_state(*state_from_observation(env_id, observation))
    state = slice(None, -LAYOUTS[env_id].rest or None)  # contact forces follow from the last step
    np.testing.assert_allclose(unwrapped._get_obs()[state], observation[state])
    env.close()


def test_keeps_leading_dimensions():
    observations = np.arange(2 * 3 * 11, dtype=np.float32).reshape(2, 3, 11)
    qpos, qvel = state_from_observation("Hopper-v5", observations)
    assert qpos.shape == (2, 3, 6) and qvel.shape == (2, 3, 6)
    np.testing.assert_array_equal(np.concatenate([qpos[..., 1:], qvel], axis=-1), observations)


@pytest.mark.parametrize(
    ("env_id", "observation", "words"),
    [
        ("MountainCarContinuous-v0", np.zeros(2), "MountainCarContinuous-v0"),
        ("Pendulum-v1", np.zeros(2), "3 numbers"),
        ("Pendulum-v1", np.array([1.0, np.inf, 0.0]), "infinity"),
        ("Hopper-v5", np.zeros(17), "11 numbers"),
        ("Hopper-v5", np.float64(1.0), "11 numbers"),
        ("Hopper-v5", np.full(11, np.nan), "NaN"),
    ],
)
def test_refuses_what_has_no_pose(env_id, observation, words):
    with pytest.raises(ObdError, match=words):
        state_from_observation(env_id, observation)


def test_inverts_the_observation_of_the_pendulum():
    env = gymnasium.make("Pendulum-v1")
    observation, _ = env.reset(seed=1)
    for _ in range(60):
        qpos, qvel = state_from_observation("Pendulum-v1", observation)
        turns = (env.unwrapped.state[0] - qpos[0]) / (2 * np.pi)
        np.testing.assert_allclose(turns, round(turns), atol=1e-6)
        np.testing.assert_allclose(qvel, env.unwrapped.state[1:], rtol=1e-6)
        set_state(env.unwrapped, qpos, qvel)
        np.testing.assert_allclose(env.unwrapped._get_obs(), observation, atol=1e-6)
        observation, *_ = env.step(np.array([2.0]))
    env.close()
    qpos, qvel = state_from_observation("Pendulum-v1", np.array([[[0.0, 3.0, 1.0], [-0.1, 0.0, 2.0]]]))
    np.testing.assert_allclose(qpos, [[[np.pi / 2], [np.pi]]])  # off the unit circle the direction counts
    np.testing.assert_array_equal(qvel, [[[1.0], [2.0]]])


def test_supports_pose():
    assert supports_pose("Walker2d-v5") and supports_pose("Pendulum-v1")
    assert not supports_pose("MountainCarContinuous-v0")
