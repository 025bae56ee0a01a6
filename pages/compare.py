"""Compare: all runs in one table, the chosen ones in one picture, and everything as files."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from obd.runs.report import svg_file
from obd.runs.store import Run
from obd.ui import comparison, overlays, report, runtable, state, takeaway, transfer, widgets
from obd.ui.comparison import X_NAMES, Compared
from obd.ui.monitor import read_all

PARTS = {
    "returns": "Final returns",
    "curves": "Curves",
    "settings": "Differences",
    "students": "Other students, sizes",
    "files": "Files",
}


def returns(compared: Sequence[Compared]) -> None:
    """Bars with intervals, ensembles and the paper's marks."""
    rows = comparison.bar_rows(compared)
    if not rows:
        st.info("None of these runs has been measured at its end; *Files* can measure a finished one.")
        return
    sentence = comparison.bars_sentence(compared, rows)
    st.markdown(widgets.plain(sentence))
    st.echarts_chart(overlays.comparison_bars(rows), key="bars", height=96 + 34 * len(rows), alt=sentence)
    st.caption("Whiskers: 95 % intervals over students. Paler bars: the mean action of all students of the set.")
    table = comparison.result_table(rows)
    takeaway.save("returns", comparison.RESULT_HEADER, table, svg_file(report.bars_drawing(rows)))


def curves(compared: Sequence[Compared], x: str, live: bool) -> None:
    """The fragment with losses and returns; runs that are going on grow in place."""
    with widgets.guard():
        readers = [state.reader(str(run.path)) for run in state.still_there([one.run for one in compared])]
        views, problems = read_all(readers)
        for problem in dict.fromkeys(problems):
            widgets.show_error(problem)
        fresh = comparison.compare(views)
        traces = comparison.traces(fresh, x)
        with_losses = [trace for trace in traces if len(trace.x)]
        measured = [trace for trace in traces if trace.points]
        left, right = st.columns(2, gap="medium")
        with left:
            sentence = comparison.loss_sentence(fresh)
            st.markdown(widgets.plain(sentence))
            if with_losses:
                chart = overlays.loss_overlay(with_losses, X_NAMES[x])
                st.echarts_chart(chart, key="losses", height=360, alt=sentence)
                drawing = svg_file(report.loss_drawing(with_losses, x))
                takeaway.save("losses", *comparison.curve_rows(with_losses, "losses"), drawing)
        with right:
            sentence = comparison.return_sentence(fresh)
            st.markdown(widgets.plain(sentence))
            if measured:
                chart = overlays.return_overlay(measured, X_NAMES[x])
                st.echarts_chart(chart, key="returns", height=360, alt=sentence)
                drawing = svg_file(report.return_drawing(measured, x))
                takeaway.save("curves", *comparison.curve_rows(measured, "returns"), drawing)
        if live and not any(view.active for view in views):
            st.rerun()  # ends the timer


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


def draw(part: str, compared: Sequence[Compared]) -> None:
    if part == "returns":
        returns(compared)
    elif part == "curves":
        x = widgets.choose_part("over", X_NAMES)
        live = any(one.view.active for one in compared)
        st.fragment(curves, run_every=2.0 if live else None)(compared, x, live)
    elif part == "settings":
        settings(compared)
    else:
        takeaway.report_button(compared, "seconds" if st.session_state.get("over") == "seconds" else "steps")
        takeaway.files(compared)


def choose_runs(runs: dict[str, Run]) -> list[Run]:
    """The table with its buttons; the chosen runs."""
    before = runtable.chosen_keys(runs)
    chosen = runtable.table(runs, before)
    runtable.remember(chosen)
    runtable.manage(runs, chosen)
    return [runs[key] for key in chosen]


def page() -> None:
    runs = runtable.every_run()
    if not runs:
        st.subheader("Nothing to compare yet", anchor=False)
        widgets.empty_state("Distil something first, or import a distilled set below: its scores stand here.")
        runtable.undo()
        takeaway.importer()
        return
    chosen = choose_runs(runs)
    part = widgets.choose_part("part", PARTS)
    views, problems = read_all([state.reader(str(run.path)) for run in chosen[: comparison.MOST]])
    for problem in dict.fromkeys(problems):
        widgets.show_error(problem)
    if len(chosen) > comparison.MOST:
        st.caption(
            f"The first {comparison.MOST} of the {len(chosen)} chosen runs are drawn; more cannot be told apart."
        )
    if part == "students":
        transfer.generalisation()
        transfer.sizes()
    elif not views:
        st.info("Choose runs with the boxes at the left of the table; two or more make a comparison.")
    else:
        draw(part, comparison.compare(views))
    if part == "files":
        takeaway.importer()


with widgets.page("compare"):
    page()
