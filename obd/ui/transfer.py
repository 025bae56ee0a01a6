"""Sets beyond their own recipe: other students (a heat map) and other sizes (a curve), as the benchmarks measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

from obd.runs.baselines import shipped_rows
from obd.runs.published import ARCHITECTURES, OPTIMIZERS, published_sizes
from obd.ui import overlays, state, takeaway
from obd.ui.charts import Estimate
from obd.ui.theme import style
from obd.ui.widgets import objective_label

NAMES = {
    "recipe": "own recipe",
    **{f"mlp{depth}": f"{depth} layers" for depth in range(2, 7)},
    "residual": "residual",
    **{f"width{width}": f"{width} wide" for width in (64, 128, 512, 1024)},
    "sgd": "SGD",
    "sgdm": "SGD, momentum",
    "adam": "Adam",
    "adamw": "AdamW",
}
ORDER = list(NAMES)
EMPTY = (
    "Not measured yet. `python -m obd bench {name}` writes `assets/benchmarks/{name}.json`, and this picture appears."
)

PAPERS_OBJECTIVE = "av_pbc"  # of its figures beside ours

Row = dict[str, Any]


def generalisation() -> None:
    """Architecture x optimizer, and the paper's figures beside it."""
    st.subheader("Students of another kind", anchor=False)
    rows = shipped_rows("generalisation", ("dataset", "objective", "architecture", "optimizer"))
    left, right = st.columns([3, 2], gap="medium")
    cells: dict[tuple[str, str], float] = {}
    with left:
        if rows:
            chosen = _choice(rows, "generalisation")
            cells = {(r["architecture"], r["optimizer"]): float(r["normalized_return_mean"]) for r in chosen}
            _heat_map(cells)
            header = ("architecture", "optimizer", "return", "95 % low", "95 % high", "students")
            takeaway.save("generalisation", header, [_flat(r, header[:2]) for r in chosen], "")
        else:
            st.info(EMPTY.format(name="generalisation"), icon=":material/grid_on:")
    with right:
        _paper_table(cells)


def _heat_map(cells: dict[tuple[str, str], float]) -> None:
    architectures, optimizers = (sorted({cell[i] for cell in cells}, key=_order) for i in (0, 1))
    sentence = generalisation_sentence(cells)
    st.markdown(sentence)
    named = {(_name(a), _name(o)): value for (a, o), value in cells.items()}
    chart = overlays.heat_map(named, [_name(a) for a in architectures], [_name(o) for o in optimizers])
    takeaway.picture(chart, "generalisation", sentence.replace("*", ""), 72 + 44 * len(architectures))


def _paper_table(cells: dict[tuple[str, str], float]) -> None:
    kinds = {**ARCHITECTURES, **OPTIMIZERS}
    ours = [[value for cell, value in cells.items() if kind in cell] for kind in kinds]
    table: dict[str, list[Any]] = {
        "Student": [_name(kind) for kind in kinds],
        "The paper": [f"{value:.1f}" for value in kinds.values()],
        "Here": [f"{np.mean(values):.1f}" if values else "–" for values in ours],
    }
    st.dataframe(table, hide_index=True, height=38 + 35 * len(kinds), key="paper students")
    st.caption(
        "The paper: Av-PBC, mean over its nine D4RL sets; depth with plain SGD, optimizers with four layers (in the "
        "released code these rows all ran plain SGD). Here: the mean of that row or column of the map."
    )


def generalisation_sentence(cells: dict[tuple[str, str], float]) -> str:
    """Best and worst student."""
    best, worst = max(cells, key=lambda c: cells[c]), min(cells, key=lambda c: cells[c])
    if best == worst:
        return f"Only students with {_name(best[0])} and {_name(best[1])} were measured: {cells[best]:.1f}."
    return (
        f"Best: {_name(best[0])} with {_name(best[1])}, **{cells[best]:.1f}**; worst: {_name(worst[0])} with "
        f"{_name(worst[1])}, **{cells[worst]:.1f}**."
    )


def sizes() -> None:
    """Return against the number of pairs."""
    st.subheader("Fewer or more pairs", anchor=False)
    rows = shipped_rows("sizes", ("dataset", "objective", "size"))
    if not rows:
        st.info(EMPTY.format(name="sizes"), icon=":material/show_chart:")
        paper = published_sizes("HalfCheetah-v5", "medium-replay")
        ours: dict[str, list[Estimate]] = {}
        text = "Only the paper's curve for HalfCheetah medium-replay is known so far."
    else:
        datasets = sorted({str(row["dataset"]) for row in rows})
        dataset = st.selectbox("Dataset", datasets, key="sizes dataset") if len(datasets) > 1 else datasets[0]
        rows = [row for row in rows if row["dataset"] == dataset]
        info = state.dataset_info(str(dataset))
        paper = published_sizes(info.env_id if info else "", str(dataset))
        ours = by_size(rows)
        text = sizes_sentence(ours)
    st.markdown(text)
    takeaway.picture(overlays.size_curve(ours, paper), "sizes", text.replace("*", ""), 320)
    if rows:
        st.caption("Means over seeds; whiskers: the mean of the seeds' 95 % intervals over students.")
        header = ("objective", "size", "seed", "return", "95 % low", "95 % high", "students")
        takeaway.save("sizes", header, [_flat(row, header[:3]) for row in rows], "")


def by_size(rows: Sequence[Row]) -> dict[str, list[Estimate]]:
    """Objective -> one estimate per size, the mean over seeds of means and of the ends of their intervals."""
    found: dict[str, dict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        found[row["objective"]][int(row["size"])].append(row)
    return {key: [_pooled(size, alike) for size, alike in sorted(sets.items())] for key, sets in found.items()}


def _pooled(size: int, alike: Sequence[Row]) -> Estimate:
    mean = float(np.mean([row["normalized_return_mean"] for row in alike]))
    low, high = (float(np.mean([row["normalized_return_ci95"][end] for row in alike])) for end in (0, 1))
    return Estimate(mean, low, high, float(size))


def sizes_sentence(ours: dict[str, list[Estimate]]) -> str:
    """From the smallest to the largest set, for the objective that ends highest."""
    key = max(ours, key=lambda k: ours[k][-1].mean)
    first, last = ours[key][0], ours[key][-1]
    if first.step == last.step:
        return f"{style(key).label}: **{last.mean:.1f}** with {last.step:.0f} pairs, the only size measured."
    return (
        f"{style(key).label}: **{first.mean:.1f}** with {first.step:.0f} pairs, **{last.mean:.1f}** with "
        f"{last.step:.0f}."
    )


def _choice(rows: Sequence[Row], key: str) -> list[Row]:
    """The rows of one dataset and objective."""
    found = {(str(row["dataset"]), str(row["objective"])) for row in rows}
    kinds = sorted(found, key=lambda kind: (kind[1] != PAPERS_OBJECTIVE, kind))
    kind = kinds[0]
    if len(kinds) > 1:
        kind = st.selectbox("Set", kinds, format_func=lambda k: f"{objective_label(k[1])} · {k[0]}", key=f"{key} set")
    return [row for row in rows if (row["dataset"], row["objective"]) == kind]


def _flat(row: Row, names: Sequence[str]) -> list[Any]:
    low, high = row["normalized_return_ci95"]
    return [*(row.get(name) for name in names), row["normalized_return_mean"], low, high, row.get("students")]


def _name(kind: str) -> str:
    return NAMES.get(kind, kind)


def _order(kind: str) -> int:
    return ORDER.index(kind) if kind in ORDER else len(ORDER)
