"""Starting runs from a page."""

from __future__ import annotations

from collections.abc import Sequence

from obd.config import DistillConfig
from obd.ui import state


def start(configs: Sequence[DistillConfig], name: str = "") -> str:
    """Queue the runs, make them the ones on show and return their group.

    A built-in dataset that is missing is collected by the queue, which reports its progress in the run's status.
    Raises ObdError when the runs directory cannot be written.
    """
    group = state.job_queue().submit(configs, name=name)
    state.select_group(group)
    return group
