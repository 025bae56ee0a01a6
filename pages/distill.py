"""Distil: choose, start, and watch losses and returns while the runs go on."""

from __future__ import annotations

import streamlit as st

from obd.runs.store import Run
from obd.ui import charts, launch, live, sentences, state, widgets
from obd.ui.monitor import RunView, group_progress, group_state, read_all
from obd.ui.theme import OBJECTIVE_KEYS


def controls() -> None:
    """The sidebar: settings and Start."""
    with st.sidebar:
        configs, pressed = widgets.settings_form()
        if pressed and configs is not None:
            launch.start(configs)
            st.rerun()


def going_on(group: str, views: list[RunView]) -> bool:
    """Whether anything of the group still happens; a stopped one may be finishing its last measurement."""
    return any(view.active for view in views) or state.job_queue().active() == group


def buttons(group: str, views: list[RunView]) -> None:
    """Stop while something happens, Resume when something is unfinished."""
    if going_on(group, views):
        stopping = st.session_state.get("stopping") == group
        label = "Stopping …" if stopping else "Stop"
        if st.button(label, icon=":material/stop:", key="stop", disabled=stopping, help="Keeps what there is so far."):
            state.job_queue().stop(group)
            st.session_state["stopping"] = group
            st.rerun()
    elif group_state(views) == "finished" or group == state.SHOWCASE:
        return
    elif st.button("Resume", icon=":material/resume:", key="resume", help="Goes on from the last snapshot."):
        state.job_queue().resume(group)
        st.rerun()


def watch(group: str, runs: list[Run], live_when_drawn: bool) -> None:
    """The fragment: everything that changes while a group is going on."""
    with widgets.guard():
        views, problems = read_all([state.reader(str(run.path)) for run in state.still_there(runs)])
        for problem in dict.fromkeys(problems):
            widgets.show_error(problem)
        if not views:
            st.warning("The directory of this run has been deleted; choose another run.")
            return
        active = going_on(group, views)
        progress = group_progress(views)
        references = live.baselines(views[0].dataset, views[0].size)
        top, side = st.columns([6, 1], vertical_alignment="center")
        with top:
            st.markdown(live.headline(group, views, progress, references.get("teacher")))
        with side:
            buttons(group, views)
        if progress.state in ("finished", "stopped"):
            links(group)
        if progress.state != "finished":
            live.numbers(progress, views)
        left, right = st.columns([3, 2], gap="medium")
        with left:
            st.echarts_chart(
                charts.loss_chart([view.curve() for view in views], progress.outer_steps),
                key=f"loss {group}",
                height=320,
                alt=live.loss_alt(views),
            )
            st.caption("Loss of each objective; thin: every step, thick: smoothed. Compare falls, not heights.")
        with right:
            points = {view.objective: view.estimates() for view in views}
            st.echarts_chart(
                charts.return_chart(points, progress.outer_steps, references, axis_name=live.return_name(views)),
                key=f"returns {group}",
                height=320,
                alt=live.return_alt(points, references),
            )
            st.caption(live.returns_caption(points, normalised=all(view.normalised for view in views)))
        if live_when_drawn and not active:
            st.rerun()


def links(group: str) -> None:
    """Where to go from a run that is over."""
    with st.container(horizontal=True):
        st.page_link(
            "pages/states.py",
            label="See where the states went",
            icon=":material/scatter_plot:",
            query_params={"group": group},
        )
        st.page_link(
            "pages/rollouts.py", label="Watch the students", icon=":material/movie:", query_params={"group": group}
        )


def page() -> None:
    controls()
    chosen = widgets.choose_group()
    if chosen is None:
        st.subheader("Nothing has been distilled yet", anchor=False)
        st.markdown("Choose a dataset and objectives on the left and press **Start**: points come within seconds.")
        widgets.explain_objectives(OBJECTIVE_KEYS)
        return
    group, runs = chosen
    views, _ = read_all([state.reader(str(run.path)) for run in state.still_there(runs)])
    active = going_on(group, views)
    if not active:
        st.session_state.pop("stopping", None)
    st.fragment(watch, run_every=1.0 if active else None)(group, runs, active)
    if views:
        st.space("small")
        widgets.explain_objectives([view.objective for view in views])
        st.caption(sentences.settings_line(views[0].run.config))


with widgets.page("distill"):
    page()
