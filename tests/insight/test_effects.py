from __future__ import annotations

import numpy as np
import pytest

from obd.insight.effects import compare, mean_interval, median_interval


def test_effect_sizes_against_a_hand_computation() -> None:
    # Of the 12 pairs: 1 wins none, 2 ties two, 3 and 4 win two each: (0 + 1 + 2 + 2) / 12.
    effect = compare(np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 2.0, 5.0]))
    assert effect.superiority.value == pytest.approx(5 / 12)
    assert effect.cliffs_delta == pytest.approx(-1 / 6)
    assert effect.ratio is not None
    assert effect.ratio.value == pytest.approx(2.5 / 3)
    assert effect.difference.value == pytest.approx(-0.5)
    assert effect.ratio.low < effect.ratio.value < effect.ratio.high
    assert effect.direction == 0


def test_pairs_are_compared_within_themselves() -> None:
    rng = np.random.default_rng(0)
    start = rng.uniform(0, 10, 100)
    effect = compare(start + 0.1, start, paired=True)
    assert effect.superiority.value == 1 and effect.direction == 1
    assert effect.difference.low == pytest.approx(0.1) and effect.difference.high == pytest.approx(0.1)
    loose = compare(start + 0.1, start)
    assert loose.direction == 0 and loose.superiority.value < 0.6


def test_the_interval_has_the_width_that_theory_gives() -> None:
    values = np.random.default_rng(1).normal(5, 2, 400)
    interval = mean_interval(values)
    assert interval.value == pytest.approx(values.mean())
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.15)
    middle = median_interval(values)
    assert middle.low < np.median(values) < middle.high


def test_directions() -> None:
    rng = np.random.default_rng(2)
    reference = rng.normal(1, 0.2, 300)
    assert compare(rng.normal(1.5, 0.2, 50), reference).direction == 1
    assert compare(rng.normal(0.5, 0.2, 50), reference).direction == -1
    assert compare(rng.normal(1.0, 0.2, 50), reference).direction == 0


def test_no_ratio_to_a_reference_that_may_be_zero() -> None:
    rng = np.random.default_rng(3)
    effect = compare(rng.normal(2, 1, 50), rng.normal(0, 1, 50))
    assert effect.ratio is None and effect.direction == 1
    assert effect.difference.low > 0
