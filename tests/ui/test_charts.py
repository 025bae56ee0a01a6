from __future__ import annotations

import json
from typing import Any

import numpy as np

from obd.ui.charts import (
    BESIDE,
    DASHDOT,
    MAX_POINTS,
    Curve,
    Estimate,
    loss_chart,
    return_axis,
    return_bars,
    return_chart,
)
from obd.ui.theme import ALL_OBJECTIVE_KEYS, STYLES, style


def curve(length: int, objective: str = "pbc") -> Curve:
    return Curve(objective, style(objective).label, np.arange(1, length + 1), 0.3 * np.exp(-np.arange(length) / 200))


def lines(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [series for series in spec["series"] if series["type"] == "line"]


def test_styles_differ_in_colour_and_in_shape() -> None:
    objectives = [STYLES[key] for key in ALL_OBJECTIVE_KEYS]
    for attribute in ("colour", "symbol", "dash", "glyph"):
        assert len({getattr(look, attribute) for look in objectives}) == len(objectives)
    together = (*ALL_OBJECTIVE_KEYS, "random_selection", "teacher", "whole_bc")  # in one picture of returns
    assert len({STYLES[key].colour for key in together}) == len(together)


def test_an_unknown_method_gets_a_neutral_style() -> None:
    assert style("new").label == "new"


def test_loss_chart_has_fixed_axes_no_animation_and_bounded_data() -> None:
    spec = loss_chart([curve(5000)], outer_steps=8000)
    assert spec["animation"] is False
    assert (spec["xAxis"]["min"], spec["xAxis"]["max"]) == (0, 8000)
    assert spec["yAxis"]["type"] == "log"
    raw, smoothed = lines(spec)
    assert len(raw["data"]) <= MAX_POINTS and len(smoothed["data"]) <= MAX_POINTS
    assert smoothed["data"][-1][0] == 5000
    assert raw["lineStyle"]["width"] < smoothed["lineStyle"]["width"]
    assert all(spec["yAxis"]["min"] <= y <= spec["yAxis"]["max"] for _, y in raw["data"])


def test_loss_chart_uses_the_style_of_each_objective() -> None:
    spec = loss_chart([curve(20, key) for key in ALL_OBJECTIVE_KEYS], 100)
    thick = lines(spec)[1::2]
    assert [line["lineStyle"]["color"] for line in thick] == [style(key).colour for key in ALL_OBJECTIVE_KEYS]
    assert [line["lineStyle"]["type"] for line in thick] == ["dotted", "dashed", "solid", DASHDOT]


def test_charts_without_data_are_valid_json() -> None:
    for spec in (
        loss_chart([], 0),
        loss_chart([curve(0)], 0),
        return_chart({}, 0, {}),
        return_chart({}, 0, {}, raw=True),
        return_bars([]),
    ):
        json.dumps(spec, allow_nan=False)


def test_return_chart_draws_whiskers_and_references_inside_its_axis() -> None:
    points = {"pbc": [Estimate(5, 2, 8, 0), Estimate(30, 24, 61, 100)], "dbc": [Estimate(3, -14, 4, 100)]}
    spec = return_chart(points, 100, {"teacher": 46.0, "random_selection": 2.0})
    low, high = spec["yAxis"]["min"], spec["yAxis"]["max"]
    assert low <= -14 and high >= 61
    whiskers = [value for series in lines(spec) if series.get("symbol") == "rect" for _, value in series["data"]]
    assert {24, 61, -14} <= set(whiskers) and "-" in whiskers
    marks = [series["markLine"]["data"][0]["yAxis"] for series in spec["series"] if "markLine" in series]
    assert marks == [46.0, 2.0]
    assert all(0 <= x <= 100 for series in lines(spec) for x, _ in series["data"] if x != "-")


def test_the_axis_of_raw_returns_fits_the_data() -> None:
    points = {"pbc": [Estimate(-1300, -1400, -1200, 0), Estimate(-200, -300, -150, 100)]}
    axis = return_chart(points, 100, {"dataset": -900.0}, raw=True)["yAxis"]
    assert axis["max"] <= 0 and -2000 < axis["min"] < -1400 and axis["name"].startswith("raw return")
    axis = return_axis([0.9, 0.95], raw=True, at_least=40.0)
    assert 0.8 < axis["min"] < 0.9 and 0.95 < axis["max"] < 1.0
    axis = return_axis([0.9, 0.95], at_least=40.0)
    assert (axis["min"], axis["max"]) == (0.0, 40.0)


def test_names_of_reference_lines_stand_beside_the_curves_and_not_on_each_other() -> None:
    def sides(references: dict[str, float]) -> list[str]:
        spec = return_chart({"pbc": [Estimate(16, 14, 18, 100)]}, 100, references)
        assert spec["grid"]["right"] == BESIDE
        labels = [series["markLine"]["label"] for series in spec["series"] if "markLine" in series]
        assert all(label["position"] == "end" for label in labels)  # right of the frame
        return [label["verticalAlign"] for label in labels]

    assert sides({"teacher": 50.7, "random_selection": 15.5}) == ["middle", "middle"]
    assert sides({"teacher": 51.5, "random_selection": 46.0}) == ["bottom", "top"]
    assert sides({"random_selection": 3.0, "teacher": 2.0}) == ["bottom", "top"]
    assert return_chart({}, 100, {})["grid"]["right"] < BESIDE


def test_return_bars_keep_the_order_and_the_values() -> None:
    spec = return_bars([("random_selection", Estimate(2, 1, 3)), ("av_pbc", Estimate(38, 36, 40))])
    assert spec["yAxis"]["data"] == ["Random selection", "Av-PBC"]
    assert [bar["value"] for bar in spec["series"][0]["data"]] == [2, 38]
    assert spec["xAxis"]["max"] >= 40
