from __future__ import annotations

import numpy as np
import pytest

from obd.errors import Cancelled
from obd.insight.report import measure_reference, measure_set, measure_states, nearest_originals
from tests.helpers import pendulum_dataset, pendulum_teacher


def test_data_compared_with_itself_show_no_effect() -> None:
    dataset = pendulum_dataset()
    reference = measure_reference(dataset, pendulum_teacher(dataset))
    fractions: list[float] = []
    chosen = dataset.observations[::5]
    report = measure_set(reference, chosen, dataset.actions[::5], chosen, chosen, on_progress=fractions.append)
    for name in ("criticality", "noisy", "sensitivity"):
        assert report.effects[name]["data"].direction == 0
        assert report.effects[name]["start"].superiority.value == 0.5
    assert report.density.low <= 55 and report.density.high >= 45
    assert report.coverage.value == report.start_coverage.value
    assert report.off_balance is None and report.restored is None and "imbalance" not in report.effects
    assert fractions == sorted(fractions) and fractions[-1] == 1


def test_states_where_more_is_at_stake_are_found_more_critical() -> None:
    dataset = pendulum_dataset()
    reference = measure_reference(dataset, pendulum_teacher(dataset))
    order = np.argsort(reference.values["criticality"])
    low, high = reference.observations[order[:40]], reference.observations[order[-40:]]
    report = measure_set(reference, high, np.zeros((40, 1)), low, low)
    assert report.effects["criticality"]["data"].direction == 1
    assert report.effects["criticality"]["start"].superiority.value == 1
    np.testing.assert_allclose(report.values["criticality"], reference.values["criticality"][order[-40:]], rtol=1e-4)


def test_without_a_teacher_density_is_left() -> None:
    dataset = pendulum_dataset()
    reference = measure_reference(dataset, None)
    assert set(measure_states(reference, dataset.observations[:3])) == {"density"}


def test_stops_when_asked() -> None:
    dataset = pendulum_dataset()
    with pytest.raises(Cancelled):
        measure_reference(dataset, pendulum_teacher(dataset), should_stop=lambda: True)


def test_the_nearest_original_of_an_original_is_itself() -> None:
    dataset = pendulum_dataset()
    indices, distances = nearest_originals(dataset, dataset.observations[17], 3)
    assert indices[0] == 17 and distances[0] == 0 and (np.diff(distances) >= 0).all()
