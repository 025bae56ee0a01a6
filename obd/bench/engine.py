"""Time of one outer step at the paper's sizes: our adjoint against a plain PyTorch double backward.

Both compute the hypergradient of the same problem (N = 256, three hidden layers of 256, 100 inner steps, 2,560 real
states; Lei et al. 2024, section 5) with the same number of threads, in turn, so that a drifting machine touches both.
bfloat16 is measured where the engine would choose it: without instructions for it a step takes minutes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from obd.engine import plain
from obd.engine.machine import available_cores, compute_type, worker_pool
from obd.engine.network import Shape, orthogonal_parameters, outer_loss
from obd.engine.unroll import Unroll
from obd.events import ShouldStop

BATCH = 2560


def timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def gemm_peak(threads: int, dtype: torch.dtype) -> float:
    """Best observed rate of a 1024 x 1024 matrix product in FLOP/s."""
    torch.set_num_threads(threads)
    a, b, out = (torch.randn(1024, 1024).to(dtype) for _ in range(3))
    times = [timed(lambda: torch.mm(a, b, out=out)) for _ in range(30)]
    return float(2 * 1024**3 / min(times))


class Problem:
    """One random problem and the two ways to its hypergradient."""

    def __init__(self, steps: int, compute: torch.dtype) -> None:
        self.shape = Shape(1, 256, 17, 6, (256, 256, 256), steps)
        generator = torch.Generator().manual_seed(0)
        self.observations = torch.randn(1, 256, 17, generator=generator)
        self.actions = torch.randn(1, 256, 6, generator=generator).tanh()
        self.states = torch.randn(1, BATCH, 17, generator=generator)
        self.targets = torch.randn(1, BATCH, 6, generator=generator).tanh()
        self.rates = torch.full((1, 4), 0.1)
        self.start = orthogonal_parameters(self.shape, generator)
        self.unrolls = [
            Unroll(self.shape, momentum=0.0, decay=False, compute=compute) for _ in range(available_cores())
        ]

    def ours(self, worker: int = 0) -> object:
        unroll = self.unrolls[worker]
        final = unroll.train(self.start, self.observations, self.actions, self.rates)
        _, gradient = outer_loss(final, self.states, self.targets, None, unroll.compute)
        return unroll.adjoint(gradient)

    def plain(self) -> object:
        _, gradients = plain.hypergradient(
            [(weight[0], bias[0, 0]) for weight, bias in self.start],
            self.observations[0],
            self.actions[0],
            self.rates[0].log(),
            steps=self.shape.steps,
            momentum=0.0,
            decay=False,
            states=self.states[0],
            targets=self.targets[0],
            weights=None,
        )
        return gradients

    def ours_on_all_cores(self) -> None:
        """One replica per core, each in a worker thread of its own with one intra-op thread."""
        tasks = [worker_pool().submit(self.ours, worker) for worker in range(len(self.unrolls))]
        for task in tasks:
            task.result()


def run(*, quick: bool, say: Callable[[str], None], should_stop: ShouldStop) -> dict[str, Any]:
    """Measure and return the figures; see the module's docstring."""
    cores, pairs, steps = available_cores(), 2 if quick else 7, 20 if quick else 100
    flops = Problem(steps, torch.float32).shape.flops(BATCH)
    result: dict[str, Any] = {"cores": cores, "gflop_per_step": round(flops / 1e9, 1), "pairs": pairs}
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    fastest = compute_type("auto", torch.device("cpu"))
    try:
        for compute in dict.fromkeys((torch.float32, fastest)):
            problem = Problem(steps, compute)
            peak = gemm_peak(cores, compute)
            torch.set_num_threads(cores)
            for warm_up in (problem.ours, problem.plain, problem.ours_on_all_cores):
                warm_up()
            ours, opponents, workers = [], [], []
            for _ in range(pairs):
                if should_stop():
                    break
                ours.append(timed(problem.ours))
                opponents.append(timed(problem.plain))
                workers.append(timed(problem.ours_on_all_cores) / cores)
            if not ours:  # stopped before the first comparison
                break
            name = str(compute).removeprefix("torch.")
            result[name] = {
                "ours_seconds": round(statistics.median(ours), 4),
                "ours_one_replica_per_core_seconds": round(statistics.median(workers), 4),
                "plain_double_backward_fp32_seconds": round(statistics.median(opponents), 4),
                "ratio": round(statistics.median(a / b for a, b in zip(ours, opponents, strict=True)), 3),
                "ratio_one_replica_per_core": round(
                    statistics.median(a / b for a, b in zip(workers, opponents, strict=True)), 3
                ),
                "gemm_peak_gflops": round(peak / 1e9, 1),
                "share_of_peak": round(flops / statistics.median(ours) / peak, 3),
                "share_of_peak_one_replica_per_core": round(flops / statistics.median(workers) / peak, 3),
            }
            say(f"{name}: {result[name]}")
    finally:
        torch.set_float32_matmul_precision(before)
    if fastest == torch.float32:
        say("bfloat16 was left out: this processor has no instructions for it.")
    return result
