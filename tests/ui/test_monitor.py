from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from obd.config import DistillConfig
from obd.runs.store import Run, create_run
from obd.ui.monitor import KEPT, RunReader, RunView, absorb, group_progress, read_all


def row(step: int, loss: float = 0.5) -> dict[str, Any]:
    return {"kind": "progress", "step": step, "loss": loss, "seconds": step * 0.5, "skipped": False}


def score(mean: float) -> dict[str, Any]:
    return {"normalized_return_mean": mean, "normalized_return_ci95": [mean - 2, mean + 3]}


@pytest.fixture
def run() -> Run:
    return create_run(DistillConfig(objective="pbc"))


def test_reader_follows_a_growing_run(run: Run) -> None:
    reader = RunReader(run.path)
    assert reader.read().state == "queued"
    run.write_status(state="running", step=2, outer_steps=10)
    run.append([row(1), row(2)])
    assert reader.read().steps == [1, 2]
    run.append([row(3, 0.25), {"kind": "evaluated", "step": 3, "score": score(12)}])
    run.write_status(step=3)
    view = reader.read()
    assert view.steps == [1, 2, 3]
    assert view.losses[-1] == 0.25
    assert view.rate() == pytest.approx(2.0)
    assert [(e.step, e.mean, e.low, e.high) for e in view.estimates()] == [(3, 12, 10, 15)]


def test_reader_forgets_what_a_resumed_run_does_again(run: Run) -> None:
    reader = RunReader(run.path)
    run.append([row(1), row(2, 0.9), row(3)])
    reader.read()
    run.append([row(2, 0.1)])
    view = reader.read()
    assert view.steps == [1, 2]
    assert view.losses[-1] == 0.1


def test_reader_starts_over_when_the_metrics_are_rewritten(run: Run) -> None:
    reader = RunReader(run.path)
    run.append([row(step) for step in range(1, 9)])
    reader.read()
    run.drop_after(3)
    assert reader.read().steps == [1, 2, 3]


def test_the_final_evaluation_is_the_last_point(run: Run) -> None:
    run.append([{"kind": "evaluated", "step": 5, "score": score(20)}])
    run.write_status(state="finished", step=5, outer_steps=5)
    run.write_evaluation({"students": score(25), "ensemble": score(30)})
    estimates = RunReader(run.path).read().estimates()
    assert [e.mean for e in estimates] == [25]


def test_group_progress_sums_rates_and_waits_for_the_slowest() -> None:
    runs = [create_run(DistillConfig(objective=objective)) for objective in ("dbc", "pbc")]
    for run, done in zip(runs, (4, 8), strict=True):
        run.append([row(step) for step in range(1, done + 1)])
        run.write_status(state="running", step=done, outer_steps=10)
    views, problems = read_all([RunReader(run.path) for run in runs])
    progress = group_progress(views)
    assert problems == []
    assert progress.fraction == pytest.approx(0.6)
    assert progress.rate == pytest.approx(4.0)
    assert progress.seconds_left == pytest.approx(3.0)


def test_a_deleted_run_is_a_sentence_and_not_a_crash(run: Run) -> None:
    reader = RunReader(run.path)
    (run.path / "status.json").unlink()
    views, problems = read_all([reader])
    assert views == []
    assert len(problems) == 1


def test_a_long_run_is_remembered_in_bounded_memory() -> None:
    view = RunView(Run(Path("nowhere")), "pbc", "PBC", 4, "data")
    absorb(view, [row(step, loss=float(step)) for step in range(1, 3 * KEPT)])
    assert len(view.steps) == len(view.losses) == len(view.seconds) <= KEPT
    assert view.losses == [float(step) for step in view.steps]
    assert (view.steps[0], view.rate()) == (1, 2.0)
    assert max(after - before for before, after in pairwise(view.steps)) <= 8  # thinned evenly
    absorb(view, [row(KEPT)])  # a resumed run repeats what came after its checkpoint
    assert view.steps[-1] == KEPT


@pytest.mark.parametrize(("raw", "normalised"), [(756.2246245756828, False), (-3.0, False), (40.0, True)])
def test_raw_returns_are_known_although_two_ways_to_a_mean_differ_in_the_last_bit(
    run: Run, raw: float, normalised: bool
) -> None:
    mean = 756.2246245756829 if raw > 700 else -3.0
    run.write_evaluation({"students": score(mean) | {"return_mean": raw}})
    assert RunReader(run.path).read().normalised is normalised
