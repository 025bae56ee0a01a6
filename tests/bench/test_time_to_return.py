from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from obd.bench import time_to_return
from obd.config import DistillConfig, usual_preset
from obd.errors import ObdError
from tests.helpers import DATASET, store_pendulum, tiny_config


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The benchmark on Pendulum with tiny settings; the paper "reports" what everybody or nobody reaches."""
    teacher = store_pendulum(tmp_path)

    def config(name: str, seed: int, **changes: Any) -> DistillConfig:
        return tiny_config(teacher, preset=name, seed=seed, snapshots=3)

    monkeypatch.setattr(time_to_return, "settings", config)
    monkeypatch.setattr(time_to_return, "budget_steps", lambda seconds, config: 6)
    monkeypatch.setattr(time_to_return, "assets_dir", lambda: tmp_path)
    monkeypatch.setattr(time_to_return, "STUDENTS", 2)
    monkeypatch.setattr(time_to_return, "EPISODES", 1)
    return tmp_path / "benchmarks" / "time_to_return.json"


def race(monkeypatch: pytest.MonkeyPatch, target: float, preset: str | None = None) -> dict[str, Any]:
    monkeypatch.setattr(time_to_return, "published_returns", lambda env_id, dataset_id: {"av_pbc": target})
    said: list[str] = []
    keywords: dict[str, Any] = {"quick": False, "say": said.append, "should_stop": lambda: False}
    keywords |= {"preset": preset, "seeds": 2}
    result = time_to_return.run(**keywords, datasets=[DATASET])
    assert len(said) == 1
    row: dict[str, Any] = result["rows"][DATASET]
    return row


def test_a_target_that_is_reached_ends_the_run(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = race(monkeypatch, -1e9)
    assert [run["reached"] for run in row["runs"]] == [True, True, True]
    assert [run["outer_steps"] for run in row["runs"]] == [0, 0, 0]
    assert [(run["preset"], run["seed"]) for run in row["runs"]] == [
        (usual_preset(), 0),
        (usual_preset(), 1),
        ("paper", 0),
    ]
    assert row["ratio"] is not None and not row["ratio_is_lower_bound"]
    assert json.loads(small.read_text())["rows"][DATASET] == row
    row = race(monkeypatch, -1e9, "light")
    assert [run["preset"] for run in row["runs"]] == ["light", "light", "paper"]
    assert row["command"].endswith(f"time-to-return --datasets {DATASET} --seconds 1200 --seeds 2 --preset light")


def test_the_ratio_takes_the_median_of_our_runs(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([30.0, 10.0, 20.0, 1000.0])
    monkeypatch.setattr(
        time_to_return, "race",
        lambda config, *_: {"preset": config.preset, "seconds": next(seconds), "reached": config.preset != "paper"},
    )  # fmt: skip
    monkeypatch.setattr(time_to_return, "published_returns", lambda env_id, dataset_id: {"av_pbc": 1.0})
    result = time_to_return.run(quick=False, say=lambda _: None, should_stop=lambda: False, datasets=[DATASET])
    row = result["rows"][DATASET]
    assert row["ratio"] == 50.0 and row["ratio_is_lower_bound"]


def test_a_target_out_of_reach_gives_no_ratio(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = race(monkeypatch, 1e9)
    assert [run["reached"] for run in row["runs"]] == [False, False, False]
    assert [run["outer_steps"] for run in row["runs"]] == [6, 6, 6]
    assert row["ratio"] is None and row["ratio_is_lower_bound"]


def test_a_dataset_without_a_published_return_is_refused() -> None:
    with pytest.raises(ObdError, match="reports no return"):
        time_to_return.run(quick=True, say=print, should_stop=lambda: False, datasets=["mine/walker-v0"])
