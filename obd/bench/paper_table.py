"""The paper's table (Lei et al. 2024, table 1) under a time budget per run: dataset x method x seed.

Every method gets as many outer steps as fit into the budget with the whole machine to itself; the count is measured
at the first call, or given, and written into every line, so that a busy machine changes the time of a run and not its
result.  Settings that train fewer students at once than there are cores, as the paper's do, get the steps that they
would take if they kept all of them busy.  One finished run is one line of ``assets/benchmarks/paper_table.jsonl``; a
second call continues where the first ended, on another machine too.  Random selection, whole-data BC and the teacher
come from ``python -m obd bench baselines``.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from obd.bench.plain_distiller import PlainDistiller, distill_plainly
from obd.bench.showcase import budget_steps
from obd.config import DEFAULT_DATASET, DistillConfig
from obd.data.catalog import BUILTIN, load_dataset
from obd.data.dataset import OfflineDataset
from obd.engine.distill import Distiller, distill
from obd.engine.distilled import DistilledDataset
from obd.engine.machine import available_cores
from obd.errors import ObdError
from obd.evaluation import rollout_returns
from obd.events import ShouldStop
from obd.objectives import matches_gradients
from obd.policy import EnsemblePolicy, Policy
from obd.runs.execute import EVALUATION_SEED, open_teacher
from obd.runs.lines import Line, append_line, lines_path, read_lines
from obd.runs.paper_table import FIELDS, METHODS, NAME, Method, key, overall, rows
from obd.students import selection, train_other_students

SECONDS, SEEDS, STUDENTS, EPISODES = 180.0, 3, 10, 5

# Sets of one dataset by their settings and by whether they were distilled plainly, with the seconds they took.
Distilled = dict[tuple[DistillConfig, bool], tuple[DistilledDataset, float]]


def run(
    *,
    quick: bool,
    say: Callable[[str], None],
    should_stop: ShouldStop,
    datasets: Sequence[str] = (),
    methods: Sequence[str] = (),
    seeds: int = SEEDS,
    seconds: float = SECONDS,
    steps: int | None = None,
) -> dict[str, Any]:
    """Measure what is missing, print the table of all lines with this budget; its rows are returned.

    Args:
        datasets, methods: ids and keys of METHODS; all when empty.
        steps: outer steps of the default settings in ``seconds``, instead of measuring; the paper's settings and
            gradient matching get their share by the ratio of a trial of both.

    Raises:
        ObdError: there is no such method.
    """
    for method in methods:
        if method not in METHODS:
            raise ObdError(
                f"Unknown method {method!r}; known are {', '.join(METHODS)}. Random selection, whole-data BC and the "
                "teacher are measured by `python -m obd bench baselines`."
            )
    path = Path(tempfile.mkdtemp()) / "quick.jsonl" if quick else lines_path(NAME)
    lines = read_lines(path, FIELDS)
    budget = 2.0 if quick else seconds
    counts = step_counts(lines, budget, steps, methods or tuple(METHODS))
    say(f"outer steps in {budget:g} s: {', '.join(f'{method} {count}' for method, count in counts.items())}")
    wanted = tuple(datasets) or tuple(BUILTIN)
    for seed in range(1 if quick else seeds):
        for dataset_id in wanted[:1] if quick else wanted:
            dataset = load_dataset(dataset_id)
            distilled: Distilled = {}
            for method in methods or METHODS:
                known = any(key(line) == (dataset_id, method, seed, budget) for line in lines)
                if known or should_stop():
                    continue
                line = measured(METHODS[method], dataset, seed, counts.get(method, 1), should_stop, distilled)
                if line is None:  # stopped: an unfinished set says nothing about the budget
                    break
                line |= {"method": method, "budget_seconds": budget}
                lines.append(line)
                append_line(path, line)
                say(f"{dataset_id} {method} seed {seed}: {np.mean(line['students']):.1f} in {line['seconds']:.0f} s")
    table = [row for dataset_id in wanted for row in rows(dataset_id, lines, budget)]
    for text in printed(table):
        say(text)
    return {"budget_seconds": budget, "rows": table}


def step_counts(lines: list[Line], budget: float, steps: int | None, methods: Sequence[str]) -> dict[str, int]:
    """Distillation method -> outer steps in the budget: as in earlier lines, else as given or measured."""
    counts = {
        pace(line["method"]): int(line["outer_steps"])
        for line in lines
        if key(line)[3] == budget and line["outer_steps"]  # a selection takes none
    }
    wanted = [method for method in methods if not METHODS[method].selection]
    for method in wanted:
        if pace(method) in counts:
            continue
        if steps is None:
            counts[pace(method)] = steps_in(budget, method)
        elif pace(method) == pace("av_pbc"):
            counts[pace(method)] = steps
        else:
            counts[pace(method)] = max(1, round(steps * steps_in(budget, method) / steps_in(budget, "av_pbc")))
    return {method: counts[pace(method)] for method in wanted}


def pace(name: str) -> tuple[str, int, bool, bool]:
    """What the time of an outer step depends on: settings, size, whether anything is unrolled, and by what engine."""
    method = METHODS[name]
    return method.preset, method.size, matches_gradients(method.objective), method.plain


def steps_in(budget: float, method: str) -> int:
    """Outer steps of a method in ``budget`` seconds, from a trial, as if it kept all cores busy."""
    config = METHODS[method].config(DEFAULT_DATASET, 0, 1)
    busy = min(config.initialisations, available_cores())
    kind = PlainDistiller if METHODS[method].plain else Distiller
    return round(budget_steps(budget, config, kind) * available_cores() / busy)


def measured(
    method: Method,
    dataset: OfflineDataset,
    seed: int,
    steps: int,
    should_stop: ShouldStop,
    distilled: Distilled,
) -> Line | None:
    """Distil (or select), train ten students, play them and their ensemble; None if stopped on the way.

    ``distilled`` grows by what is distilled here; methods that differ in their students share a set.
    """
    config = method.config(dataset.id, seed, steps)
    teacher = open_teacher(config, dataset)
    began = time.perf_counter()
    if method.selection:
        steps, result = 0, selection(dataset, config, method.selection, teacher, seed)
        seconds = time.perf_counter() - began
    else:
        known = config, method.plain
        if known not in distilled:
            run = distill_plainly if method.plain else distill
            result = run(config, dataset, teacher, should_stop=should_stop)
            distilled[known] = result, time.perf_counter() - began
        result, seconds = distilled[known]
    if should_stop():
        return None
    return {
        "dataset": dataset.id,
        "dataset_hash": dataset.content_hash,
        "objective": config.objective,
        "seed": seed,
        "outer_steps": steps,
        "seconds": round(seconds, 1),
        **played(
            train_other_students(result, STUDENTS, EVALUATION_SEED, architecture=method.architecture),
            dataset,
            EPISODES,
            should_stop,
        ),
    }


def played(policies: Sequence[Policy], dataset: OfflineDataset, episodes: int, should_stop: ShouldStop) -> Line:
    """Normalised returns ``[P, episodes]`` of the policies as ``students``, ``[episodes]`` of all as ``ensemble``."""
    everyone: list[Policy] = [*policies, EnsemblePolicy(tuple(policies))]
    returns = rollout_returns(dataset.env_id, everyone, episodes, EVALUATION_SEED, should_stop=should_stop)
    scores = np.round(dataset.normalized(returns), 2).tolist()
    return {"students": scores[:-1], "ensemble": scores[-1]}


def printed(table: list[Line]) -> list[str]:
    """The table as aligned text, and per method the mean return and share of the teacher."""
    head = ("dataset", "method", "mean", "95 %", "IQM", "spread", "ensemble", "paper")
    lines = [head, *(_cells(row) for row in table)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    texts = [
        "  ".join(cell.ljust(width) if at < 2 else cell.rjust(width) for at, (cell, width) in enumerate(cells))
        for cells in (list(zip(line, widths, strict=True)) for line in lines)
    ]
    for name in dict.fromkeys(row["method"] for row in table if row["method"] not in METHODS):
        mine = [row for row in table if row["method"] == name and row.get("share_of_teacher") is not None]
        if mine:
            mean, share = (float(np.mean([row[field] for row in mine])) for field in ("mean", "share_of_teacher"))
            texts.append(f"{name}: {mean:.1f}, {share:.0%} of the teacher; means over {len(mine)} datasets")
    for method in METHODS:
        if found := overall(table, method):
            texts.append(
                f"{METHODS[method].label}: {found.mean[0]:.1f} [ensemble {found.mean[1]:.1f}], "
                f"{found.share[0]:.0%} of the teacher [{found.share[1]:.0%}], "
                f"{found.capped[0]:.0%} [{found.capped[1]:.0%}] with each dataset counted at most fully, "
                f"spread over students {found.spread:.0%} of their mean; means over {found.datasets} datasets"
            )
    return texts


def _cells(row: Line) -> tuple[str, ...]:
    def number(name: str) -> str:
        return "" if row.get(name) is None else f"{row[name]:.1f}"

    low, high = row["ci95"]
    published = " / ".join(text for text in (number("paper"), number("paper_ensemble")) if text)
    numbers = [number(name) for name in ("interquartile_mean", "std_over_students", "ensemble")]
    return row["dataset"], row["method"], number("mean"), f"[{low:.1f}, {high:.1f}]", *numbers, published
