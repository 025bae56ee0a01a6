"""The queue behind the app: groups of runs, one group after another, in a background thread."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from obd.config import DistillConfig
from obd.data.dataset import OfflineDataset
from obd.errors import ObdError
from obd.runs.store import Run, create_run, list_groups, mark_interrupted

log = logging.getLogger(__name__)

Load = Callable[..., OfflineDataset]  # the signature of obd.data.catalog.load_dataset


class JobQueue:
    """One worker thread; the run directories hold all state, so any number of pages can look on.

    Runs of a group advance side by side; a group submitted while another one works waits for its turn.
    """

    def __init__(self, load: Load | None = None) -> None:
        """``load`` opens datasets: one that keeps them open saves a run the seconds this takes."""
        self._load = load
        self._waiting: deque[tuple[str, list[Run]]] = deque()
        self._active: str | None = None
        self._stop, self._pause = threading.Event(), threading.Event()
        self._changed = threading.Condition()
        self._closed = False
        mark_interrupted()
        self._thread = threading.Thread(target=self._work, name="obd-jobs", daemon=True)
        self._thread.start()

    def submit(self, configs: Sequence[DistillConfig], *, name: str = "") -> str:
        """Queue one run per config as a group and return the group's id.

        Raises:
            ObdError: no config, different datasets, or the runs directory cannot be written.
        """
        if not configs:
            raise ObdError("Choose at least one objective.")
        if len({config.dataset for config in configs}) > 1:
            raise ObdError("The runs of one group must share their dataset.")
        first = create_run(configs[0], name=name)
        runs = [first, *(create_run(config, group=first.group, name=name) for config in configs[1:])]
        self._enqueue(first.group, runs)
        return first.group

    def resume(self, group: str) -> None:
        """Queue the unfinished runs of a group again; ObdError when there are none or they are active.

        A paused group had begun: it goes on before those that wait for their first turn.
        """
        runs = list_groups().get(group, [])
        if not runs:
            raise ObdError(f"There is no run {group}; it may have been deleted.")
        if group in {self.active(), *self.waiting()}:
            raise ObdError("This run is active already.")
        unfinished = [run for run in runs if run.status()["state"] != "finished"]
        if not unfinished:
            raise ObdError("This run is complete; start a new one to go further.")
        paused = any(run.status()["state"] == "paused" for run in unfinished)
        for run in unfinished:
            run.write_status(state="queued", message="")
        self._enqueue(group, unfinished, first=paused)

    def pause(self, group: str) -> None:
        """End a group's work after its current step, at a checkpoint; no effect unless it is being carried out.

        The cores are free then, for the next group in the queue too.  :meth:`resume` continues to the same bytes,
        also after a restart of the app.
        """
        with self._changed:
            if group == self._active:
                self._pause.set()
                self._stop.set()

    def stop(self, group: str) -> None:
        """Stop a group after its current step, or take it out of the queue; no effect when it is over."""
        with self._changed:
            if group == self._active:
                self._pause.clear()
                self._stop.set()
                return
            removed = [runs for name, runs in self._waiting if name == group]
            self._waiting = deque(item for item in self._waiting if item[0] != group)
        for runs in removed:
            for run in runs:
                run.write_status(state="stopped", message="Taken out of the queue.")

    def active(self) -> str | None:
        """The group that is being carried out."""
        with self._changed:
            return self._active

    def waiting(self) -> list[str]:
        """Groups in the queue, next one first."""
        with self._changed:
            return [group for group, _ in self._waiting]

    def find(self, configs: Sequence[DistillConfig]) -> str | None:
        """The group of exactly these runs that works or waits; None without one, or while it is being ended."""
        with self._changed:
            active = self._active if not self._stop.is_set() else None
            names = [name for name in (active, *(name for name, _ in self._waiting)) if name is not None]
        groups, wanted = list_groups(), sorted(map(repr, configs))
        found = (name for name in names if sorted(repr(run.config) for run in groups.get(name, [])) == wanted)
        return next(found, None)

    def close(self, timeout: float = 30.0) -> None:
        """Stop everything and wait for the thread; unfinished runs can be resumed."""
        with self._changed:
            self._closed = True
            self._pause.clear()
            self._stop.set()
            waiting, self._waiting = list(self._waiting), deque()
            self._changed.notify_all()
        for _, runs in waiting:
            for run in runs:
                run.write_status(state="interrupted", message="The app was closed; resume the run.")
        self._thread.join(timeout)

    def _enqueue(self, group: str, runs: list[Run], *, first: bool = False) -> None:
        with self._changed:
            if self._closed:
                raise ObdError("The app is closing; start it again.")
            (self._waiting.appendleft if first else self._waiting.append)((group, runs))
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                self._active, runs = self._waiting.popleft()
                self._stop.clear()
                self._pause.clear()
            try:
                from obd.runs.execute import GroupExecution  # imports torch, which the first page must not wait for

                GroupExecution(runs, load=self._load)(self._stop.is_set, self._pause.is_set)
            except ObdError as error:
                log.warning("group %s: %s", self._active, error)
            except Exception as error:
                log.exception("group %s failed", self._active)
                for run in runs:
                    _fail(run, f"Unexpected {type(error).__name__}; the log has the details.")
            finally:
                with self._changed:
                    self._active = None


def _fail(run: Run, message: str) -> None:
    status: dict[str, Any] = {"state": "failed", "message": message}
    try:
        run.write_status(**status)
    except ObdError as error:
        log.error("run %s: %s", run.id, error)
