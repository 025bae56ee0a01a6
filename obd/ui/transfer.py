"""Sets beyond their own recipe: other students (a heat map) and other sizes (a curve), as the benchmarks measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from obd.data.catalog import BUILTIN
from obd.runs import generalisation as kinds
from obd.runs import sizes as sets
from obd.runs.baselines import dataset_baselines
from obd.runs.generalisation import Cell, Kind
from obd.runs.lines import Line, lines_path, read_lines
from obd.runs.published import ARCHITECTURES, OPTIMIZERS, published_sizes
from obd.runs.sizes import DISTILLED, SELECTED, Point
from obd.ui import overlays, takeaway
from obd.ui.charts import Estimate
from obd.ui.overlays import SizeLine

NAMES = {
    "recipe": "own recipe",
    **{f"mlp{depth}": f"{depth} layers" for depth in range(2, 7)},
    "residual": "residual",
    **{f"width{width}": f"{width:,} wide" for width in (64, 128, 256, 512, 1024)},
    "columns1": "1 column",
    "columns4": "4 columns",
    "sgd": "SGD",
    "sgdm": "SGD + momentum",
    "adam": "Adam",
    "adamw": "AdamW",
}
ORDER = list(NAMES)
PAPER = "paper"  # the row and the column of its figures
PAPERS_OWN: Kind = ("mlp4", "sgd")  # the student its sets were distilled for
LEAST = 5.0  # a share of a return below this says nothing
EVERY = "mean"  # instead of a dataset

EMPTY = (
    "Not measured yet. `python -m obd bench {name}` writes `assets/benchmarks/{name}.jsonl`, and this picture appears."
)


# -- other students ------------------------------------------------------------------------------------------


def generalisation() -> None:
    """Architecture x optimizer with the paper's figures beside it, for one dataset or the mean of all."""
    st.subheader("Students of another kind", anchor=False)
    lines = read_lines(lines_path(kinds.NAME), kinds.FIELDS)
    if not lines:
        st.info(EMPTY.format(name=kinds.NAME), icon=":material/grid_on:")
        _paper_shares({})
        return
    datasets = _datasets(lines)
    maps = {dataset: kinds.cells(lines, dataset) for dataset in datasets}
    choices = [EVERY, *datasets] if len(datasets) > 1 else datasets
    chosen = _choose("Dataset", choices, len(datasets), "generalisation dataset")
    cells = kinds.mean_cells(list(maps.values())) if chosen == EVERY else maps[chosen]
    if not cells:
        st.info("No kind of student has been measured on all of these datasets yet; choose one dataset.")
        return
    text = generalisation_sentence(cells)
    st.markdown(text)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        takeaway.picture(heat_map(cells), "generalisation", text.replace("*", ""), 90 + 34 * _rows(cells))
        header = ("architecture", "optimizer", "return", "spread over students", "seeds", "own")
        takeaway.save("generalisation", header, [_flat(kind, cell) for kind, cell in cells.items()], "")
    with right:
        _paper_shares(cells)
    seeds = min(cell.seeds for cell in cells.values())
    st.caption(
        f"{'One distillation seed' if seeds == 1 else f'{seeds} distillation seeds'}, five students × three episodes "
        "for each number; framed: the student the sets were distilled for. One rule for all others, without a "
        "search: the distilled step sizes stretched over the layers with their sum kept, ten times as many steps "
        "without momentum, Adam and AdamW with 0.001 (less for wide students) and five times as many steps. *In the "
        "paper*: means over its nine D4RL sets, other teachers, 25 GPU-hours each."
    )


def heat_map(cells: dict[Kind, Cell]) -> dict[str, Any]:
    """The chart of :func:`obd.runs.generalisation.cells`, with the paper's figures in a row and a column."""
    architectures, optimizers = (sorted({kind[axis] for kind in cells}, key=_order) for axis in (0, 1))
    beside = {(name, PAPER): value for name, value in ARCHITECTURES.items() if name in architectures}
    beside |= {(PAPER, name): value for name, value in OPTIMIZERS.items() if name in optimizers}
    own = kinds.own_kind(cells)
    return overlays.heat_map(
        {_named(kind): cell.mean for kind, cell in cells.items()},
        [*(_name(name) for name in architectures), _name(PAPER)],
        [*(_name(name) for name in optimizers), _name(PAPER)],
        framed=_named(own) if own else None,
        beside={_named(kind): value for kind, value in beside.items()},
    )


def generalisation_sentence(cells: dict[Kind, Cell]) -> str:
    """How much of the own student's return the others keep, and what the paper's students keep."""
    own = kinds.own_kind(cells)
    others = {kind: cell.mean for kind, cell in cells.items() if kind != own}
    if own is None or not others:
        return f"Only {_words(next(iter(cells)))} was measured: **{next(iter(cells.values())).mean:.1f}**."
    best, worst = max(others, key=others.__getitem__), min(others, key=others.__getitem__)
    text = (
        f"The student the sets were distilled for ({_words(own)}) returns **{cells[own].mean:.1f}**; of "
        f"{len(others)} other {'kinds' if len(others) > 1 else 'kind'} the best ({_words(best)}) returns "
        f"**{others[best]:.1f}** and the worst ({_words(worst)}) **{others[worst]:.1f}**"
    )
    if cells[own].mean < LEAST:
        return text + "."
    kept = 100 * np.mean(list(others.values())) / cells[own].mean
    low, high = (end(value for value in (*ARCHITECTURES.values(), *OPTIMIZERS.values())) for end in (min, max))
    reference = ARCHITECTURES[PAPERS_OWN[0]]
    return text + (
        f". On average they keep **{kept:.0f} %**; in the paper other students keep {100 * low / reference:.0f} to "
        f"{100 * high / reference:.0f} %."
    )


def shares(cells: dict[Kind, Cell]) -> list[tuple[str, float, float | None]]:
    """(name, what the paper's student of that kind keeps of its own one's return, what ours keeps), 1 is all.

    An architecture is taken with the own optimizer and an optimizer with the own architecture, as in the paper.
    """
    own, reference = kinds.own_kind(cells), ARCHITECTURES[PAPERS_OWN[0]]
    found: list[tuple[str, float, float | None]] = []
    for axis, published in enumerate((ARCHITECTURES, OPTIMIZERS)):
        for name, value in published.items():
            kind = own and ((name, own[1]), (own[0], name))[axis]
            ours = cells[kind].mean / cells[own].mean if own and kind in cells and cells[own].mean >= LEAST else None
            found.append((name, value / reference, ours))
    return found


def _paper_shares(cells: dict[Kind, Cell]) -> None:
    """What is kept of the own student's return: the only number that compares between teachers."""
    rows = shares(cells)
    table: dict[str, list[Any]] = {
        "Student": [_name(name) for name, _, _ in rows],
        "kept in the paper": [f"{100 * paper:.0f} %" for _, paper, _ in rows],
    }
    if cells:
        table["kept here"] = ["–" if ours is None else f"{100 * ours:.0f} %" for _, _, ours in rows]
    st.dataframe(table, hide_index=True, height=38 + 35 * len(rows), key="paper students")
    own = kinds.own_kind(cells)
    st.caption(
        "Of the return of the student that the sets were distilled for: four layers and plain SGD in the paper, whose "
        f"released code trains all others with plain SGD too{f'; here {_words(own)}' if own else ''}."
    )


# -- other sizes ---------------------------------------------------------------------------------------------


def sizes() -> None:
    """Return against the number of pairs, for one dataset."""
    st.subheader("Fewer or more pairs", anchor=False)
    path = lines_path(sets.NAME)
    lines = read_lines(path, sets.FIELDS)
    if not lines:
        st.info(EMPTY.format(name=sets.NAME), icon=":material/show_chart:")
        return
    datasets = _datasets(lines)
    dataset = _choose("Dataset", datasets, len(datasets), "sizes dataset")
    found = _curves(str(path), path.stat().st_mtime_ns, dataset)
    teacher = dataset_baselines(dataset, 256).get("teacher", {}).get("normalized_return_mean")
    env_id = BUILTIN[dataset].env_id if dataset in BUILTIN else ""
    paper = published_sizes(env_id, dataset)
    text = sizes_sentence(found, teacher, paper)
    st.markdown(text)
    takeaway.picture(overlays.size_curve(size_lines(found), paper, teacher), "sizes", text.replace("*", ""), 400)
    steps = max(int(line["outer_steps"]) for line in lines if line["dataset"] == dataset)
    seeds = min((point.seeds for points in found.values() for point in points), default=1)
    st.caption(
        f"{'One distillation seed' if seeds == 1 else f'{seeds} distillation seeds'}, {steps:,} outer steps for every "
        "size, ten students × five episodes; whiskers 95 % (students and seeds drawn anew). Relabelled: as many random "
        "states with the teacher's actions, trained in the better of two ways. The paper's figures are for "
        "D4RL's sets of the same names, with other teachers, after 25 GPU-hours."
    )
    header = ("method", "pairs", "return", "95 % low", "95 % high", "ensemble", "seeds")
    rows = [(m, p.size, p.mean, p.low, p.high, p.ensemble, p.seeds) for m, points in found.items() for p in points]
    takeaway.save("sizes", header, rows, "")


@st.cache_data(max_entries=16, show_spinner=False)
def _curves(path: str, stamp: int, dataset: str) -> dict[str, list[Point]]:
    """The summary of one dataset; the file's time ``stamp`` is part of the key.  (Intervals take a second.)"""
    return sets.curves(read_lines(Path(path), sets.FIELDS), dataset)


def size_lines(found: dict[str, list[Point]]) -> list[SizeLine]:
    """The curves: students, their ensembles, random selection."""
    lines = []
    for method, label, key in (
        (DISTILLED, "Av-PBC", "av_pbc"),
        (SELECTED, "Random states, relabelled", "random_selection"),
    ):
        points = found.get(method, [])
        if points:
            estimates = tuple(Estimate(p.mean, p.low, p.high, float(p.size)) for p in points)
            lines.append(SizeLine(label, key, estimates))
        if points and method == DISTILLED:
            together = tuple(Estimate(p.ensemble, p.ensemble, p.ensemble, float(p.size)) for p in points)
            lines.append(SizeLine("Av-PBC, ensemble of ten", key, together, pale=True))
    return lines


def sizes_sentence(found: dict[str, list[Point]], teacher: float | None, paper: dict[int, float]) -> str:
    """What the smallest, the default and the largest sets give, and how many random states are as good."""
    ours, chance = found.get(DISTILLED, []), found.get(SELECTED, [])
    if not ours:
        return "No distilled set of this dataset has been measured yet."
    best = max(ours, key=lambda point: point.mean)
    text = f"Av-PBC returns **{ours[0].mean:.1f}** from {ours[0].size} pairs"
    if best is not ours[0]:
        text += f" and at most **{best.mean:.1f}**, from {best.size:,}"
    if teacher is not None and teacher > LEAST:
        text += f" ({100 * best.mean / teacher:.0f} % of the teacher's {teacher:.1f})"
    if chance:
        rival = max(chance, key=lambda point: point.mean)
        enough = next((point for point in ours if point.mean >= rival.mean), None)
        text += f". Random states with the teacher's actions give at most **{rival.mean:.1f}**, {rival.size:,} of them"
        text += f"; **{enough.size:,}** distilled pairs match that" if enough else "; no distilled set matches that"
    common = [point for point in ours if point.size in paper]
    if common:
        text += f". The paper reports {paper[common[-1].size]:.1f} from {common[-1].size}"
        text += f", where these students return {common[-1].mean:.1f}"
    return text + "."


# -- words ---------------------------------------------------------------------------------------------------


def _datasets(lines: Sequence[Line]) -> list[str]:
    """The datasets of the lines: built-in ones in the order of the catalogue, then others."""
    found = {str(line["dataset"]) for line in lines}
    return [dataset for dataset in BUILTIN if dataset in found] + sorted(found - set(BUILTIN))


def _choose(label: str, choices: Sequence[str], count: int, key: str) -> str:
    def title(choice: str) -> str:
        if choice == EVERY:
            return f"Mean of {count}"
        return BUILTIN[choice].title if choice in BUILTIN else choice

    if len(choices) == 1:
        st.caption(title(choices[0]))
        return choices[0]
    return str(st.segmented_control(label, choices, default=choices[0], format_func=title, required=True, key=key))


def _flat(kind: Kind, cell: Cell) -> list[Any]:
    return [*kind, round(cell.mean, 2), round(cell.spread, 2), cell.seeds, "yes" if cell.own else "no"]


def _rows(cells: dict[Kind, Cell]) -> int:
    return len({architecture for architecture, _ in cells}) + 1


def _words(kind: Kind) -> str:
    return f"{_name(kind[0])}, {_name(kind[1])}"


def _named(kind: Kind) -> tuple[str, str]:
    return _name(kind[0]), _name(kind[1])


def _name(name: str) -> str:
    return "in the paper" if name == PAPER else NAMES.get(name, name)


def _order(name: str) -> int:
    return ORDER.index(name) if name in ORDER else len(ORDER)
