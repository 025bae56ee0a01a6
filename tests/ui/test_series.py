from __future__ import annotations

import numpy as np
import pytest

from obd.ui.series import fitted_extent, linear_extent, log_extent, log_ticks, nice_ceil, nice_floor, smooth, thin


def test_smooth_keeps_constants_and_lags_behind_a_fall() -> None:
    assert smooth(np.full(50, 0.3), 5) == pytest.approx(np.full(50, 0.3))
    falling = np.exp(-np.arange(100) / 20)
    smoothed = smooth(falling, 4)
    assert smoothed[0] == pytest.approx(falling[0])
    assert (smoothed[1:] > falling[1:]).all()
    assert (np.diff(smoothed) < 0).all()


def test_smooth_weighs_a_value_half_after_its_half_life() -> None:
    values = np.ones(200)
    values[100] = np.e
    logs = np.log(smooth(values, 10))
    assert logs[110] / logs[100] == pytest.approx(0.5, rel=1e-3)


def test_smooth_of_nothing_is_nothing() -> None:
    assert len(smooth(np.empty(0), 3)) == 0


def test_thin_keeps_both_ends_and_the_limit() -> None:
    kept = thin(12345, 1000)
    assert len(kept) <= 1000
    assert kept[0] == 0 and kept[-1] == 12344
    assert list(thin(3, 1000)) == [0, 1, 2]


@pytest.mark.parametrize(("value", "floor", "ceil"), [(0.3, 0.2, 0.5), (0.5, 0.5, 0.5), (7.0, 5.0, 10.0), (1, 1, 1)])
def test_nice_numbers(value: float, floor: float, ceil: float) -> None:
    assert nice_floor(value) == pytest.approx(floor)
    assert nice_ceil(value) == pytest.approx(ceil)


def test_log_extent_holds_the_values_and_stands_still_while_a_curve_falls_a_little() -> None:
    low, high = log_extent(np.array([0.42, 0.2]))
    assert low <= 0.2 and high >= 0.42
    assert log_extent(np.array([0.42, 0.11])) == (low, high)


def test_log_extent_survives_bad_values() -> None:
    assert log_extent(np.array([np.nan, -1.0, np.inf])) == (0.01, 1.0)


def test_log_ticks() -> None:
    assert log_ticks(0.05, 1) == pytest.approx([0.05, 0.1, 0.2, 0.5, 1])


def test_linear_extent_rounds_outwards_and_coarsens_for_large_values() -> None:
    assert linear_extent(-3, 46, step=10) == (-10, 50)
    low, high = linear_extent(0, 4000)
    assert low == 0 and high >= 4000 and high < 6000
    assert linear_extent(0, 0)[1] > 0


def test_fitted_extent_lies_around_the_values_wherever_zero_is() -> None:
    assert fitted_extent(-1400, -150) == (-1600, 0, 200)
    assert fitted_extent(0.9, 0.95) == (0.89, 0.96, 0.01)
    for low, high in ((1000.0, 1000.0), (0.0, 0.0), (-3.5, -3.5), (-0.001, 4000.0)):
        start, end, step = fitted_extent(low, high)
        assert ((end - start) / step) == pytest.approx(round((end - start) / step))
        assert start < low and high < end
        assert end - start < 2 * (high - low) + max(0.05 * abs(high), 4.0)
