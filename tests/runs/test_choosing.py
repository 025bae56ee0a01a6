"""Which snapshot a run delivers."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from obd.events import Snapshot
from obd.insight import imagination
from obd.runs import execute
from obd.runs.execute import GroupExecution
from obd.runs.store import Run, create_run
from obd.teachers.dynamics import learn_dynamics, own_path, save_dynamics
from tests.helpers import DATASET, pendulum_dataset, store_pendulum, tiny_config


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    save_dynamics(own_path(DATASET), learn_dynamics(pendulum_dataset(5), steps=50, width=16))
    return store_pendulum(tmp_path)


@pytest.fixture
def second_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """Imagined returns that rise to the snapshot before the last one."""

    def rising(_dynamics: object, _dataset: object, sets: list[object], _stop: object) -> imagination.Returns:
        means = np.arange(len(sets), dtype=np.float64)
        means[-1] = -1
        return means[:, None] + np.linspace(-0.1, 0.1, 8)

    monkeypatch.setattr(imagination, "imagine", rising)


def newest(run: Run) -> Snapshot:
    return run.snapshot(run.snapshot_steps()[-1])


def test_a_run_delivers_the_snapshot_that_was_chosen(teacher: Path, second_best: None) -> None:
    run = create_run(tiny_config(teacher))
    GroupExecution([run], live=False)()
    status, delivered = run.status(), run.delivered_step()
    assert status["state"] == "finished" and status["step"] == status["outer_steps"] == 12
    assert delivered == status["delivered"] == run.snapshot_steps()[-1] < 12
    # What is delivered, measured and shown is that snapshot; the later one is still there.
    assert np.array_equal(run.distilled().observations, newest(run).observations)
    assert run.distilled().card["outer_steps"] == delivered and "12" in run.distilled().card["imagined_returns"]
    assert run.evaluation()["students"]["students"] == 10
    assert not np.array_equal(run.snapshot(12).observations, newest(run).observations)


def test_real_students_are_tried_and_the_same_run_chooses_the_same(teacher: Path) -> None:
    sets = []
    for _ in range(2):
        run = create_run(tiny_config(teacher))
        GroupExecution([run], live=False, final=False)()
        sets.append((run.delivered_step(), run.distilled().card["imagined_returns"], run.distilled().observations))
    (step, imagined, observations), again = sets
    assert str(step) in imagined and all(np.isfinite(value) for value in imagined.values())
    assert (step, imagined) == again[:2] and np.array_equal(observations, again[2])


@pytest.mark.parametrize("reason", ["asked", "no model", "damaged model"])
def test_otherwise_the_last_set_is_delivered(teacher: Path, second_best: None, reason: str) -> None:
    config = tiny_config(teacher, delivered="last" if reason == "asked" else "imagined")
    if reason == "no model":
        own_path(DATASET).unlink()
    if reason == "damaged model":
        own_path(DATASET).write_bytes(b"nonsense")
    run = create_run(config)
    GroupExecution([run], live=False, final=False)()
    assert run.status()["state"] == "finished" and run.delivered_step() is None
    assert run.snapshot_steps()[-1] == run.distilled().card["outer_steps"] == 12


def test_a_pause_or_an_end_while_choosing_chooses_later(
    teacher: Path, second_best: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, stop = create_run(tiny_config(teacher)), threading.Event()
    choose = execute.choose_snapshot

    def interrupted(*arguments: object) -> imagination.Choice:
        assert run.status()["state"] == "choosing"
        stop.set()
        raise execute.Cancelled

    monkeypatch.setattr(execute, "choose_snapshot", interrupted)
    GroupExecution([run], live=False, final=False)(stop.is_set, lambda: True)
    assert run.status()["state"] == "paused" and run.delivered_step() is None
    monkeypatch.setattr(execute, "choose_snapshot", choose)
    GroupExecution([run], live=False, final=False)()
    assert run.status()["state"] == "finished" and run.delivered_step() == run.snapshot_steps()[-1] < 12


def test_a_stop_while_choosing_delivers_the_last_set(teacher: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cancelled(*_arguments: object) -> imagination.Choice:
        raise execute.Cancelled

    monkeypatch.setattr(execute, "choose_snapshot", cancelled)
    run = create_run(tiny_config(teacher))
    GroupExecution([run], live=False, final=False)()
    assert run.status()["state"] == "finished" and run.snapshot_steps()[-1] == 12
