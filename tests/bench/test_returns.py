from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import imageio.v2
import numpy as np
import pytest
from PIL import Image

from obd.bench import baselines, returns, showcase
from obd.config import DistillConfig
from obd.errors import ObdError
from tests.helpers import DATASET, pendulum_dataset, store_pendulum, tiny_config


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The benchmarks on Pendulum with tiny settings, writing to a folder of the test; returns that folder."""
    teacher = store_pendulum(tmp_path)

    def config(**changes: Any) -> DistillConfig:
        return tiny_config(
            teacher, **{name: changes[name] for name in ("objective", "seed", "steps") if name in changes}
        )

    monkeypatch.setattr(showcase, "DistillConfig", config)
    monkeypatch.setattr(returns, "DEFAULT_DATASET", DATASET)
    monkeypatch.setattr(returns, "budget_steps", lambda seconds: 3)
    monkeypatch.setattr(returns, "publish", lambda runs, target: None)
    monkeypatch.setattr(returns, "lines_path", lambda name: tmp_path / "benchmarks" / f"{name}.jsonl")
    monkeypatch.setattr(returns, "SEEDS", 2)
    return tmp_path


def test_returns_continue_where_they_ended(small: Path) -> None:
    said: list[str] = []
    first = returns.run(quick=False, say=said.append, should_stop=lambda: False)
    lines = (small / "benchmarks" / "returns.jsonl").read_text().splitlines()
    assert len(lines) == 6 and said == ["3 outer steps each", *lines]
    assert all(json.loads(line)["outer_steps"] == 3 for line in lines)
    assert {(line["objective"], line["seed"]) for line in map(json.loads, lines)} == {
        (objective, seed) for objective in ("dbc", "pbc", "av_pbc") for seed in (0, 1)
    }
    assert first["pbc"]["seeds"] == 2 and first["pbc"]["std_over_seeds"] is not None
    again = returns.run(quick=False, say=said.append, should_stop=lambda: False)
    assert again == first and said[7:] == ["3 outer steps each"]
    other = returns.run(quick=False, say=said.append, should_stop=lambda: False, steps=2)  # counts are not mixed
    assert other["pbc"]["outer_steps"] == [2, 2] and first["pbc"]["outer_steps"] == [3, 3]


def test_an_interrupted_benchmark_writes_nothing(small: Path) -> None:
    asked: list[bool] = []

    def should_stop() -> bool:
        asked.append(True)
        return len(asked) > 1  # after the first look, so during the first seed

    returns.run(quick=False, say=lambda _text: None, should_stop=should_stop)
    assert not (small / "benchmarks" / "returns.jsonl").exists()


def test_a_budget_becomes_steps(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(showcase, "load_dataset", lambda _id: pendulum_dataset())
    monkeypatch.setattr(showcase, "shipped_teacher_path", lambda _id: small / "teacher.safetensors")
    assert showcase.budget_steps(1000.0) > showcase.budget_steps(1e-6) == 1


def test_random_selection_gets_its_best_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = pendulum_dataset()
    monkeypatch.setattr(baselines, "STUDENTS", 2)
    monkeypatch.setattr(baselines, "EPISODES", 1)
    monkeypatch.setattr(baselines, "SELECTION_RECIPES", (("recipe", 5), ("adam", 20)))
    said: list[str] = []
    best = baselines.best_selection(dataset, 16, 2, said.append, lambda: False)
    assert len(said) == 2 and best["students"] == 4
    assert best["optimizer"] in ("recipe", "adam")


def test_animated_picture(tmp_path: Path) -> None:
    video, picture = tmp_path / "v.mp4", tmp_path / "v.webp"
    frames = [np.full((48, 64, 3), shade, np.uint8) for shade in range(0, 200, 10)]
    imageio.v2.mimwrite(video, frames, fps=20)
    showcase.animate(video, picture)
    with Image.open(picture) as image:
        assert image.n_frames == 10 and image.width == showcase.PICTURE_WIDTH


def test_chosen_baselines_are_measured_and_the_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_pendulum(tmp_path)
    monkeypatch.setattr(baselines, "assets_dir", lambda: tmp_path)
    monkeypatch.setattr(baselines, "best_selection", lambda *_: {"normalized_return_mean": 3.0})
    baselines.store(DATASET, {"whole_bc": {"normalized_return_mean": 1.0}})
    keywords: dict[str, Any] = {"quick": False, "say": lambda _: None, "datasets": [DATASET]}
    found = baselines.run(**keywords, should_stop=lambda: False, methods=["random_selection"])[DATASET]
    assert "random_selection_256" in found and "teacher" not in found and "whole_bc" not in found
    stored = json.loads((tmp_path / "benchmarks" / "baselines.json").read_text())[DATASET]
    assert stored["whole_bc"] == {"normalized_return_mean": 1.0} and stored["random_selection_256"]
    monkeypatch.setattr(baselines, "best_selection", lambda *_: {"normalized_return_mean": 4.0})
    baselines.run(**keywords, should_stop=lambda: True, methods=["random_selection"])
    kept = json.loads((tmp_path / "benchmarks" / "baselines.json").read_text())[DATASET]
    assert kept == stored  # what was stopped is not stored
    with pytest.raises(ObdError, match="known are teacher, random_selection, whole_bc"):
        baselines.run(**keywords, should_stop=lambda: False, methods=["top"])
