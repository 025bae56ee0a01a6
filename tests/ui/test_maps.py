from __future__ import annotations

import base64

import numpy as np
import pytest

from obd.ui.maps import Axes, Colouring, Figures, MovingSet, colour_range, map_data, outside, rim_share, time_line


def decode(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4")


def moving(objective: str, steps: list[int], count: int = 3, dimensions: int = 2) -> MovingSet:
    return MovingSet(objective, steps, [np.full((count, dimensions), float(step)) for step in steps])


def test_axes_hold_the_data_whatever_the_snapshots_do() -> None:
    original = np.array([[0.0, 0.0], [10.0, 20.0]])
    now = map_data(original, [moving("pbc", [0])], "pbc", identity="a", axes=["x", "y"], colouring=None, alt="m")
    later = map_data(original, [moving("pbc", [0, 99])], "pbc", identity="a", axes=["x", "y"], colouring=None, alt="m")
    assert later["points"] == now["points"] and later["view"] == now["view"]
    placed = decode(now["points"])
    assert np.abs(placed).max() < 1 and placed.min() == pytest.approx(-placed.max())
    assert outside(original, np.array([[5.0, 5.0], [99.0, 5.0]])) == 1


def test_a_set_that_lags_behind_stays_where_it_was() -> None:
    sets = [moving("dbc", [0, 4, 8]), moving("pbc", [0, 4])]
    assert time_line(sets) == [0, 4, 8]
    data = map_data(np.eye(2), sets, "dbc", identity="a", axes=[], colouring=None, alt="m")
    assert [entry["key"] for entry in data["sets"]] == ["pbc", "dbc"]  # the one in front is drawn last
    assert [entry["front"] for entry in data["sets"]] == [False, True]
    behind = decode(data["sets"][0]["frames"]).reshape(3, 3, 2)
    np.testing.assert_array_equal(behind[2], behind[1])
    assert len({(entry["colour"], entry["symbol"]) for entry in data["sets"]}) == 2


def test_a_long_time_line_keeps_both_ends() -> None:
    steps = time_line([moving("dbc", list(range(0, 1000, 3)))])
    assert len(steps) <= 60 and steps[0] == 0 and steps[-1] == 999


def test_three_dimensions_and_colours() -> None:
    original = np.random.default_rng(0).normal(size=(50, 3))
    colouring = Colouring("q*", np.linspace(-100, 300, 50))
    sets = [moving("av_pbc", [0, 1], 4, 3)]
    data = map_data(original, sets, "av_pbc", identity="b", axes=["1", "2", "3"], colouring=colouring, alt="m")
    assert data["dimensions"] == 3 and decode(data["sets"][0]["frames"]).size == 2 * 4 * 3
    assert decode(data["values"]).size == 50
    assert data["scale"]["lowText"] == "−92" and data["scale"]["name"] == "q*"
    tiny = Colouring("criticality", np.linspace(-0.003, 0.16, 50))
    data = map_data(original, sets, "av_pbc", identity="b", axes=["1", "2", "3"], colouring=tiny, alt="m")
    assert data["scale"]["lowText"] == "0.00"


def test_axes_of_one_place() -> None:
    assert np.isfinite(Axes.of(np.zeros((3, 2))).place(np.zeros((1, 2)))).all()


def test_colour_range_ignores_extremes_and_constants() -> None:
    values = np.concatenate([np.linspace(0, 1, 999), [1e6]])
    assert colour_range(values)[1] < 2
    low, high = colour_range(np.full(10, 4.0))
    assert low < 4 < high


def test_the_share_of_points_at_the_rim_counts_in_the_data_s_own_units() -> None:
    generator = np.random.default_rng(0)
    original = generator.normal(size=(2000, 2)) * [1.0, 50.0] + [3.0, -7.0]
    assert rim_share(original, original) == pytest.approx(0.05, abs=0.001)
    inside = original.mean(axis=0)
    out = inside + np.array([4.0, 0.0])
    assert rim_share(original, np.stack([inside, out, inside, out])) == 0.5
    assert rim_share(original, inside[None] + np.array([0.0, 60.0])) == 0.0  # little along the wide axis


def test_side_views_travel_as_millimetres() -> None:
    ends = np.zeros((3, 2, 4), dtype=np.float32)
    ends[1, 0] = [-0.5, 0.1, 0.25, 1.2345]
    moved = MovingSet("pbc", [0], [np.zeros((3, 2))], Figures(ends, np.array([0.05, 0.02])))
    data = map_data(np.eye(2), [moved], "pbc", identity="x", axes=[], colouring=None, alt="")
    sent = data["sets"][0]["figures"]
    assert np.frombuffer(base64.b64decode(sent["ends"]), "<i2").reshape(3, 2, 4)[1, 0].tolist() == [
        -500,
        100,
        250,
        1234,
    ]
    assert sent["radii"] == [0.05, 0.02] and sent["side"] > 0.4 and sent["top"] > 1.1
