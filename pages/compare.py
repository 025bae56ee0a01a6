"""Compare: all runs in one table, the chosen ones in one picture, and everything as files."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from obd.runs.store import Run
from obd.ui import comparison, nine, overlay_view, runtable, state, takeaway, transfer, widgets
from obd.ui.comparison import X_NAMES, Compared
from obd.ui.monitor import read_all

PARTS = {
    "returns": "Final returns",
    "curves": "Curves",
    "settings": "Differences",
    "table": "All datasets",
    "students": "Other students",
    "sizes": "Sizes",
    "files": "Files",
}


def draw(part: str, compared: Sequence[Compared]) -> None:
    if part == "returns":
        overlay_view.returns(compared)
    elif part == "curves":
        x = widgets.choose_part("over", X_NAMES)
        live = any(one.view.active for one in compared)
        st.fragment(overlay_view.curves, run_every=2.0 if live else None)(compared, x, live)
    elif part == "settings":
        overlay_view.settings(compared)
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
    if part == "table":
        nine.table()
    elif part == "students":
        transfer.generalisation()
    elif part == "sizes":
        transfer.sizes()
    elif not views:
        st.info("Choose runs with the boxes at the left of the table; two or more make a comparison.")
    else:
        draw(part, comparison.compare(views))
    if part == "files":
        takeaway.importer()


with widgets.page("compare"):
    page()
