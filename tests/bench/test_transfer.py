from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from obd.bench import generalisation, sizes
from obd.config import DistillConfig
from obd.engine.distill import distill
from obd.runs.execute import card
from tests.helpers import DATASET, pendulum_dataset, pendulum_teacher, store_pendulum, tiny_config


@pytest.fixture
def showcase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A showcase with one distilled set of the Pendulum, and two architectures to try it on."""
    teacher_path = store_pendulum(tmp_path)
    dataset = pendulum_dataset()
    config = tiny_config(teacher_path, objective="av_pbc", steps=2)
    teacher = pendulum_teacher(dataset)
    result = distill(config, dataset, teacher)
    result.card.update(card(config, dataset, teacher))
    (tmp_path / "av_pbc").mkdir()
    with open(tmp_path / "av_pbc" / "distilled.npz", "wb") as stream:
        result.write(stream)
    monkeypatch.setattr(generalisation, "showcase_dir", lambda: tmp_path)
    monkeypatch.setattr(generalisation, "STUDENTS", 2)
    monkeypatch.setattr(generalisation, "EPISODES", 1)
    kept = {name: generalisation.ARCHITECTURES[name] for name in ("recipe", "mlp2", "width64")}
    monkeypatch.setattr(generalisation, "ARCHITECTURES", kept)
    monkeypatch.setattr(generalisation, "WIDTHS", ("width64",))
    return tmp_path


def test_generalisation_fills_every_cell_once(showcase: Path) -> None:
    path, said = showcase / "generalisation.json", list[str]()
    first = generalisation.cells(path, ("av_pbc",), said.append, lambda: False)["rows"]
    cells = {(row["architecture"], row["optimizer"]) for row in first}
    assert len(first) == len(cells) == len(said) == 11
    assert ("width64", "recipe") in cells and ("mlp2", "adamw") in cells and ("width64", "adam") not in cells
    assert all(row["students"] == 2 and row["dataset"] == DATASET for row in first)
    again = generalisation.cells(path, ("av_pbc",), said.append, lambda: False)["rows"]
    assert again == first == json.loads(path.read_text())["rows"] and len(said) == 11


def test_sizes_continue_where_they_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = store_pendulum(tmp_path)

    def config(**changes: Any) -> DistillConfig:
        return tiny_config(teacher, **{name: changes[name] for name in ("size", "seed", "steps") if name in changes})

    monkeypatch.setattr(sizes, "DistillConfig", config)
    monkeypatch.setattr(sizes, "DEFAULT_DATASET", DATASET)
    monkeypatch.setattr(sizes, "assets_dir", lambda: tmp_path)
    monkeypatch.setattr(sizes, "budget_steps", lambda seconds: 2)
    monkeypatch.setattr(sizes, "SIZES", (4, 8))
    monkeypatch.setattr(sizes, "SEEDS", 2)
    (tmp_path / "benchmarks").mkdir()
    said: list[str] = []
    rows = sizes.run(quick=False, say=said.append, should_stop=lambda: False)["rows"]
    assert [(row["seed"], row["size"]) for row in rows] == [(0, 4), (0, 8), (1, 4), (1, 8)]
    assert all(row["outer_steps"] == 2 for row in rows)
    assert sizes.run(quick=False, say=said.append, should_stop=lambda: False)["rows"] == rows and len(said) == 4
