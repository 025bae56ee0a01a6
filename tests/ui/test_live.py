from __future__ import annotations

import dataclasses

import pytest

from obd.config import DistillConfig
from obd.data.minari_store import save_minari
from obd.runs.store import create_run
from obd.ui import live, state
from obd.ui.charts import Estimate
from obd.ui.monitor import RunReader, RunView
from tests.helpers import pendulum_dataset, tiny_config


def view(objective: str, losses: list[float]) -> RunView:
    made = RunReader(create_run(DistillConfig(objective=objective)).path).read()
    made.steps, made.losses = list(range(1, len(losses) + 1)), losses
    return made


@pytest.mark.parametrize(("reference", "raw"), [(None, True), ((-1200.0, -150.0), False)])
def test_it_is_known_whether_returns_are_raw_before_anything_is_measured(
    reference: tuple[float, float] | None, raw: bool
) -> None:
    save_minari(dataclasses.replace(pendulum_dataset(), reference_returns=reference), description="", replace=True)
    state.datasets.clear()
    made = RunReader(create_run(tiny_config(objective="dbc")).path).read()
    assert live.raw_returns([made]) is raw
    state.datasets.clear()


def test_the_captions_say_what_the_curves_show() -> None:
    views = [view("dbc", [2.0] + 200 * [1.0]), view("pbc", [0.5] + 200 * [0.6]), view("av_pbc", [])]
    said = live.losses_caption(views, 200)
    assert "DBC −50 %, PBC +20 % " in said and "Av-PBC" not in said
    assert "%" not in live.losses_caption(views[2:], 200)

    points = {"dbc": [Estimate(9.0, 8.0, 10.0, 0), Estimate(2.2, 2.1, 2.3, 5)], "pbc": [Estimate(40, 38, 42, 5)]}
    assert "return DBC 2.2, PBC 40.0 (0 is random, 100 expert" in live.returns_caption(points)
    assert "raw" in live.returns_caption(points, normalised=False)
    assert "−1,300.0" in live.returns_caption({"dbc": [Estimate(-1300.0, -1400.0, -1200.0, 5)]}, normalised=False)
    assert "appear" in live.returns_caption({"dbc": []})
    assert "No students were measured" in live.returns_caption({"dbc": []}, over=True)
    assert not live.raw_returns([])
