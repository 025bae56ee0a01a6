"""One simulated step from stored states tells shifted actions, other simulators and false ends."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from obd.data.behaviour import StochasticPolicy
from obd.data.collect import Player, collect_dataset
from obd.data.dataset import OfflineDataset
from obd.data.findings import Report
from obd.errors import Cancelled, ObdError
from obd.insight.resimulate import check_steps, recompute_rewards, sample_rows
from tests.helpers import pendulum_dataset


@pytest.fixture(scope="module")
def hopper() -> OfflineDataset:
    """Random actions; every episode ends with a fall."""
    player = Player(StochasticPolicy(None, 3, 0, 0.0))
    return collect_dataset("test/hopper/random-v0", "Hopper-v5", [player], transitions=300, workers=1)


def checked(dataset: OfflineDataset) -> dict[str, int]:
    report = Report()
    check_steps(dataset, sample_rows(dataset), None, report)
    assert not report.repairs
    return {finding.code: finding.count for finding in report.warnings}


def test_a_true_dataset_passes(hopper: OfflineDataset) -> None:
    assert hopper.terminations.any() and checked(hopper) == {}


@pytest.mark.parametrize("offset", [-1, 1])
def test_shifted_actions_are_told(hopper: OfflineDataset, offset: int) -> None:
    report = Report()
    shifted = dataclasses.replace(hopper, actions=np.roll(hopper.actions, offset, axis=0))
    check_steps(shifted, sample_rows(shifted), None, report)
    (finding,) = report.warnings
    assert finding.code == "shifted_actions"
    assert ("previous" if offset == -1 else "next") in finding.message


def test_scaled_observations_are_told(hopper: OfflineDataset) -> None:
    scaled = dataclasses.replace(
        hopper,
        observations=hopper.normalize(hopper.observations),
        next_observations=hopper.normalize(hopper.next_observations),
    )
    assert list(checked(scaled)) == ["steps_not_reproduced"]


def test_false_ends_are_told(hopper: OfflineDataset) -> None:
    """Time limits marked as terminals: the simulator goes on from there."""
    terminations = np.zeros(len(hopper), np.bool_)
    terminations[hopper.episode_starts + 3] = True
    marked = dataclasses.replace(hopper, terminations=terminations)
    assert list(checked(marked)) == ["terminals_not_reproduced"]


def test_the_pendulum_is_simulated_too() -> None:
    dataset = pendulum_dataset()
    assert checked(dataset) == {}
    np.testing.assert_allclose(recompute_rewards(dataset), dataset.rewards, atol=1e-3)
    shifted = dataclasses.replace(dataset, actions=np.roll(dataset.actions, 1, axis=0))
    assert list(checked(shifted)) == ["shifted_actions"]


def test_environments_without_a_way_back_to_the_state() -> None:
    dataset = dataclasses.replace(pendulum_dataset(), env_id="Reacher-v5")
    assert checked(dataset) == {"steps_not_checked": 1}
    with pytest.raises(ObdError, match="cannot be computed again"):
        recompute_rewards(dataset)


def test_rewards_are_computed_again(hopper: OfflineDataset) -> None:
    rewards = recompute_rewards(hopper)
    # The observation cuts velocities at 10, so a few falling states differ a little.
    assert np.quantile(np.abs(rewards - hopper.rewards), 0.9) < 1e-3
    with pytest.raises(Cancelled):
        recompute_rewards(hopper, should_stop=lambda: True)
