from __future__ import annotations

import numpy as np
import pytest
import torch

from obd.engine.distill import as_distilled
from obd.errors import Cancelled
from obd.events import Snapshot
from obd.insight.imagination import SEED, STUDENTS, choose, choose_snapshot, imagined_returns, start_states
from obd.students import train_students
from obd.teachers.dynamics import learn_dynamics
from tests.helpers import cart, tiny_config


def pushing(step: int, action: float) -> Snapshot:
    """A set that says: always push this much."""
    states = np.random.default_rng(step).normal(size=(8, 2)).astype(np.float32)
    return Snapshot(step, states, np.full((8, 1), action, np.float32), np.full(3, 0.1, np.float32))


def test_imagined_returns_are_those_of_a_plain_loop() -> None:
    data, config = cart(), tiny_config(dataset="test/cart-v0")
    model = learn_dynamics(data, steps=300, members=2, width=16)
    policies = train_students(as_distilled(config, data, pushing(3, 0.4), {}), 2, 5)
    starts = start_states(data, 6)
    assert starts.shape == (6, 2) and np.array_equal(starts, start_states(data, 6))
    found = imagined_returns(model, policies, starts, 15)
    for policy, sums in zip(policies, found, strict=True):
        for start, total in zip(starts, sums, strict=True):
            state, expected = model.normalize(torch.from_numpy(start[None])), 0.0
            for _ in range(15):
                raw = data.denormalize(state.numpy())
                state, reward, ended = model.step(state, torch.from_numpy(policy.act(raw)))
                expected += float(reward)
                if bool(ended):
                    break
            assert total == pytest.approx(expected, rel=1e-3, abs=1e-3)
    assert imagined_returns(model, policies, starts, 15).tolist() == found.tolist()


def test_the_snapshot_whose_students_do_best_is_chosen() -> None:
    data, config = cart(), tiny_config(dataset="test/cart-v0")
    model = learn_dynamics(data, steps=300, members=2, width=16)
    # The reward is the speed: who pushes earns most.  The first steps are no candidates.
    snapshots = [pushing(0, 0.9), pushing(1, 0.9), pushing(10, -0.5), pushing(20, 0.8), pushing(40, 0.1)]
    choice = choose_snapshot(model, data, config, snapshots)
    assert choice.snapshot.step == 20 and list(choice.imagined) == [10, 20, 40]
    assert choice.imagined[20] > choice.imagined[40] > choice.imagined[10]
    assert choose_snapshot(model, data, config, snapshots).imagined == choice.imagined
    with pytest.raises(Cancelled):
        choose_snapshot(model, data, config, snapshots, lambda: True)


def test_within_a_standard_error_the_later_set_is_taken() -> None:
    noise = np.array([-4.0, 4.0] * (STUDENTS // 2))  # standard error 1.5
    returns = np.stack([100 + noise, 102 + noise, 101 + noise, 100 + noise])
    assert choose(returns) == 2
    returns[3] += 0.9
    assert choose(returns) == 3
    assert choose(returns[:1]) == 0


def test_no_measurement_sees_the_students_and_starts_that_decide() -> None:
    from obd.runs.execute import EVALUATION_SEED
    from obd.runs.teaching import FINAL_SEED, LIVE_SEED

    assert len({SEED, EVALUATION_SEED, LIVE_SEED, FINAL_SEED}) == 4
