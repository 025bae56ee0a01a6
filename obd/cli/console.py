"""What a command says while it works, and how it is stopped."""

from __future__ import annotations

import signal
import sys
import threading
import time


class Interrupt:
    """Turns Ctrl-C into an orderly stop: the first one sets the event, a second one ends at once."""

    def __init__(self) -> None:
        self.event = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def _handle(self, _number: int, _frame: object) -> None:
        if self.event.is_set():
            raise KeyboardInterrupt
        self.event.set()
        say("Stopping after the current step ...")

    def __call__(self) -> bool:
        return self.event.is_set()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class ProgressLine:
    """A line on stderr that is rewritten in a terminal and printed every few seconds elsewhere."""

    def __init__(self, title: str) -> None:
        self.title, self.last = title, time.monotonic()  # what is over at once, or refused, needs no progress
        self.every = 0.2 if sys.stderr.isatty() else 5.0

    def __call__(self, fraction: float, detail: str = "") -> None:
        now = time.monotonic()
        if now - self.last < self.every and fraction < 1:
            return
        self.last = now
        end = "\r" if sys.stderr.isatty() and fraction < 1 else "\n"
        print(f"{self.title}: {100 * fraction:5.1f} % {detail}", end=end, file=sys.stderr, flush=True)
