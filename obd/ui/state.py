"""What all tabs share: the job queue, background tasks, loaded datasets and teachers, readers of runs.

Everything expensive is cached by run id and parameters, never by array contents: Streamlit hashes only a sample
of a large array.
"""

from __future__ import annotations

import atexit
import importlib
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from obd.data.catalog import DatasetInfo, list_datasets, load_dataset
from obd.data.dataset import OfflineDataset
from obd.data.identifiers import METADATA_FILE, dataset_path
from obd.errors import Cancelled, ObdError
from obd.runs.jobs import JobQueue
from obd.runs.manage import empty_trash, read_label
from obd.runs.showcase import showcase_runs
from obd.runs.store import Run, list_groups
from obd.teachers.files import shipped_teacher_path
from obd.ui.monitor import RunReader
from obd.ui.tasks import TaskRegistry

if TYPE_CHECKING:  # torch, which the first page must not wait for
    from obd.teachers.teacher import Teacher

SHOWCASE = "showcase"  # the group that ships with the app


def _close_queue(queue: JobQueue) -> None:
    queue.close()


def _close_tasks(registry: TaskRegistry) -> None:
    registry.close()


@st.cache_resource(on_release=_close_queue, show_spinner=False)
def job_queue() -> JobQueue:
    """The one queue of this process; it outlives every browser tab and ends its runs tidily with the process."""
    empty_trash()
    queue = JobQueue(shelf().get)  # a dataset that a page has opened serves the runs too
    # The standard library's pools refuse work as soon as the interpreter shuts down, and atexit comes after that:
    # runs would fail instead of stopping.  The pools themselves use this hook, and the one registered last goes first.
    for pool in ("process", "thread"):  # they register when they are imported
        importlib.import_module(f"concurrent.futures.{pool}")
    register = getattr(threading, "_register_atexit", atexit.register)
    register(queue.close)
    return queue


@st.cache_resource(on_release=_close_tasks, show_spinner=False)
def tasks() -> TaskRegistry:
    """Background computations of the pages."""
    registry = TaskRegistry()
    atexit.register(registry.close, patience=5.0)  # a thread inside native code can keep the interpreter from ending
    return registry


@st.cache_resource(max_entries=48, show_spinner=False)
def reader(path: str) -> RunReader:
    """The reader that follows one run directory."""
    return RunReader(Path(path))


class DatasetShelf:
    """The datasets opened last, for pages and runs alike.  Background threads use it, so it is a plain object."""

    def __init__(self, room: int = 2) -> None:
        self._room = room
        self._shelf: OrderedDict[str, tuple[int, OfflineDataset]] = OrderedDict()
        self._lock = threading.Lock()
        self._opening: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def __contains__(self, dataset_id: str) -> bool:
        return dataset_id in self._shelf

    def get(
        self,
        dataset_id: str,
        on_progress: Callable[[float], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> OfflineDataset:
        """The dataset, loaded (and a missing built-in one collected) now if need be; see ``load_dataset``.

        One that has been written anew since is loaded again; two threads that ask at once load it once.
        """
        lock = self._opening[dataset_id]
        while not lock.acquire(timeout=0.2):
            if should_stop is not None and should_stop():
                raise Cancelled
        try:
            with self._lock:
                kept = self._shelf.get(dataset_id)
                if kept is not None and kept[0] == _written(dataset_id):
                    self._shelf.move_to_end(dataset_id)
                    return kept[1]
            loaded = load_dataset(dataset_id, on_progress=on_progress, should_stop=should_stop)
            with self._lock:
                self._shelf[dataset_id] = (_written(dataset_id), loaded)
                while len(self._shelf) > self._room:
                    self._shelf.popitem(last=False)
            return loaded
        finally:
            lock.release()

    def forget(self, dataset_id: str) -> None:
        """A dataset was replaced."""
        with self._lock:
            self._shelf.pop(dataset_id, None)


def _written(dataset_id: str) -> int:
    """When the files of a dataset were written; 0 when there are none."""
    try:
        return (dataset_path(dataset_id) / "data" / METADATA_FILE).stat().st_mtime_ns
    except (OSError, ObdError):
        return 0


@st.cache_resource(show_spinner=False)
def shelf() -> DatasetShelf:
    """Loaded datasets, shared by tabs and background tasks."""
    return DatasetShelf()


@st.cache_resource(max_entries=4, show_spinner=False)
def teacher(dataset_id: str, path: str) -> Teacher:
    """The teacher at ``path`` or, when empty, the one shipped for the dataset."""
    from obd.teachers.teacher import load_teacher

    return load_teacher(Path(path) if path else shipped_teacher_path(dataset_id))


@st.cache_resource(ttl=15, max_entries=1, show_spinner=False)
def datasets() -> list[DatasetInfo]:
    """The catalogue, looked up again every quarter of a minute."""
    return list_datasets()


def dataset_info(dataset_id: str) -> DatasetInfo | None:
    """The catalogue's line about a dataset; None when it is not there."""
    return next((info for info in datasets() if info.id == dataset_id), None)


def groups() -> dict[str, list[Run]]:
    """Every group of runs, newest first, the shipped showcase last; archived ones only when asked for by name."""
    wanted = st.session_state.get("group")
    found = {
        name: runs
        for name, runs in list_groups().items()
        if name == wanted or not all(read_label(run).archived for run in runs)
    }
    shipped = showcase_runs()
    if shipped:
        found[SHOWCASE] = shipped
    return found


def session() -> str:
    """A name of the browser tab that is being served."""
    context = get_script_run_ctx()
    return context.session_id if context is not None else ""


def select_group(group: str) -> None:
    """Make a group the one that all pages show, and the address name it."""
    st.session_state["group"] = group
    st.query_params["group"] = group


def still_there(runs: list[Run]) -> list[Run]:
    """The runs whose directories have not been deleted since the list was made."""
    return [run for run in runs if (run.path / "config.json").is_file()]
