"""How the cost of an outer step grows: with the pairs, the student's depth and width, replicas, and the dataset.

Times are medians of a few steps on one core with one intra-op thread, so the rows of a table compare with each other.
Memory is what the process holds above a copy of the data.  Written to ``assets/benchmarks/scaling.json``.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from obd.config import DistillConfig, dumps
from obd.data.dataset import OfflineDataset
from obd.engine.distill import Distiller
from obd.engine.machine import compute_type
from obd.engine.network import Shape, orthogonal_parameters, outer_loss
from obd.engine.unroll import Unroll
from obd.events import ShouldStop
from obd.paths import assets_dir
from obd.runs.store import write_atomic

SIZES = (4, 16, 64, 256, 1024, 4096)
DEPTHS, WIDTHS, REPLICAS = (1, 2, 3, 4, 6), (64, 128, 256, 512, 1024), (1, 2, 5, 10)
TRANSITIONS = (100_000, 1_000_000, 10_000_000)
REPEATS = 5


def base() -> Shape:
    """The default settings' inner problem on HalfCheetah."""
    config = DistillConfig()
    hidden = (config.hidden_width,) * config.hidden_layers
    return Shape(1, config.size, 17, 6, hidden, config.inner_steps, config.inner_batch)


def variants() -> list[tuple[str, int, Shape]]:
    """(what changes, its value, the problem)."""
    start = base()
    # With more pairs than a block holds the inner steps stay the same, so here every step takes all pairs.
    rows = [("size", size, replace(start, size=size, batch=0)) for size in SIZES]
    rows += [("depth", depth, replace(start, hidden=(start.hidden[0],) * depth)) for depth in DEPTHS]
    rows += [("width", width, replace(start, hidden=(width,) * len(start.hidden))) for width in WIDTHS]
    return rows + [("replicas", count, replace(start, replicas=count)) for count in REPLICAS]


def step_seconds(shape: Shape, batch_size: int, repeats: int) -> float:
    """Median time of one hypergradient."""
    config = DistillConfig()
    source = torch.Generator().manual_seed(0)
    unroll = Unroll(
        shape,
        momentum=config.inner_momentum,
        decay=config.step_size_decay,
        compute=compute_type(config.precision, torch.device("cpu")),
    )
    r, n = shape.replicas, shape.size
    observations = torch.randn(r, n, shape.observation_dim, generator=source)
    actions = torch.randn(r, n, shape.action_dim, generator=source).tanh()
    states = torch.randn(r, batch_size, shape.observation_dim, generator=source)
    targets = torch.randn(r, batch_size, shape.action_dim, generator=source).tanh()
    rates = torch.full((r, len(shape.widths) - 1), 0.01)
    start = orthogonal_parameters(shape, source, config.output_gain)
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        final = unroll.train(start, observations, actions, rates)
        _, gradient = outer_loss(final, states, targets, None, unroll.compute)
        unroll.adjoint(gradient)
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def made_up(count: int) -> OfflineDataset:
    """``count`` random transitions in HalfCheetah's shape: to measure time and memory, not returns."""
    rng = np.random.default_rng(0)
    states = rng.standard_normal((count, 17), dtype=np.float32)
    none = np.zeros(count, bool)
    bounds = np.ones(6, np.float32)
    actions = rng.uniform(-1, 1, (count, 6)).astype(np.float32)
    starts = np.arange(0, count, 1000)
    rewards = np.zeros(count, np.float32)
    return OfflineDataset(
        "made/up-v0", "HalfCheetah-v5", states, actions, rewards, states, none, none, starts, -bounds, bounds
    )


def probe(count: int) -> dict[str, float]:
    """Outer step and peak memory of a DBC run on ``count`` transitions; for a process of its own."""
    dataset = made_up(count)
    before = peak_bytes()
    distiller = Distiller(DistillConfig(objective="dbc", initialisations=1), dataset, None)
    distiller.step(0, 100)
    began = time.perf_counter()
    for step in range(1, 1 + REPEATS):
        distiller.step(step, 100)
    seconds = (time.perf_counter() - began) / REPEATS
    copy = dataset.observations.nbytes + dataset.actions.nbytes
    return {"seconds": seconds, "data_megabytes": copy / 1e6, "extra_megabytes": (peak_bytes() - before) / 1e6}


def peak_bytes() -> int:
    """The most memory this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def run(*, quick: bool, say: Callable[[str], None], should_stop: ShouldStop) -> dict[str, Any]:
    """Measure everything and print the tables; see the module's docstring."""
    torch.set_num_threads(1)
    batch = DistillConfig().batch_size
    rows: list[dict[str, Any]] = []
    for what, value, shape in variants()[:2] if quick else variants():
        if should_stop():
            return {"rows": rows}
        seconds = step_seconds(shape, batch, 1 if quick else REPEATS)
        gflops = shape.flops(batch) / seconds / 1e9
        rows.append({"what": what, "value": value, "seconds": round(seconds, 4), "gflop_per_second": round(gflops, 1)})
        say(f"{what} {value}: {1000 * seconds:.0f} ms, {gflops:.0f} GFLOP/s")
    for count in (1_000,) if quick else TRANSITIONS:
        if should_stop():
            return {"rows": rows}
        command = f"import json; from obd.bench.scaling import probe; print(json.dumps(probe({count})))"
        done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
        found = {name: round(value, 4) for name, value in json.loads(done.stdout).items()}
        rows.append({"what": "transitions", "value": count, **found})
        say(f"{count:,} transitions: {found}")
    one = next((row["seconds"] for row in rows if (row["what"], row["value"]) == ("replicas", 1)), None)
    ten = next((row["seconds"] for row in rows if (row["what"], row["value"]) == ("replicas", 10)), None)
    result = {"command": "python -m obd bench scaling", "rows": rows}
    if one and ten:
        result["ten_replicas_over_ten_runs"] = round(ten / (10 * one), 2)
        say(f"ten replicas in one pass take {result['ten_replicas_over_ten_runs']} of ten passes")
    if not quick:
        write_atomic(assets_dir() / "benchmarks" / "scaling.json", dumps(result))
    return result
