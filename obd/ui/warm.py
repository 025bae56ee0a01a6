"""What the first run and the first map need, got ready while the user looks at the first page: imports, data, teacher.

The first page is painted without torch.  Without this the first loss would come seconds later, for importing torch
and opening the data are most of what a run does before its first step.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import threading
import time

import streamlit as st

from obd.config import DEFAULT_DATASET
from obd.data.catalog import list_datasets
from obd.errors import ObdError
from obd.runs.showcase import showcase_runs
from obd.ui import livemap, state
from obd.ui.tasks import TaskRegistry

log = logging.getLogger(__name__)

DELAY = 1.5  # seconds until the first page is painted: an import holds the interpreter lock for long


@st.cache_resource(show_spinner=False)
def up() -> threading.Thread:
    """Start getting ready, once per process."""
    thread = threading.Thread(target=_work, args=(state.shelf(), state.tasks()), name="warm-up", daemon=True)
    thread.start()
    atexit.register(thread.join, 20.0)  # a process that ends in the middle of importing torch would hang
    return thread


def _work(shelf: state.DatasetShelf, tasks: TaskRegistry) -> None:
    time.sleep(DELAY)
    try:
        import obd.runs.execute  # noqa: F401  # with torch and all that a run needs

        info = next((info for info in list_datasets() if info.id == DEFAULT_DATASET), None)
        if info is None or not info.available:  # nobody has asked to build it
            return
        with contextlib.suppress(ObdError):  # whoever opens it by hand is told
            shelf.get(DEFAULT_DATASET)
            livemap.order_plane(DEFAULT_DATASET, shelf, tasks)
            # Beside a distillation the first opening of States would take seconds.
            from obd.ui import claimview, mapdata, statesview  # noqa: F401

            plane = mapdata.pca(DEFAULT_DATASET, "", 2)
            for run in showcase_runs():
                mapdata.moving_set(run, mapdata.background(DEFAULT_DATASET, ""), plane)
    except Exception:  # a convenience must not fail anything
        log.exception("getting ready in the background failed")
