from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from obd.bench import baselines, shipped_teachers, teacher_scores, teachers
from obd.bench.plain_teachers import PLAIN
from obd.errors import Cancelled
from obd.runs import baselines as measured_baselines
from tests.helpers import DATASET, pendulum_dataset, store_pendulum


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
    monkeypatch.setattr(teacher_scores, "lines_path", lambda name: tmp_path / "benchmarks" / f"{name}.jsonl")
    trained: list[tuple[str, int]] = []
    stopped: list[bool] = []

    def measured(key: dict[str, Any], *_: Any) -> dict[str, Any]:
        if stopped:
            raise Cancelled
        trained.append((key["algorithm"], key["seed"]))
        return {"dataset": DATASET, "updates": 7, "seconds": 1.0, "score": 10.0 + key["seed"]}

    monkeypatch.setattr(teacher_scores, "measured", measured)
    said: list[str] = []
    keywords: dict[str, Any] = {"quick": False, "say": said.append, "should_stop": lambda: False, "dataset": DATASET}
    teacher_scores.run(**keywords, seeds=1, algorithms=["iql"])
    result = teacher_scores.run(**keywords, seeds=2, algorithms=["iql", "bc"])
    assert trained == [("iql", 0), ("iql", 1), ("bc", 0), ("bc", 1)]
    half = 12.706 * 0.5  # Student's t for two seeds, times their standard error
    assert result["iql"]["score"] == 10.5
    assert result["iql"]["ci95"] == pytest.approx([10.5 - half, 10.5 + half], abs=0.01)
    assert "IQL" in said[-2] + said[-1] and "10.5 [4.1, 16.9]" in said[-1] and "(2 seeds)" in said[-1]
    assert "mean episode: 11.3; whole-data BC: 10.5" in said[-3]
    assert result["dataset_mean"] == pytest.approx(11.3, abs=0.1)
    stored = (tmp_path / "benchmarks" / "teachers.jsonl").read_text().splitlines()
    assert [json.loads(line)["seed"] for line in stored] == [0, 1, 0, 1]

    path = tmp_path / "benchmarks" / "teachers.jsonl"
    before = stored[0].replace('"hidden_width": 256, ', "")  # written before this setting existed
    assert before != stored[0]
    path.write_text("\n".join([before, *stored[1:]]) + "\n")
    teacher_scores.run(**keywords, seeds=1, algorithms=["iql"])
    assert len(trained) == 4  # the line is of the same training: that setting has its default

    other = teacher_scores.run(**keywords, seeds=1, steps=8, algorithms=["iql"])  # other settings are another line
    assert len(trained) == 5 and other["iql"]["seeds"] == 1 and "bc" not in other
    stopped.append(True)
    with pytest.raises(Cancelled):
        teacher_scores.run(**keywords, seeds=3, algorithms=["iql"])
    assert len((tmp_path / "benchmarks" / "teachers.jsonl").read_text().splitlines()) == 5


def test_quick_scores_train_for_real(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher_scores, "load_dataset", lambda *_, **__: pendulum_dataset())
    result = teacher_scores.run(quick=True, say=lambda _: None, should_stop=lambda: False, algorithms=["bc", "cal_ql"])
    assert result["cal_ql"]["updates"] == [20] and result["bc"]["seeds"] == 1


def test_shipped_teachers_are_measured_and_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = store_pendulum(tmp_path)
    monkeypatch.setattr(shipped_teachers, "shipped_teacher_path", lambda _id: file)
    for module in (baselines, measured_baselines):
        monkeypatch.setattr(module, "assets_dir", lambda: tmp_path)
    baselines.store(DATASET, {"whole_bc": {"normalized_return_mean": 12.34}, "teacher": {"episodes": 1}})
    said: list[str] = []
    keywords: dict[str, Any] = {"say": said.append, "should_stop": lambda: False, "datasets": [DATASET]}
    quick = shipped_teachers.run(quick=True, **keywords)
    stored = json.loads((tmp_path / "benchmarks" / "baselines.json").read_text())[DATASET]
    assert quick[DATASET]["episodes"] == 3 and stored["teacher"] == {"episodes": 1}
    row = shipped_teachers.run(quick=False, **keywords)[DATASET]
    stored = json.loads((tmp_path / "benchmarks" / "baselines.json").read_text())[DATASET]
    assert row["episodes"] == 30 and row["evaluation_seeds"] == 3 and row["worst"] <= row["normalized_return_mean"]
    assert stored["teacher"]["normalized_return_mean"] == row["normalized_return_mean"]
    assert stored["whole_bc"]["normalized_return_mean"] == 12.34 and "whole-data BC 12.3" in said[-1]
