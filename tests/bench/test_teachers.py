from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from obd.bench import teacher_scores, teachers
from obd.bench.plain_teachers import PLAIN
from tests.helpers import DATASET, pendulum_dataset


def test_speed_of_every_algorithm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teachers, "load_dataset", lambda *_, **__: pendulum_dataset())
    lines: list[str] = []
    result = teachers.run(quick=True, say=lines.append, should_stop=lambda: False)
    for name in PLAIN:
        for precision in ("highest", "auto"):
            row = result[name][precision]
            assert row["milliseconds"] > 0 and row["speed_up"] > 0 and row["updates_per_second"] > 0
    assert len(lines) == len(PLAIN)


def test_scores_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher_scores, "load_dataset", lambda *_, **__: pendulum_dataset())
    monkeypatch.setattr(teacher_scores, "assets_dir", lambda: tmp_path)
    trained: list[tuple[str, int]] = []

    def measured(name: str, seed: int, *_: Any) -> dict[str, Any]:
        trained.append((name, seed))
        return {"dataset": DATASET, "updates": 7, "seconds": 1.0, "score": 10.0 + seed}

    monkeypatch.setattr(teacher_scores, "measured", measured)
    said: list[str] = []
    keywords: dict[str, Any] = {"quick": False, "say": said.append, "should_stop": lambda: False, "dataset": DATASET}
    teacher_scores.run(**keywords, seeds=1, steps=7, algorithms=["iql"])
    result = teacher_scores.run(**keywords, seeds=2, steps=7, algorithms=["iql", "bc"])
    assert trained == [("iql", 0), ("iql", 1), ("bc", 0), ("bc", 1)]
    assert (result["iql"]["score"], result["iql"]["std_over_seeds"]) == (10.5, 0.71)
    assert "IQL" in said[-2] + said[-1] and "10.5 ± 0.7 (2 seeds)" in said[-1]
    assert result["dataset_mean"] == pytest.approx(11.3, abs=0.1)
    stored = (tmp_path / "benchmarks" / "teachers.jsonl").read_text().splitlines()
    assert [json.loads(line)["seed"] for line in stored] == [0, 1, 0, 1]
    teacher_scores.run(**keywords, seeds=1, steps=8, algorithms=["iql"])  # other settings are another line
    assert len(trained) == 5


def test_quick_scores_train_for_real(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher_scores, "load_dataset", lambda *_, **__: pendulum_dataset())
    result = teacher_scores.run(quick=True, say=lambda _: None, should_stop=lambda: False, algorithms=["bc", "cal_ql"])
    assert result["cal_ql"]["updates"] == [20] and result["bc"]["seeds"] == 1
