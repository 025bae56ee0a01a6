from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from obd.bench import playground
from obd.paths import assets_dir
from obd.ui.playground_frame import measured


def test_quick_benchmark_measures_everything_and_stores_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playground, "STUDENTS", 2)
    monkeypatch.setattr(playground, "EPISODES", 2)
    stored = Path(assets_dir() / "benchmarks" / "playground.json").read_bytes()
    said: list[str] = []
    result = playground.run(quick=True, say=said.append, should_stop=lambda: False)
    assert [entry["name"] for entry in result["sets"]] == ["random_selection", "dbc", "pbc", "av_pbc"]
    assert result["teacher"] > -250 > -1000 > result["nothing"]
    assert np.shape(result["points"]) == (16, 3)
    assert said
    assert Path(assets_dir() / "benchmarks" / "playground.json").read_bytes() == stored


def test_the_shipped_set_belongs_to_the_settings_of_the_story() -> None:
    from obd.ui import story

    assert story.SHIPPED == playground.SHIPPED
    assert np.shape(measured()["points"]) == (story.SHIPPED.size, 3)
