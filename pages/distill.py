"""Distil: choose, start, and watch losses, returns and states while the runs go on."""

from __future__ import annotations

import streamlit as st

from obd.errors import ObdError
from obd.runs.command import command_line
from obd.runs.store import Run
from obd.ui import launch, live, sentences, state, widgets
from obd.ui.monitor import RunView, group_progress, group_state, read_all
from obd.ui.theme import OBJECTIVE_KEYS


def controls() -> None:
    """The sidebar: settings and Start; why nothing was started is said above the run on show."""
    with st.sidebar:
        st.markdown("**New run**")
        configs, pressed = widgets.settings_form()
    if pressed and configs is not None:
        try:
            launch.start(configs)
        except ObdError as error:
            st.session_state["refused"] = (configs, str(error))
        else:
            st.rerun()
    refused, why = st.session_state.get("refused", (None, ""))
    if refused is not None and refused == configs:  # until something is changed: timers run the page anew
        widgets.show_error(why)


def buttons(group: str, views: list[RunView]) -> None:
    """Pause and Stop while something happens, Continue or Resume when something is unfinished."""
    queue, now = state.job_queue(), group_state(views)
    if live.going_on(group, views):
        ending = st.session_state.get("ending", {}).get(group)
        if queue.active() == group and st.button(
            "Pausing …" if ending == "pause" else "Pause",
            icon=":material/pause:",
            key="pause",
            disabled=ending is not None,
            help="Frees the cores and keeps the place; the result is the same, bit for bit.",
        ):
            end(group, "pause")
        if st.button(
            "Stopping …" if ending == "stop" else "Stop",
            icon=":material/stop:",
            key="stop",
            disabled=ending is not None,
            help="Keeps what there is so far.",
        ):
            end(group, "stop")
    elif now == "finished" or group == state.SHOWCASE:
        return
    elif st.button(
        "Continue" if now == "paused" else "Resume",
        icon=":material/play_arrow:" if now == "paused" else ":material/resume:",
        key="resume",
        type="primary" if now == "paused" else "secondary",
        help="Goes on from the last snapshot.",
    ):
        st.session_state.pop("ending", None)  # the page as a whole may not have seen the end of the stopped run
        queue.resume(group)
        st.rerun()


def end(group: str, how: str) -> None:
    queue = state.job_queue()
    (queue.pause if how == "pause" else queue.stop)(group)
    st.session_state["ending"] = {group: how}
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
        active = live.going_on(group, views)
        progress = group_progress(views)
        references = live.baselines(views[0].dataset, views[0].size)
        with st.container(key="stand"):  # as high when a run is over: the pictures stay where they are
            top, side = st.columns([5, 2], vertical_alignment="center")
            top.markdown(live.headline(group, views, progress, references.get("teacher")))
            with side, st.container(horizontal=True, horizontal_alignment="right"):
                buttons(group, views)
            if progress.state in ("finished", "stopped") and progress.step:
                live.links(group)
            if progress.state != "finished":
                live.numbers(progress, views)
        live.pictures(group, views, progress, references)
        if live_when_drawn and not active and live.ready(group, views):
            st.rerun()


def below(runs: list[Run], views: list[RunView]) -> None:
    """What is good to know about the run on show, and how to make it again."""
    widgets.explain_objectives([view.objective for view in views])
    st.caption(sentences.settings_line(views[-1].run.config))  # DBC comes first, and has no visitation share
    st.button(
        "Use these settings",
        icon=":material/content_copy:",
        key="duplicate",
        on_click=launch.fill_form,
        args=([view.run.config for view in views],),
        help="Fills in the form on the left; nothing starts yet.",
    )
    with st.expander("Command line that makes this run again", icon=":material/terminal:"):
        known = views[0].outer_steps
        st.caption(
            f"With the recorded {known:,} outer steps and the same seed the result is the same, bit for bit."
            if known
            else "The number of outer steps is not known yet, so this has the time budget instead."
        )
        for view in views:
            out = f"{view.objective.replace('_', '-')}-again"
            st.code(command_line(view.run.config, view.outer_steps, out), language="bash", wrap_lines=True)


def page() -> None:
    chosen = widgets.choose_group()  # first, as on other pages, and where the open form does not push it away
    controls()
    queue = state.job_queue()
    busy = queue.active() is not None or bool(queue.waiting())
    with st.sidebar:
        st.fragment(launch.queue_panel, run_every=2.0 if busy else None)(chosen[0] if chosen else None)
    if chosen is None:
        st.subheader("Nothing has been distilled yet", anchor=False)
        st.markdown("Choose a dataset and objectives on the left and press **Start**: points come within seconds.")
        widgets.explain_objectives(OBJECTIVE_KEYS)
        return
    group, runs = chosen
    views, _ = read_all([state.reader(str(run.path)) for run in state.still_there(runs)])
    active = live.going_on(group, views)
    if not active:
        st.session_state.pop("ending", None)
    moving = active or (bool(views) and not live.ready(group, views))
    st.fragment(watch, run_every=1.0 if moving else None)(group, runs, moving)
    if views:
        st.space("small")
        below(runs, views)


with widgets.page("distill"):
    page()
