"""All built-in datasets at once: what each method reached under the same time budget, beside the paper's table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import streamlit as st

from obd.data.catalog import BUILTIN
from obd.runs.lines import lines_path, read_lines
from obd.runs.paper_table import FIELDS, METHODS, NAME, overall, rows
from obd.ui import overlays, takeaway
from obd.ui.charts import Estimate
from obd.ui.sentences import duration
from obd.ui.theme import style

Row = dict[str, Any]
# All at once are too many to compare: these are shown at a click.
AT_A_CLICK = (
    "av_pbc_light",
    "av_pbc_light_columns",
    "av_pbc_64",
    "av_pbc_64_columns",
    "pbc_columns",
    "dbc_columns",
    "av_pbc_density",
    "gradient_matching",
    "paper_plain",
    "kmeans",
    "top_q",
)
EMPTY = "Not measured yet. `python -m obd bench paper-table` writes the lines, and this picture appears."


def table() -> None:
    """The picture of one budget, its sentence and its numbers."""
    st.subheader("All built-in datasets", anchor=False)
    lines = read_lines(lines_path(NAME), FIELDS)
    if not lines:
        st.info(EMPTY, icon=":material/table_chart:")
        return
    budgets = sorted({float(line["budget_seconds"]) for line in lines})
    covered = {
        each: len({(line["dataset"], line["method"]) for line in lines if line["budget_seconds"] == each})
        for each in budgets
    }
    budget = max(budgets, key=lambda each: (covered[each], each))
    if len(budgets) > 1:
        budget = float(
            st.segmented_control(
                "Time for each run", budgets, default=budget, format_func=duration, required=True, key="table budget"
            )
        )
    found = [row for dataset_id in BUILTIN for row in rows(dataset_id, lines, budget)]
    text = sentence(found, budget)
    st.markdown(text.replace(" %", "\u00a0%"))  # a number and its sign stay on one line
    datasets = list(dict.fromkeys(row["dataset"] for row in found))
    methods = list(dict.fromkeys(row["method"] for row in found))
    shown = st.pills(
        "Shown",
        methods,
        selection_mode="multi",
        default=[method for method in methods if method not in AT_A_CLICK],
        format_func=lambda method: style(method).label,
        key=f"table methods {budget:g}",
    )
    estimates = {
        BUILTIN[dataset].title: {
            row["method"]: _estimate(row) for row in found if row["dataset"] == dataset and row["method"] in shown
        }
        for dataset in datasets
    }
    paper = {
        BUILTIN[row["dataset"]].title: float(row["paper"])
        for row in found
        if row["method"] == "av_pbc" and row.get("paper") is not None
    }
    chart = overlays.table_dots(estimates, paper)
    takeaway.picture(chart, "table", text.replace("*", ""), 150 + 62 * len(datasets))
    st.caption(
        f"{_distillations(found)}, ten students each. Dots are "
        "means, whiskers 95 % (students and distillations drawn anew). The paper's figures are for D4RL's sets of the "
        "same names, with other teachers, after 25 GPU-hours." + _explained(found, shown) + _capped(found)
    )
    measures = ("mean", "low", "high", "iqm", "spread", "ensemble", "paper", "distillations", "outer steps")
    takeaway.save("table", ("dataset", "method", *measures), [_flat(row) for row in found], "")


def sentence(found: Sequence[Row], budget: float) -> str:
    """How close Av-PBC comes to its teachers, and whether it is the best objective."""
    ours = [row for row in found if row["method"] == "av_pbc"]
    if not ours:
        return f"After **{duration(budget)}** of distillation for each run."
    compared = [row for row in ours if len(_methods(row, found)) > 1]
    best = sum(_among_best(row, found) for row in compared)
    text = f"After **{duration(budget)}** of distillation for each run, Av-PBC"
    if compared:
        text += (
            " is the best distillation method, or within the best one's interval, on "
            f"**{best} of {len(compared)}** datasets where others were measured"
        )
    if reached := overall(found, "av_pbc"):
        text += "; its students reach " if compared else " gives students that reach "
        text += (
            f"**{100 * reached.share[0]:.0f} %** of their teachers' returns on average, ensembles of ten "
            f"**{100 * reached.share[1]:.0f} %**"
        )
    if columns := overall(found, "av_pbc_columns"):
        one, together = (f"{100 * share:.0f} %" for share in columns.share)
        text += f"; students of four columns reach **{one}**, their ensembles **{together}**"
    return text + "." + _beaten(ours, found)


def _beaten(ours: Sequence[Row], found: Sequence[Row]) -> str:
    """On how many datasets a baseline without distillation is ahead."""
    ahead = []
    for method in ("random_selection", "whole_bc"):
        means = {row["dataset"]: float(row["mean"]) for row in found if row["method"] == method}
        both = [row for row in ours if row["dataset"] in means]
        if both:
            times = sum(means[row["dataset"]] > row["mean"] for row in both)
            ahead.append(f"{style(method).label} is ahead of it on {times} of {len(both)}")
    return f" {', '.join(ahead)}." if ahead else ""


def _distillations(found: Sequence[Row]) -> str:
    """From how many distillations each set's numbers are: one, three, or, by method and dataset, one to three."""
    counts = {int(row["distillations"]) for row in found if "distillations" in row}
    if counts == {1}:
        return "One distillation"
    return f"{'' if len(counts) == 1 else f'{min(counts)} to '}{max(counts)} distillations (the CSV says how many)"


def _explained(found: Sequence[Row], shown: Sequence[str]) -> str:
    """What those methods are whose names do not say it; nothing when none of them is shown."""
    words = [
        (
            "Four columns: distilled with the same settings; a student is four networks side by side, trained together "
            "on the error of their mean.",
            ("av_pbc_columns", "av_pbc_light_columns", "av_pbc_64_columns", "pbc_columns", "dbc_columns"),
        ),
        (
            "256 units: distilled as the app does on a processor without matrix units, where four columns are its "
            "students, in as many steps as one without bfloat16 takes.",
            ("av_pbc_light", "av_pbc_light_columns"),
        ),
        ("Density weights: states that are rare in the data count more.", ("av_pbc_density",)),
        (
            "Gradient matching: nothing is unrolled; the error on the pairs is to have the gradient of that on real "
            "states.",
            ("gradient_matching",),
        ),
        (
            "Double backward: the paper's settings without this tool's engine, so with fewer steps.",
            ("paper_plain",),
        ),
        ("k-means++ selection: states spread over the data, with the teacher's actions.", ("kmeans",)),
        ("Top-Q selection: the pairs with the highest action values.", ("top_q",)),
    ]
    measured = Counter(row["method"] for row in found if row["method"] in shown)
    text = "".join(f" {text}" for text, methods in words if not measured.keys().isdisjoint(methods))
    every = len({row["dataset"] for row in found})
    fewer = [f"{style(name).label} on {n}" for name, n in measured.items() if name in METHODS and n < every]
    return text + (f" Not measured on all: {', '.join(fewer)} of {every}." if fewer else "")


def _capped(found: Sequence[Row]) -> str:
    """What is left of the shares when no set may make up for another one."""
    reached = overall(found, "av_pbc")
    if reached is None or reached.share == reached.capped:
        return ""
    one, together = (f"{100 * share:.0f} %" for share in reached.capped)
    return f" Where students outdo their teacher: counted as 100 %, the means are {one} and {together}."


def _methods(row: Row, found: Sequence[Row]) -> list[Row]:
    """Av-PBC and its rivals on the row's dataset: distilled and selected sets, without baselines and variants."""
    rivals = {name for name, method in METHODS.items() if method.rival}
    return [other for other in found if other["dataset"] == row["dataset"] and other["method"] in rivals]


def _among_best(row: Row, found: Sequence[Row]) -> bool:
    best = max(_methods(row, found), key=lambda rival: float(rival["mean"]))
    return bool(row is best or row["mean"] >= best["ci95"][0])


def _estimate(row: Row) -> Estimate:
    return Estimate(float(row["mean"]), *(float(end) for end in row["ci95"]))


def _flat(row: Row) -> list[object]:
    label = METHODS[row["method"]].label if row["method"] in METHODS else style(row["method"]).label
    numbers = [
        row["mean"],
        *row["ci95"],
        *(row.get(n) for n in ("interquartile_mean", "std_over_students", "ensemble")),
    ]
    return [row["dataset"], label, *numbers, row.get("paper"), row.get("distillations"), row.get("outer_steps")]
