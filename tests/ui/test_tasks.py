from __future__ import annotations

import threading

import pytest

from obd.errors import ObdError
from obd.ui.tasks import KEEP, PRESENCE, UNEXPECTED, Task, TaskRegistry


def test_a_task_reports_progress_and_its_result() -> None:
    half, go_on = threading.Event(), threading.Event()

    def work(task: Task) -> str:
        task.part(0.0, 0.5)(1.0)
        half.set()
        go_on.wait(5)
        return "map"

    task = Task(work, "test")
    assert half.wait(5)
    assert (task.state, task.fraction) == ("running", 0.5)
    go_on.set()
    task.join(5)
    assert (task.state, task.fraction, task.result) == ("done", 1.0, "map")


def test_cancel_ends_a_task_at_its_next_report() -> None:
    cancelled = threading.Event()

    def work(task: Task) -> None:
        cancelled.wait(5)
        task.progress(0.9)

    task = Task(work, "test")
    task.cancel()
    cancelled.set()
    task.join(5)
    assert task.state == "cancelled"
    assert task.should_stop()


@pytest.mark.parametrize(("error", "sentence"), [(ObdError("No disk."), "No disk."), (KeyError("x"), UNEXPECTED)])
def test_a_failure_becomes_one_sentence(error: Exception, sentence: str) -> None:
    def work(_task: Task) -> None:
        raise error

    task = Task(work, "test")
    task.join(5)
    assert (task.state, task.error) == ("failed", sentence)


def test_registry_gives_the_same_task_and_retries_a_failed_one_on_demand() -> None:
    registry = TaskRegistry()

    def fail(_task: Task) -> None:
        raise ObdError("no")

    first = registry.start_once(("a",), fail, "a")
    first.join(5)
    assert registry.start_once(("a",), lambda task: 1, "a") is first
    second = registry.start(("a",), lambda task: 1, "a")
    assert second is not first
    second.join(5)
    assert registry.start(("a",), lambda task: 2, "a").result == 1
    registry.forget(("a",))
    assert registry.get(("a",)) is None


def test_registry_keeps_a_bounded_number_of_results() -> None:
    registry = TaskRegistry()
    for index in range(KEEP + 5):
        registry.start((index,), lambda task: None, "n").join(5)
    assert registry.get((0,)) is None
    assert registry.get((KEEP + 4,)) is not None
    registry.close()
    assert registry.get((KEEP + 4,)) is None


def endless(task: Task) -> None:
    while True:
        task.progress(0.5)


def test_a_film_that_nobody_waits_for_any_more_makes_room_for_the_newest_one(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = TaskRegistry()
    first, second, third = (("film", number) for number in range(3))
    old = registry.start(first, endless, "film")
    registry.waits("me", first)
    map_ = registry.start(("map",), endless, "map")
    registry.waits("me", second)  # it may be there already: then there is no task
    old.join(5)
    assert old.state == "cancelled" and registry.get(first) is None  # and is made if it is asked for again
    assert map_.state == "running"

    shared = registry.start(second, endless, "film")
    registry.waits("me", second)
    registry.waits("you", second)
    registry.start(third, endless, "film")
    registry.waits("me", third)
    assert shared.state == "running" and not shared.should_stop()  # you still wait for it

    monkeypatch.setattr("obd.ui.tasks.PRESENCE", -1.0)  # whoever looked is gone
    registry.waits("me", third)
    shared.join(5)
    assert shared.state == "cancelled"
    newest = registry.get(third)
    assert PRESENCE > 0 and newest is not None and not newest.should_stop()  # one's own is never in the way
    registry.close(patience=5)


def test_closing_cancels_and_waits_for_the_end() -> None:
    registry = TaskRegistry()
    task = registry.start(("endless",), endless, "test")
    registry.close(patience=5)
    assert task.state == "cancelled"
    assert registry.get(("endless",)) is None
