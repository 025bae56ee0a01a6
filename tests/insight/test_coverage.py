from __future__ import annotations

import numpy as np
import pytest

from obd.insight.coverage import cover_radius, covered, density_percentile, nearest, neighbour_distance


def line(*places: float) -> np.ndarray:
    """Points on a line in two dimensions; the distance per dimension is that along it divided by the root of 2."""
    return np.stack([np.array(places), np.zeros(len(places))], axis=1)


def test_nearest_with_distances_per_dimension() -> None:
    indices, distances = nearest(line(0.9), line(0, 1, 5), count=2)
    np.testing.assert_array_equal(indices, [[1, 0]])
    np.testing.assert_allclose(distances, [[0.1 / 2**0.5, 0.9 / 2**0.5]], rtol=1e-5)
    assert nearest(line(0), line(1, 2), count=9)[0].shape == (1, 2)


def test_covered_is_what_lies_within_the_radius() -> None:
    data = line(0, 1, 2, 10)
    np.testing.assert_array_equal(covered(line(1), data, 1 / 2**0.5 + 1e-6), [True, True, True, False])


def test_a_random_selection_covers_half_at_its_radius() -> None:
    data = np.random.default_rng(0).normal(size=(1200, 3))
    radius = cover_radius(data, 60)
    others = np.random.default_rng(9).permutation(1200)[:60]
    assert covered(data[others], data, radius).mean() == pytest.approx(0.5, abs=0.08)
    assert cover_radius(data, 5) > radius  # fewer states need a larger one


def test_neighbours_do_not_count_the_point_itself() -> None:
    data = line(0, 1, 3, 7)
    np.testing.assert_allclose(neighbour_distance(data, data, 1) * 2**0.5, [1, 1, 2, 4], rtol=1e-5)
    np.testing.assert_allclose(neighbour_distance(line(0.5), data, 1) * 2**0.5, [0.5], rtol=1e-5)


def test_density_percentile_is_fifty_in_the_middle_and_zero_far_away() -> None:
    data = np.random.default_rng(1).normal(size=(500, 2))
    own = neighbour_distance(data, data)
    percentiles = density_percentile(own, own)
    assert np.median(percentiles) == pytest.approx(50, abs=1)
    far = density_percentile(neighbour_distance(np.full((1, 2), 30.0), data), own)
    centre = density_percentile(neighbour_distance(np.zeros((1, 2)), data), own)
    assert far[0] == 0 and centre[0] > 80
