"""A pool of spawned worker processes that report progress and can be stopped."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from obd.errors import Cancelled, ObdError
from obd.events import ShouldStop

Result = TypeVar("Result")
POLL_SECONDS = 0.1

_signals: tuple[Any, Any] | None = None  # (counter, stop event) inside a worker process


def run_parallel(
    function: Callable[..., Result],
    arguments: Sequence[tuple[Any, ...]],
    *,
    total: int,
    workers: int | None = None,
    on_progress: Callable[[float], None] | None = None,
    should_stop: ShouldStop | None = None,
) -> list[Result]:
    """``[function(*a, tick, stopped) for a in arguments]`` over ``workers`` processes (default: one per core).

    ``function`` must be importable without torch (workers then start fast), call ``tick(n)`` after n units of work
    (``total`` is their expected sum) and look at ``stopped()`` now and then; what it returns after a stop is dropped.
    With one worker, or one argument, everything happens in this process.  Inside, BLAS uses one thread.

    Raises:
        Cancelled: ``should_stop()`` returned true.
        ObdError: a worker process died.
    """
    count = min(workers or os.cpu_count() or 1, len(arguments))
    if count <= 1:
        return _run_here(function, arguments, total, on_progress, should_stop)
    context = multiprocessing.get_context("spawn")
    counter, stop = context.Value("q", 0), context.Event()
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_initialize, initargs=(counter, stop))
    with pool:
        try:
            with without_main_module():
                futures = [pool.submit(_call, function, a) for a in arguments]
            _watch(futures, counter, total, on_progress, should_stop)
            return [future.result() for future in futures]
        except BrokenProcessPool as error:
            raise ObdError("A worker process ended unexpectedly (out of memory?); try again with workers=1.") from error
        finally:
            stop.set()  # also on errors: the other workers end at their next look
            pool.shutdown(wait=True, cancel_futures=True)


def _watch(
    futures: list[Future[Any]],
    counter: Any,
    total: int,
    on_progress: Callable[[float], None] | None,
    should_stop: ShouldStop | None,
) -> None:
    pending: set[Future[Any]] = set(futures)
    while pending:
        done, pending = wait(pending, timeout=POLL_SECONDS, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        if should_stop is not None and should_stop():
            raise Cancelled
        if on_progress is not None:
            on_progress(min(1.0, counter.value / max(total, 1)))


def _run_here(
    function: Callable[..., Result],
    arguments: Sequence[tuple[Any, ...]],
    total: int,
    on_progress: Callable[[float], None] | None,
    should_stop: ShouldStop | None,
) -> list[Result]:
    finished = 0

    def tick(units: int) -> None:
        nonlocal finished
        finished += units
        if on_progress is not None:
            on_progress(min(1.0, finished / max(total, 1)))

    def stopped() -> bool:
        if should_stop is not None and should_stop():
            raise Cancelled
        return False

    with threadpool_limits(1, user_api="blas"):  # same arithmetic as in a worker, hence the same bytes
        return [function(*a, tick, stopped) for a in arguments]


def end_with_parent() -> None:
    """In a worker process: end as soon as the parent has, even if that was killed; a pool would wait for ever."""

    def watch() -> None:
        if (parent := multiprocessing.parent_process()) is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, name="parent watch", daemon=True).start()


def _initialize(counter: Any, stop: Any) -> None:
    global _signals
    end_with_parent()
    _signals = (counter, stop)
    threadpool_limits(1, user_api="blas")


def _call(function: Callable[..., Result], arguments: tuple[Any, ...]) -> Result:
    assert _signals is not None
    counter, stop = _signals

    def tick(units: int) -> None:
        with counter.get_lock():
            counter.value += units

    return function(*arguments, tick, stop.is_set)


@contextmanager
def without_main_module() -> Iterator[None]:
    """Keep spawned processes from importing the main script again.

    That script may be a Streamlit page, an unguarded notebook export or ``python -m obd``: none is needed by a worker,
    and all are slow or harmful to run twice.
    """
    original, empty = sys.modules["__main__"], ModuleType("__main__")
    sys.modules["__main__"] = empty
    try:
        yield
    finally:
        if sys.modules.get("__main__") is empty:
            sys.modules["__main__"] = original
