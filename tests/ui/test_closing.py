"""What happens with runs when the process of the app ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import threading
from obd.ui import state
state.job_queue()
from concurrent.futures import process, thread  # a page or a run opens its first pool after the queue
order = [hook.func for hook in reversed(threading._threading_atexits)]  # the order in which Python calls them
pools = [process._python_exit, thread._python_exit]
assert all(order.index(state.job_queue().close) < order.index(pool) for pool in pools), order
"""


def test_runs_are_ended_before_the_pools_they_need_are_closed(storage: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
