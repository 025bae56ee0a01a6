"""Updates per second of every offline RL algorithm, beside the same algorithm written plainly in PyTorch.

Both run in this process on one thread with batch 256 and two hidden layers of 256, in turn, so that whatever else the
machine does meets both alike.  Reported: the median time of one update and the median ratio of neighbouring pairs, for
ours in full precision and as it is run by default (``auto``: reduced where the processor has bfloat16 tiles); the plain
version always has full precision, PyTorch's own default.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from obd.bench.plain_teachers import PLAIN
from obd.config import DEFAULT_DATASET
from obd.data.catalog import load_dataset
from obd.events import ShouldStop
from obd.teachers import algorithm, teacher_config
from obd.teachers.networks import set_precision

PAIRS, UPDATES, WARM_UP = 11, 40, 10
SLOW = {"cal_ql"}  # the penalty looks at 31 actions per state: fewer updates are measured


def run(*, quick: bool, say: Callable[[str], None], should_stop: ShouldStop) -> dict[str, Any]:
    """Measure all algorithms on the built-in dataset."""
    dataset = load_dataset(DEFAULT_DATASET)
    threads, flush = torch.get_num_threads(), torch.set_flush_denormal(True)
    before = torch.get_float32_matmul_precision()
    torch.set_num_threads(1)
    result: dict[str, Any] = {"threads": 1, "batch_size": 256, "hidden_layers": [256, 256], "flush_denormal": flush}
    try:
        for name, make in PLAIN.items():
            if should_stop():
                break
            config = teacher_config(name, "paper", batch_size=256, hidden_layers=2)
            learner = algorithm(name).learner(dataset, config)
            opponent = make(learner)
            count = (2 if quick else UPDATES) // (8 if name in SLOW and not quick else 1)
            ours = partial(learner.update, 1.0, False)
            result[name] = {
                precision: compare(ours, opponent.update, count, quick, precision) for precision in ("highest", "auto")
            }
            say(f"{name}: {result[name]}")
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(before)
    return result


def compare(
    ours: Callable[[], Any], plain: Callable[[], Any], updates: int, quick: bool, precision: str
) -> dict[str, Any]:
    """Seconds per update of both, in interleaved pairs."""

    def timed(update: Callable[[], Any]) -> float:
        set_precision(precision if update is ours else "highest")
        start = time.perf_counter()
        for _ in range(updates):
            update()
        return (time.perf_counter() - start) / updates

    for _ in range(1 if quick else WARM_UP):
        ours()
        plain()
    pairs = [(timed(ours), timed(plain)) for _ in range(2 if quick else PAIRS)]
    mine, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
    return {
        "milliseconds": round(1e3 * mine, 3),
        "plain_milliseconds": round(1e3 * theirs, 3),
        "updates_per_second": round(1 / mine, 1),
        "plain_updates_per_second": round(1 / theirs, 1),
        "speed_up": round(statistics.median(b / a for a, b in pairs), 2),
    }
