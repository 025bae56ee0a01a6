from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from obd.config import OBJECTIVES, DistillConfig
from obd.errors import ObdError
from obd.runs.execute import GroupExecution
from obd.runs.jobs import JobQueue
from obd.runs.store import Run, create_run, list_groups
from tests.helpers import store_pendulum, tiny_config

LONG = 100_000  # outer steps that no test waits for


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    return store_pendulum(tmp_path)


@pytest.fixture
def queue() -> Iterator[JobQueue]:
    queue = JobQueue()
    yield queue
    queue.close()


def wait(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def states(group: str) -> list[str]:
    return [run.status()["state"] for run in list_groups()[group]]


def test_a_group_of_objectives_runs_to_scores(queue: JobQueue, teacher: Path) -> None:
    group = queue.submit([tiny_config(teacher, objective=name) for name in OBJECTIVES], name="race")
    wait(lambda: states(group) == ["finished"] * 4)
    for run in list_groups()[group]:
        rows, _ = run.metrics()
        assert [row["step"] for row in rows if row["kind"] == "progress"] == list(range(1, 13))
        assert run.snapshot_steps()[-1] == 12
        scores = run.evaluation()
        assert scores["students"]["students"] == 10 and scores["ensemble"]["students"] == 1
        assert run.distilled().card["objective"] == run.config.objective
    wait(lambda: queue.active() is None)  # a moment after the last status


def test_the_same_runs_are_found_while_they_work_or_wait(queue: JobQueue, teacher: Path) -> None:
    active, waiting = (
        [tiny_config(teacher, steps=LONG, objective=o) for o in names] for names in (OBJECTIVES, ["dbc"])
    )
    first, second = queue.submit(active), queue.submit(waiting)
    assert queue.find(active[::-1]) == first and queue.find(waiting) == second
    assert queue.find(active[:2]) is None and queue.find([active[0].replace(seed=7)]) is None
    queue.stop(second)
    assert queue.find(waiting) is None
    wait(lambda: queue.active() == first)
    queue.stop(first)
    assert queue.find(active) is None  # while it ends too


def test_opening_a_dataset_is_not_called_collecting(teacher: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, said = create_run(tiny_config(teacher)), []
    write_status = Run.write_status
    monkeypatch.setattr(Run, "write_status", lambda self, **status: (said.append(status), write_status(self, **status)))
    GroupExecution([run], live=False, final=False)()
    assert said[0]["message"] == "Opening the dataset." and not any("collected" in status for status in said)


def test_live_returns_are_measured_while_the_run_goes_on(teacher: Path) -> None:
    run = create_run(tiny_config(teacher, steps=1500))  # long enough for a look at its snapshots
    GroupExecution([run], final=False)()
    evaluated = [row for row in run.metrics()[0] if row["kind"] == "evaluated"]
    assert evaluated and all(np.isfinite(row["score"]["normalized_return_mean"]) for row in evaluated)
    assert run.status()["state"] == "finished"


def test_a_time_budget_gives_all_runs_the_same_steps(teacher: Path) -> None:
    runs = [create_run(tiny_config(teacher, objective=o, steps=None, seconds=4.0)) for o in ("dbc", "pbc")]
    GroupExecution(runs, live=False, final=False)()
    steps = [run.status()["outer_steps"] for run in runs]
    assert steps[0] == steps[1] >= 1  # one is all that a busy machine can promise
    assert [run.status()["step"] for run in runs] == steps


@pytest.mark.parametrize(("end", "state"), [("stop", "stopped"), ("pause", "paused")])
def test_going_on_gives_the_bytes_of_an_unbroken_run(
    end: str, state: str, queue: JobQueue, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("obd.runs.execute.WRITE_SECONDS", 0.0)  # see the first steps at once
    config = tiny_config(teacher, steps=400)
    whole = create_run(config)
    GroupExecution([whole], live=False, final=False)()

    group = queue.submit([config])
    run = list_groups()[group][0]
    wait(lambda: run.status()["step"] > 3)
    getattr(queue, end)(group)
    wait(lambda: run.status()["state"] in (state, "finished") and queue.active() is None)
    assert run.status()["state"] == state
    assert len(run.distilled()) == 8
    queue.resume(group)
    wait(lambda: run.status()["state"] == "finished")
    assert run.distilled().observations.tobytes() == whole.distilled().observations.tobytes()
    assert run.distilled().recipe == whole.distilled().recipe
    rows = [row for row in run.metrics()[0] if row["kind"] == "progress"]
    expected = [row for row in whole.metrics()[0] if row["kind"] == "progress"]
    assert [(r["step"], r["loss"]) for r in rows] == [(r["step"], r["loss"]) for r in expected]


def test_a_second_start_waits_for_its_turn(queue: JobQueue, teacher: Path) -> None:
    first = queue.submit([tiny_config(teacher, steps=LONG)])
    second = queue.submit([tiny_config(teacher)])
    wait(lambda: states(first) == ["running"])
    assert queue.active() == first and queue.waiting() == [second] and states(second) == ["queued"]
    with pytest.raises(ObdError, match="active already"):
        queue.resume(second)
    queue.stop(first)
    queue.stop(first)  # a second click does nothing
    wait(lambda: states(second) == ["finished"])
    assert states(first) == ["stopped"]


def test_a_paused_group_frees_the_cores_and_goes_on_before_those_that_wait(queue: JobQueue, teacher: Path) -> None:
    first = queue.submit([tiny_config(teacher, steps=LONG, objective=o) for o in ("dbc", "pbc")])
    second = queue.submit([tiny_config(teacher, steps=LONG)])
    wait(lambda: states(first) == ["running"] * 2)
    queue.pause(second)  # it waits: nothing to pause
    queue.pause(first)
    wait(lambda: states(second) == ["running"])
    assert states(first) == ["paused"] * 2
    third = queue.submit([tiny_config(teacher)])
    queue.resume(first)
    assert queue.waiting() == [first, third]
    queue.stop(second)
    wait(lambda: states(first) == ["running"] * 2)
    queue.stop(first)
    wait(lambda: states(third) == ["finished"])


def test_a_pause_while_returns_are_measured_leaves_them_for_later(
    queue: JobQueue, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as slow:
        slow.setattr("obd.runs.execute.FINAL_EPISODES", 2_000)
        group = queue.submit([tiny_config(teacher)])
        run = list_groups()[group][0]
        wait(lambda: run.status()["state"] == "evaluating")
        queue.pause(group)
        wait(lambda: run.status()["state"] == "paused" and queue.active() is None)
    card = run.distilled().card
    queue.resume(group)
    wait(lambda: run.status()["state"] == "finished")
    assert run.evaluation()["students"]["students"] == 10
    assert run.distilled().card == card


def test_a_pause_before_the_first_step_can_go_on(
    queue: JobQueue, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def slow(*arguments: object) -> float:
        release.wait(20)
        return 1.0

    with monkeypatch.context() as patched:
        patched.setattr("obd.runs.execute.seconds_per_step", slow)
        group = queue.submit([tiny_config(teacher, steps=None, seconds=5.0)])
        run = list_groups()[group][0]
        wait(lambda: "speed" in run.status()["message"])
        queue.pause(group)
        release.set()
        wait(lambda: states(group) == ["paused"] and queue.active() is None)
        assert run.checkpoint() is None
        agreed = run.status()["outer_steps"]
    queue.resume(group)
    wait(lambda: states(group) == ["finished"])
    assert run.status()["step"] == agreed  # the count measured before the pause holds


def test_a_queued_group_can_be_taken_out(queue: JobQueue, teacher: Path) -> None:
    first = queue.submit([tiny_config(teacher, steps=LONG)])
    second = queue.submit([tiny_config(teacher)])
    queue.stop(second)
    assert second not in queue.waiting() and states(second) == ["stopped"]
    queue.stop(first)


def test_stopping_the_evaluation_keeps_the_set(queue: JobQueue, teacher: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("obd.runs.execute.FINAL_EPISODES", 2_000)
    group = queue.submit([tiny_config(teacher)])
    run = list_groups()[group][0]
    wait(lambda: run.status()["state"] == "evaluating")
    queue.stop(group)
    wait(lambda: run.status()["state"] == "finished")
    assert "stopped" in run.status()["message"] and run.evaluation() == {}
    assert len(run.distilled()) == 8


def test_one_failing_run_does_not_take_the_others_along(queue: JobQueue, teacher: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not a teacher")
    group = queue.submit([tiny_config(teacher), tiny_config(broken)])
    wait(lambda: states(group) == ["finished", "failed"])
    assert "safetensors" in list_groups()[group][1].status()["message"]


def test_a_race_has_equal_steps_though_one_run_fails_and_one_is_slow(
    teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timed(config: DistillConfig, *arguments: object) -> float:
        if config.objective == "pbc":
            raise ObdError("no luck")
        time.sleep(1.0 if config.objective == "av_pbc" else 0.0)  # long after the failure
        return 0.5 if config.objective == "av_pbc" else 0.1

    monkeypatch.setattr("obd.runs.execute.seconds_per_step", timed)
    runs = [create_run(tiny_config(teacher, objective=o, steps=None, seconds=5.0)) for o in ("dbc", "pbc", "av_pbc")]
    GroupExecution(runs, live=False, final=False)()
    assert [run.status()["state"] for run in runs] == ["finished", "failed", "finished"]
    assert runs[0].status()["outer_steps"] == runs[2].status()["outer_steps"] > 1


def test_unknown_dataset_fails_in_one_sentence(queue: JobQueue) -> None:
    group = queue.submit([tiny_config(dataset="nobody/knows-v0", objective="dbc")])
    wait(lambda: states(group) == ["failed"])
    assert "Unknown dataset" in list_groups()[group][0].status()["message"]


def test_a_full_disk_fails_the_run_and_the_queue_goes_on(
    queue: JobQueue, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Run, rows: object) -> None:
        raise ObdError("Could not write metrics.jsonl (No space left on device); free some disk space.")

    with monkeypatch.context() as patched:
        patched.setattr(Run, "append", full)
        group = queue.submit([tiny_config(teacher)])
        wait(lambda: states(group) == ["failed"])
        assert "disk space" in list_groups()[group][0].status()["message"]
    again = queue.submit([tiny_config(teacher)])
    wait(lambda: states(again) == ["finished"])


def test_closing_leaves_runs_that_can_be_resumed(teacher: Path) -> None:
    queue = JobQueue()
    group = queue.submit([tiny_config(teacher, steps=LONG)])
    waiting = queue.submit([tiny_config(teacher)])
    wait(lambda: states(group) == ["running"])
    queue.close()
    assert states(group) == ["stopped"] and states(waiting) == ["interrupted"]
    with pytest.raises(ObdError, match="closing"):
        queue.submit([tiny_config(teacher)])


def test_wrong_requests(queue: JobQueue, teacher: Path) -> None:
    with pytest.raises(ObdError, match="at least one objective"):
        queue.submit([])
    with pytest.raises(ObdError, match="share their dataset"):
        queue.submit([tiny_config(), tiny_config(dataset="other/set-v0")])
    with pytest.raises(ObdError, match="no run"):
        queue.resume("gone")
    queue.stop("gone")
    group = queue.submit([tiny_config(teacher)])
    wait(lambda: states(group) == ["finished"] and queue.active() is None)
    with pytest.raises(ObdError, match="complete"):
        queue.resume(group)
