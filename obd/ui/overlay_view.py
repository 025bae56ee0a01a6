"""The pictures of the Compare page with their sentences and files."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from obd.runs.report import svg_file
from obd.ui import comparison, overlays, report, state, takeaway, widgets
from obd.ui.comparison import X_NAMES, Compared
from obd.ui.live import raw_returns
from obd.ui.monitor import read_all
from obd.ui.overlays import Trace


def returns(compared: Sequence[Compared]) -> None:
    """Bars with intervals, ensembles and the paper's marks."""
    rows = comparison.bar_rows(compared)
    if not rows:
        st.info("None of these runs has been measured at its end; *Files* can measure a finished one.")
        return
    sentence, raw = comparison.bars_sentence(compared, rows), raw_returns([one.view for one in compared])
    st.markdown(widgets.plain(sentence))
    takeaway.picture(overlays.comparison_bars(rows, raw=raw), "bars", sentence, overlays.bars_height(rows))
    means = "points" if raw else "bars"
    st.caption(f"Whiskers: 95 % intervals over students. Paler {means}: the mean action of all students of the set.")
    drawing = svg_file(report.bars_drawing(rows, raw))
    takeaway.save("returns", comparison.RESULT_HEADER, comparison.result_table(rows), drawing)


def curves(compared: Sequence[Compared], x: str, live: bool) -> None:
    """The fragment with losses and returns; runs that are going on grow in place."""
    with widgets.guard():
        readers = [state.reader(str(run.path)) for run in state.still_there([one.run for one in compared])]
        views, problems = read_all(readers)
        for problem in dict.fromkeys(problems):
            widgets.show_error(problem)
        fresh = comparison.compare(views)
        traces = comparison.traces(fresh, x)
        left, right = st.columns(2, gap="medium")
        with left:
            _losses([trace for trace in traces if len(trace.x)], x, comparison.loss_sentence(fresh))
        with right:
            measured = [trace for trace in traces if trace.points]
            _returns_on_the_way(measured, x, comparison.return_sentence(fresh), raw_returns(views))
        if live and not any(view.active for view in views):
            st.rerun()  # ends the timer


def _losses(traces: Sequence[Trace], x: str, sentence: str) -> None:
    st.markdown(widgets.plain(sentence))
    if traces:
        takeaway.picture(overlays.loss_overlay(traces, X_NAMES[x]), "losses", sentence, 360)
        drawing = svg_file(report.loss_drawing(traces, x))
        takeaway.save("losses", *comparison.curve_rows(traces, "losses"), drawing)


def _returns_on_the_way(traces: Sequence[Trace], x: str, sentence: str, raw: bool) -> None:
    st.markdown(widgets.plain(sentence))
    if traces:
        takeaway.picture(overlays.return_overlay(traces, X_NAMES[x], raw=raw), "returns", sentence, 360)
        drawing = svg_file(report.return_drawing(traces, x, raw))
        takeaway.save("curves", *comparison.curve_rows(traces, "returns"), drawing)


def settings(compared: Sequence[Compared]) -> None:
    """A table of just what differs."""
    configs = [one.config for one in compared]
    st.markdown(widgets.plain(comparison.differences_sentence(configs)))
    found = comparison.differences(configs)
    if found:
        header = ["Setting", *(one.label for one in compared)]
        rows = [[name, *values] for name, values in found]
        columns = {title: [row[i] for row in rows] for i, title in enumerate(header)}
        st.dataframe(columns, hide_index=True, height=38 + 35 * len(rows), key="differences")
        takeaway.save("differences", header, rows, "")
