"""Computations in the background of the app: a thread with progress, a result or one sentence of failure.

A task never calls Streamlit; pages poll it from a fragment.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from obd.errors import Cancelled, ObdError

log = logging.getLogger(__name__)

PRESENCE = 5.0  # seconds after which somebody who has not looked at a task is not there any more
KEEP = 12  # results kept in memory; the oldest that are done go first
UNEXPECTED = "Something went wrong that was not your doing; the terminal shows the details. Please try again."

Work = Callable[["Task"], Any]


class Task:
    """``work(task)`` in a daemon thread.  ``state`` is "running", "done", "failed" or "cancelled"."""

    def __init__(self, work: Work, label: str) -> None:
        self.label = label
        self.state = "running"
        self.fraction = 0.0
        self.result: Any = None
        self.error = ""
        self.preview: Any = None  # what the work has to show before it is done
        self._seen: dict[str, float] = {}  # by whom and when
        self._cancel = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(work,), name=f"task: {label}", daemon=True)
        self._thread.start()

    def progress(self, fraction: float) -> None:
        """For the work: how much is done, 0 to 1; raises Cancelled once :meth:`cancel` was called."""
        self.fraction = min(max(float(fraction), 0.0), 1.0)
        if self._cancel.is_set():
            raise Cancelled

    def part(self, start: float, end: float) -> Callable[[float], None]:
        """A progress callback for one part of the work that spans ``start`` to ``end`` of the whole."""
        return lambda fraction: self.progress(start + (end - start) * fraction)

    def should_stop(self) -> bool:
        return self._cancel.is_set()

    def cancel(self) -> None:
        self._cancel.set()

    def seen(self, who: str) -> None:
        """The session ``who`` waits for it and has just looked."""
        self._seen[who] = time.monotonic()

    def left(self, who: str) -> bool:
        """The session ``who`` does not wait for it; whether nobody does."""
        self._seen.pop(who, None)
        return all(time.monotonic() - when > PRESENCE for when in list(self._seen.values()))

    def join(self, timeout: float | None = None) -> None:
        self._thread.join(timeout)

    def _run(self, work: Work) -> None:
        try:
            self.result = work(self)
            self.fraction = 1.0
            self.state = "done"
        except Cancelled:
            self.state = "cancelled"
        except ObdError as error:
            self.error = str(error)
            self.state = "failed"
        except Exception:
            log.exception("background task %r failed", self.label)
            self.error = UNEXPECTED
            self.state = "failed"


class TaskRegistry:
    """Tasks by key, shared by all tabs; asking twice for the same key gives the same task."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[Any, ...], Task] = {}
        self._lock = threading.Lock()

    def get(self, key: tuple[Any, ...]) -> Task | None:
        with self._lock:
            return self._tasks.get(key)

    def start(self, key: tuple[Any, ...], work: Work, label: str) -> Task:
        """The task under ``key``, started now unless it is running or done."""
        with self._lock:
            task = self._tasks.get(key)
            if task is not None and task.state in ("running", "done"):
                return task
            finished = [k for k, t in self._tasks.items() if t.state != "running"]
            for old in finished[: max(0, len(self._tasks) - KEEP + 1)]:
                del self._tasks[old]
            self._tasks[key] = task = Task(work, label)
            return task

    def start_once(self, key: tuple[Any, ...], work: Work, label: str) -> Task:
        """Like :meth:`start`, but a task that failed or was cancelled stays until it is forgotten."""
        return self.get(key) or self.start(key, work, label)

    def waits(self, who: str, key: tuple[Any, ...]) -> None:
        """The session ``who`` waits for the task under ``key`` and for no other one of its kind, ``key[0]``.

        Running ones of that kind that nobody waits for are in the way: they are cancelled and forgotten.
        """
        with self._lock:
            for other, task in list(self._tasks.items()):
                if other == key:
                    task.seen(who)
                elif other[0] == key[0] and task.state == "running" and task.left(who):
                    task.cancel()
                    del self._tasks[other]

    def forget(self, key: tuple[Any, ...]) -> None:
        with self._lock:
            self._tasks.pop(key, None)

    def close(self, patience: float = 0.0) -> None:
        """Cancel everything; wait up to ``patience`` seconds for it to end."""
        with self._lock:
            ending = list(self._tasks.values())
            self._tasks.clear()
        for task in ending:
            task.cancel()
        limit = time.monotonic() + patience
        for task in ending:
            task.join(max(0.0, limit - time.monotonic()))
