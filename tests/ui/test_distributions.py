from __future__ import annotations

import numpy as np
import pytest

from obd.ui.distributions import Group, density, ridge_chart


def test_density_integrates_to_one_and_peaks_where_the_values_are() -> None:
    values = np.random.default_rng(0).normal(2, 0.5, 2000)
    grid = np.linspace(-1, 5, 400)
    curve = density(values, grid)
    assert float(curve.sum() * (grid[1] - grid[0])) == pytest.approx(1, abs=0.01)
    assert grid[curve.argmax()] == pytest.approx(2, abs=0.15)


def test_rows_from_top_to_bottom_with_their_quantiles() -> None:
    rng = np.random.default_rng(1)
    groups = [Group("data", "Data", rng.normal(0, 1, 500)), Group("pbc", "PBC", rng.normal(3, 1, 200))]
    spec = ridge_chart(groups, "criticality")
    assert spec["yAxis"][0]["data"] == ["Data", "PBC"]
    first, marks, second, _ = spec["series"]
    assert first["areaStyle"]["origin"] > second["areaStyle"]["origin"]
    assert [x for x, _ in marks["data"]] == pytest.approx(np.percentile(groups[0].values, [10, 50, 90]), rel=1e-2)
    heights = [y for _, y in first["data"]]
    assert max(heights) <= 2 and min(heights) >= 1


def test_a_measure_that_never_varies_can_be_drawn() -> None:
    spec = ridge_chart([Group("data", "Data", np.zeros(50)), Group("dbc", "DBC", np.zeros(5))], "x")
    assert np.isfinite([y for series in spec["series"] for _, y in series["data"]]).all()
