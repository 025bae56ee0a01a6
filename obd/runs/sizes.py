"""The lines that ``python -m obd bench sizes`` wrote, summarised: return against the number of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from obd.runs.lines import Line, of_longest_runs
from obd.runs.statistics import bootstrap_interval

NAME = "sizes"
FIELDS = ("dataset", "dataset_hash", "method", "size", "seed", "outer_steps", "students", "ensemble")
DISTILLED, SELECTED = "av_pbc", "random_teacher"  # the methods


@dataclass(frozen=True)
class Point:
    """Sets of one size: the mean return of students, its 95 % interval, and that of the ensemble of all students."""

    size: int
    mean: float
    low: float
    high: float
    ensemble: float
    seeds: int


def curves(lines: Sequence[Line], dataset_id: str) -> dict[str, list[Point]]:
    """Method -> its points by size; of the distilled sets those with the most outer steps."""
    mine = [line for line in lines if line["dataset"] == dataset_id]
    chosen = of_longest_runs([line for line in mine if line["method"] == DISTILLED])
    chosen += [line for line in mine if line["method"] == SELECTED]
    found: dict[str, dict[int, list[Line]]] = {}
    for line in chosen:
        found.setdefault(line["method"], {}).setdefault(int(line["size"]), []).append(line)
    return {
        method: [_point(size, alike) for size, alike in sorted(by_size.items())] for method, by_size in found.items()
    }


def _point(size: int, alike: Sequence[Line]) -> Point:
    students = [np.asarray(line["students"], dtype=np.float64) for line in alike]
    mean = float(np.mean([returns.mean() for returns in students]))
    ensemble = float(np.mean([np.mean(line["ensemble"]) for line in alike]))
    return Point(size, mean, *bootstrap_interval(students), ensemble, len(alike))
