from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from obd.bench import paper_table
from obd.bench.plain_distiller import PlainDistiller, distill_plainly
from obd.config import DistillConfig
from obd.data.catalog import load_dataset
from obd.engine.distill import Distiller, distill
from obd.engine.distilled import DistilledDataset
from obd.errors import ObdError
from obd.runs.execute import open_teacher
from obd.runs.paper_table import METHODS, Method
from obd.runs.statistics import bootstrap_interval, interquartile_mean
from tests.helpers import DATASET, store_pendulum, tiny_config


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The table on Pendulum with tiny settings; returns the file of its lines."""
    teacher = store_pendulum(tmp_path)

    def config(method: Method, _dataset_id: str, seed: int, steps: int) -> DistillConfig:
        keywords = {"objective": method.objective, "preset": method.preset, "size": 4 if method.size == 64 else 8}
        students = 1 if method.preset == "paper" else 2
        return tiny_config(teacher, seed=seed, steps=steps, initialisations=students, **keywords)

    monkeypatch.setattr(Method, "config", config)
    monkeypatch.setattr(paper_table, "budget_steps", trial)
    monkeypatch.setattr(paper_table, "available_cores", lambda: 2)
    monkeypatch.setattr(paper_table, "lines_path", lambda name: tmp_path / "benchmarks" / f"{name}.jsonl")
    monkeypatch.setattr(paper_table, "STUDENTS", 3)
    monkeypatch.setattr(paper_table, "EPISODES", 2)
    return tmp_path / "benchmarks" / "paper_table.jsonl"


def trial(_seconds: float, config: DistillConfig, kind: type[Distiller] = Distiller) -> int:
    """Steps of a made-up machine on which the paper's settings are slow and matching gradients is quick."""
    if kind is PlainDistiller:
        return 1
    if config.size == 4:
        return 8
    return 2 if config.preset == "paper" else 6 if config.objective == "gradient_matching" else 4


def table(said: list[str], **keywords: object) -> list[dict[str, object]]:
    result = paper_table.run(
        quick=False, say=said.append, should_stop=lambda: False, datasets=[DATASET], seconds=7.0, **keywords
    )
    rows: list[dict[str, object]] = result["rows"]
    return rows


def test_the_table_continues_where_it_ended(small: Path) -> None:
    said: list[str] = []
    table(said, methods=["pbc"], seeds=1)
    rows = table(said, seeds=2)
    lines = [json.loads(line) for line in small.read_text().splitlines()]
    assert len(lines) == 32
    assert {(line["method"], line["outer_steps"]) for line in lines} == {
        ("pbc", 4), ("dbc", 4), ("av_pbc", 4), ("pbc_columns", 4), ("dbc_columns", 4), ("av_pbc_columns", 4),
        ("av_pbc_light", 4), ("av_pbc_light_columns", 4), ("av_pbc_64", 8), ("av_pbc_64_columns", 8),
        ("av_pbc_density", 4), ("gradient_matching", 6), ("paper", 4), ("paper_plain", 2), ("kmeans", 0), ("top_q", 0),
    }  # fmt: skip
    assert all(np.shape(line["students"]) == (3, 2) and np.shape(line["ensemble"]) == (2,) for line in lines)
    assert [(row["method"], row["distillations"]) for row in rows] == [(m, 2) for m in METHODS]
    low, high = rows[0]["ci95"]  # type: ignore[misc]
    assert low <= rows[0]["mean"] <= high
    again: list[str] = []
    assert table(again, seeds=2) == rows
    assert len(small.read_text().splitlines()) == 32
    assert any(text.startswith("dataset ") for text in again)


def test_methods_that_differ_in_their_students_share_one_distillation(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: list[str] = []

    def counted(config: DistillConfig, *args: Any, **keywords: Any) -> DistilledDataset:
        run.append(f"{config.objective} {config.seed}")
        return distill(config, *args, **keywords)

    monkeypatch.setattr(paper_table, "distill", counted)
    one, columns, *_ = table([], methods=["av_pbc", "av_pbc_columns", "pbc"], seeds=2)
    assert run == ["av_pbc 0", "pbc 0", "av_pbc 1", "pbc 1"]
    assert one["mean"] != columns["mean"]


def test_double_backward_gives_the_same_set_as_our_engine(small: Path) -> None:
    config = tiny_config(small.parent.parent / "teacher.safetensors", steps=3, inner_batch=3, precision="highest")
    dataset, teacher = load_dataset(DATASET), open_teacher(config, load_dataset(DATASET))
    ours = distill(config, dataset, teacher)
    plain = distill_plainly(config, dataset, teacher, should_stop=lambda: False)
    assert plain.card["outer_steps"] == 3
    np.testing.assert_allclose(plain.observations, ours.observations, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(plain.actions, ours.actions, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(plain.recipe.step_sizes, ours.recipe.step_sizes, rtol=1e-3)
    untouched = distill_plainly(config, dataset, teacher, should_stop=lambda: True)
    assert np.abs(untouched.observations - ours.observations).max() > 0.01


def test_given_steps_are_shared_out_by_the_ratio_of_a_trial(small: Path) -> None:
    wanted = ["pbc", "paper", "paper_plain", "gradient_matching", "kmeans"]
    counts = paper_table.step_counts([], 7.0, 100, wanted)
    # The paper trains one student at a time and here gets the steps of both cores; a selection takes none.
    assert counts == {"pbc": 100, "paper": 100, "paper_plain": 50, "gradient_matching": 150}
    lines = [{"dataset": DATASET, "method": "av_pbc", "seed": 0, "budget_seconds": 7.0, "outer_steps": 80}]
    assert paper_table.step_counts(lines, 7.0, 100, ["pbc"]) == {"pbc": 80}


def test_an_unknown_method_is_named_before_anything_is_measured(small: Path) -> None:
    with pytest.raises(ObdError, match=r"'random_selection'; known are av_pbc.*bench baselines"):
        table([], methods=["random_selection"])
    assert not small.exists()


def test_a_stopped_run_leaves_no_line(small: Path) -> None:
    asked: list[bool] = []

    def should_stop() -> bool:
        asked.append(True)
        return len(asked) > 2

    paper_table.run(quick=False, say=lambda _: None, should_stop=should_stop, datasets=[DATASET], methods=["dbc"])
    assert not small.exists()


def test_the_last_lines_say_what_holds_over_all_datasets() -> None:
    shared = {"method": "pbc", "ci95": [1.0, 2.0], "std_over_students": 10.0}
    table = [
        {"dataset": "a", "mean": 60.0, "ensemble": 50.0, "share_of_teacher": 1.5, "ensemble_share_of_teacher": 1.25},
        {"dataset": "b", "mean": 20.0, "ensemble": 30.0, "share_of_teacher": 0.5, "ensemble_share_of_teacher": 0.75},
        {"dataset": "c", "mean": 9.0, "ensemble": 9.0, "share_of_teacher": None, "ensemble_share_of_teacher": None},
    ]
    baseline = {"method": "whole_bc", "dataset": "a", "mean": 30.0, "ci95": [1.0, 2.0], "share_of_teacher": 0.75}
    *_, first, last = paper_table.printed([baseline, *(shared | row for row in table)])
    assert first == "whole_bc: 30.0, 75% of the teacher; means over 1 datasets"
    assert last.startswith("PBC: 40.0 [ensemble 40.0], 100% of the teacher [100%], 75% [88%] with each")
    assert "spread over students 33% of their mean; means over 2 datasets" in last


def test_interval_and_interquartile_mean() -> None:
    assert interquartile_mean(np.array([0.0, 10.0, 12.0, 1000.0])) == 11.0
    alike = [np.full((5, 2), 3.0)] * 2
    assert bootstrap_interval(alike) == (3.0, 3.0)
    low, high = bootstrap_interval([np.zeros((5, 2)), np.full((5, 2), 10.0)])
    assert (low, high) == (0.0, 10.0)  # the seeds differ, so two of them say little
