"""The lines that ``python -m obd bench generalisation`` wrote, summarised: architecture x optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from obd.runs.lines import Line, of_longest_runs

NAME = "generalisation"
FIELDS = ("dataset", "dataset_hash", "seed", "outer_steps", "architecture", "optimizer", "own", "students")

Kind = tuple[str, str]  # architecture, optimizer


@dataclass(frozen=True)
class Cell:
    """Students of one kind.

    Attributes:
        mean: normalised return, averaged over seeds, students and episodes (and datasets).
        spread: standard deviation over students of their mean return, averaged over seeds (and datasets).
        seeds: distillation seeds, the fewest of any dataset.
        own: the student that the set was distilled for.
    """

    mean: float
    spread: float
    seeds: int
    own: bool


def cells(lines: Sequence[Line], dataset_id: str) -> dict[Kind, Cell]:
    """(architecture, optimizer) -> students of one dataset, distilled with the most outer steps there are."""
    found: dict[Kind, list[Line]] = {}
    for line in of_longest_runs(list(lines)):
        if line["dataset"] == dataset_id:
            found.setdefault((line["architecture"], line["optimizer"]), []).append(line)
    return {kind: _cell(alike) for kind, alike in found.items()}


def mean_cells(maps: Sequence[dict[Kind, Cell]]) -> dict[Kind, Cell]:
    """The mean over datasets of the kinds that were measured on all of them."""
    common = [kind for kind in maps[0] if all(kind in one for one in maps)] if maps else []
    return {
        kind: Cell(
            float(np.mean([one[kind].mean for one in maps])),
            float(np.mean([one[kind].spread for one in maps])),
            min(one[kind].seeds for one in maps),
            all(one[kind].own for one in maps),
        )
        for kind in common
    }


def own_kind(found: dict[Kind, Cell]) -> Kind | None:
    """The student the set was distilled for, if it was measured."""
    return next((kind for kind, cell in found.items() if cell.own), None)


def _cell(alike: Sequence[Line]) -> Cell:
    students = [np.asarray(line["students"], dtype=np.float64).mean(1) for line in alike]
    spread = [float(means.std(ddof=1)) if len(means) > 1 else 0.0 for means in students]
    mean = float(np.mean([means.mean() for means in students]))
    return Cell(mean, float(np.mean(spread)), len(alike), bool(alike[0]["own"]))
