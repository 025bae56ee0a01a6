"""What the machine offers: device, cores and their threads, reduced precision, memory."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch

from obd.engine.network import Shape
from obd.errors import ObdError

MEMORY_SHARE = 0.6  # of the machine's memory that the stored unrolls may take


def select_device(name: str) -> torch.device:
    """``auto`` is CUDA, then MPS, then CPU; ObdError when the named device is absent."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(key for key, present in available.items() if present)
    if not available.get(name, False):
        raise ObdError(f"This machine has no {name} device; choose auto or cpu.")
    return torch.device(name)


def compute_type(precision: str, device: torch.device) -> torch.dtype:
    """Of the matrix products in the unrolled training; ``auto`` is bfloat16 on a CPU with instructions for it."""
    if precision == "auto":
        has = torch.cpu.get_capabilities()
        fast = device.type == "cpu" and (has.get("avx512_bf16", False) or has.get("amx_bf16", False))
        precision = "bfloat16" if fast else "highest"
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def _prepare_worker() -> None:
    torch.set_num_threads(1)
    if sys.platform == "linux":  # the page's thread goes first when the user clicks
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)


@lru_cache(maxsize=1)
def worker_pool() -> ThreadPoolExecutor:
    """One worker thread per core, shared by all runs of the process."""
    return ThreadPoolExecutor(available_cores(), "obd-engine", initializer=_prepare_worker)


def available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_memory(shape: Shape, copies: int, itemsize: int = 4) -> None:
    """Refuse settings whose stored unroll does not fit, before anything is allocated."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return
    needed, total = shape.bytes(itemsize) * copies, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > MEMORY_SHARE * total:
        raise ObdError(
            f"These settings need {needed / 2**30:.0f} GiB of memory and the machine has {total / 2**30:.0f}; "
            "choose fewer pairs, inner steps, initialisations or a smaller student."
        )
