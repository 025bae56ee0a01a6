"""The paper's claim about distilled states, tested: distributions, effects with intervals, sentences."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import streamlit as st

from obd.insight.effects import Effect
from obd.runs.store import ACTIVE_STATES, Run
from obd.ui import claims, reports, state, widgets
from obd.ui.distributions import Group, ridge_chart
from obd.ui.sentences import minus
from obd.ui.theme import style


def show(shown: Mapping[str, Run], front: str) -> None:
    """Distributions, effects and sentences about all objectives of a group."""
    st.markdown(
        "The paper shows pictures of distilled robots and calls them *critical, imbalanced* poses whose action "
        "restores balance. It gives no number. Here are some."
    )
    found = {key: report for key, run in shown.items() if (report := reports.report(run)) is not None}
    if len(found) < len(shown):
        st.fragment(_measuring_all, run_every=0.7)(shown)
        return
    reference = reports.reference(shown[front])
    if reference is None:  # pushed out by other tasks
        reports.reference_task(shown[front])
        st.fragment(_measuring_all, run_every=0.7)(shown)
        return
    _refresh(shown)
    st.markdown(
        "\n".join(
            f"- {claims.criticality_sentence(key, found[key])}" for key in sorted(found, key=lambda key: key != front)
        )
    )
    measures = [name for name in claims.MEASURE_NAMES if name in found[front].values]
    measure = st.selectbox(
        "Measure", measures, format_func=claims.MEASURE_NAMES.__getitem__, key="measure", bind="query-params"
    )
    start = found[front].start_values[measure]
    groups = [
        Group("data", "Data", reference.values[measure]),
        Group("random_selection", "Random selection", found[front].random_values[measure]),
        Group("start", f"Start of {style(front).label}", start),
        *(Group(key, style(key).label, found[key].values[measure]) for key in shown),
    ]
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.echarts_chart(
            ridge_chart(groups, claims.MEASURE_NAMES[measure]),
            key="ridges",
            height=64 * len(groups) + 60,
            alt=f"Distribution of {claims.MEASURE_NAMES[measure]}: "
            + ", ".join(f"{group.label} median {np.median(group.values):.2f}" for group in groups),
        )
        st.caption("Bars: 10, 50 and 90 % quantiles.")
    with right:
        st.markdown(f"{claims.MEASURE_MEANINGS[measure][0].upper()}{claims.MEASURE_MEANINGS[measure][1:]}:")
        st.markdown(f"$\\small {claims.MEASURE_FORMULAS[measure]}$")
        for sentence in claims.sentences(front, found[front])[1:]:
            st.markdown(sentence)
    if measure in found[front].effects:
        _effects_table({key: found[key].effects[measure] for key in shown})


def _effects_table(effects: Mapping[str, Mapping[str, Effect]]) -> None:
    """Means, ratios with intervals and probabilities of superiority, one row per objective."""
    rows: dict[str, list[str]] = {}
    for key, by in effects.items():
        row = {
            "Set": style(key).label,
            "Mean": f"{by['data'].mean:.3f}",
            "Mean of the data": f"{by['data'].reference_mean:.3f}",
        }
        for name, title in (("data", "the data"), ("start", "its start"), ("random", "random selection")):
            ratio = by[name].ratio
            row[f"Times {title} (95 %)"] = (
                "–" if ratio is None else f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
            )
        chance = by["data"].superiority
        row["P(higher than the data)"] = f"{chance.value:.2f} ({chance.low:.2f} to {chance.high:.2f})"
        row["Cliff's δ"] = f"{by['data'].cliffs_delta:+.2f}"
        for name, text in row.items():
            rows.setdefault(name, []).append(minus(text))
    st.table(rows)
    st.caption(
        "Intervals: 1,000 bootstrap resamples of states; those against the start keep each state with its own start. "
        "The start is partly drawn from the first steps of episodes (setting *early share*), so it is the fairer "
        "baseline. The teacher's q* is itself an estimate, least certain far from the data."
    )


def _measuring_all(shown: Mapping[str, Run]) -> None:
    """Progress of all measurements; Try again after a failure."""
    tasks = []
    for run in shown.values():
        reports.report(run)
        task = state.tasks().get(reports.report_key(run, reports.measured_step(run)))
        if task is not None:
            tasks.append((run, task))
    if all(task.state == "done" for _, task in tasks) and reports.reference(next(iter(shown.values()))) is not None:
        st.rerun()
    failed = [(run, task) for run, task in tasks if task.state in ("failed", "cancelled")]
    if failed:
        widgets.task_progress(failed[0][1], "")
        if st.button("Try again", icon=":material/refresh:", key="retry reports"):
            for run, _ in failed:
                reports.forget(run)
            st.rerun()
        return
    share = sum(task.fraction for _, task in tasks) / max(len(tasks), 1)
    st.progress(share, text=f"Comparing the states of {len(shown)} sets with the data: {100 * share:.0f} %")


def _refresh(shown: Mapping[str, Run]) -> None:
    """A run going on is measured again when asked, not all the time: that would slow it down."""
    active = [run for run in shown.values() if run.status().get("state") in ACTIVE_STATES]
    if active:
        measured = max(reports.measured_step(run) for run in active)
        st.caption(f"The run is going on; this is its snapshot after {measured:,} outer steps.")
        if st.button("Measure the newest snapshot", key="measure newest"):
            for run in active:
                reports.measure_newest(run)
            st.rerun()
