from __future__ import annotations

import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from obd.data.behaviour import load_behaviour
from obd.data.collect import Player, collect_dataset, shares
from obd.data.dataset import OfflineDataset
from obd.data.workers import run_parallel
from obd.errors import Cancelled


def collected(path: Path, **changes: object) -> OfflineDataset:
    behaviour = load_behaviour(path)
    players = [Player(policy) for policy in behaviour.snapshots]
    options: dict[str, object] = {"transitions": 300, "workers": 1} | changes
    return collect_dataset("test/a-v0", behaviour.env_id, players, **options)  # type: ignore[arg-type]


def test_shares_are_whole_episodes() -> None:
    assert shares(200_000, [1.0] * 18, 1000) != [] and sum(shares(200_000, [1.0] * 18, 1000)) == 200_000
    assert set(shares(200_000, [1.0] * 18, 1000)) == {11_000, 12_000}
    assert shares(10, [1.0, 1.0], 1000) == [1000, 1000]


def test_transitions_are_the_simulator_s(hopper_behaviour: Path) -> None:
    dataset = collected(hopper_behaviour)
    assert dataset.terminations.sum() + dataset.truncations.sum() == len(dataset.episode_starts)
    assert not (dataset.terminations & dataset.truncations).any()
    inner = np.setdiff1d(np.arange(len(dataset) - 1), dataset.episode_starts[1:] - 1)
    np.testing.assert_array_equal(dataset.next_observations[inner], dataset.observations[inner + 1])
    assert np.abs(dataset.actions).max() <= 1
    # Replaying the first episode's actions from its seed gives its observations and rewards.
    env = gym.make("Hopper-v5", disable_env_checker=True)
    env.reset(seed=int(np.random.default_rng((0, 0, 0)).integers(2**31)))
    for step in range(int(dataset.episode_lengths[0])):
        observation, reward, terminated, _, _ = env.step(dataset.actions[step])
        np.testing.assert_allclose(observation, dataset.next_observations[step], rtol=1e-6)
        assert reward == pytest.approx(dataset.rewards[step], rel=1e-6)
    assert terminated


def test_time_limit_is_a_truncation(tmp_path: Path) -> None:
    from tests.data.conftest import write_behaviour

    path = tmp_path / "behaviour.safetensors"
    write_behaviour(path, "HalfCheetah-v5", 17, 6, snapshots=1)
    dataset = collected(path, transitions=1)
    assert len(dataset) == 1000 and dataset.truncations[-1] and not dataset.terminations.any()


def test_same_bytes_for_any_number_of_workers(hopper_behaviour: Path) -> None:
    alone = collected(hopper_behaviour)
    assert collected(hopper_behaviour, workers=2).content_hash == alone.content_hash
    assert collected(hopper_behaviour, seed=1).content_hash != alone.content_hash


def test_stops_when_asked(hopper_behaviour: Path) -> None:
    for workers in (1, 2):
        with pytest.raises(Cancelled):
            collected(hopper_behaviour, workers=workers, should_stop=lambda: True, transitions=60_000)


def loaded_torch(_number: int, _tick: object, _stopped: object) -> bool:
    import obd.data.simulate  # noqa: F401, what a collecting worker imports

    return "torch" in sys.modules


def test_workers_do_not_load_torch() -> None:
    assert run_parallel(loaded_torch, [(0,), (1,)], total=2, workers=2) == [False, False]
