from __future__ import annotations

import gymnasium as gym
import numpy as np

from obd.data.pendulum import EPISODE_STEPS, mixed_dataset, move, observe, returns_of, swing_up, wrap


def test_moves_as_gymnasium_does() -> None:
    env = gym.make("Pendulum-v1").unwrapped
    source = np.random.default_rng(0)
    env.reset(seed=0)
    env.state = np.array([2.5, -7.9])
    angle, velocity = np.array(2.5), np.array(-7.9)
    for _ in range(100):
        action = source.uniform(-1, 1)
        observation, reward, *_ = env.step(np.array([2 * action]))
        angle, velocity, own = move(angle, velocity, np.array(action))
        np.testing.assert_allclose(observe(angle, velocity), observation, atol=1e-4)
        np.testing.assert_allclose(own, reward, atol=1e-4)


def test_dataset_is_seeded_whole_and_of_mixed_quality() -> None:
    first, again, other = mixed_dataset(10), mixed_dataset(10), mixed_dataset(10, seed=1)
    assert first.content_hash == again.content_hash != other.content_hash
    assert len(first) == 10 * EPISODE_STEPS == len(first.episode_starts) * EPISODE_STEPS
    assert np.abs(first.actions).max() <= 1
    following = first.observations[1:][~first.truncations[:-1]]
    np.testing.assert_array_equal(first.next_observations[:-1][~first.truncations[:-1]], following)
    players = mixed_dataset().provenance["players"]
    assert players["decent"]["return"] > -400 > -1000 > players["fearful"]["return"]


def test_the_log_contradicts_itself_where_the_pendulum_must_gain_speed() -> None:
    dataset = mixed_dataset()
    cosine, _, velocity = dataset.observations.T
    low = (cosine < -0.5) & (np.abs(velocity) > 0.5)
    along = np.sign(velocity[low]) * dataset.actions[low, 0]  # positive: pumps, negative: brakes
    assert (along > 0.2).mean() > 0.15 and (along < -0.2).mean() > 0.15


def test_returns_start_from_the_same_states_for_every_policy() -> None:
    returns = returns_of(swing_up, episodes=5, policies=2)
    np.testing.assert_array_equal(returns[0], returns[1])
    assert len(set(returns[0])) == 5


def test_wrap() -> None:
    np.testing.assert_allclose(wrap(np.array([np.pi, -np.pi, 3 * np.pi, 0.5])), [-np.pi, -np.pi, -np.pi, 0.5])
