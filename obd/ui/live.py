"""The moving parts of the Distil page: headline, numbers, curves, live map and poses, and what they say in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import streamlit as st

from obd.errors import ObdError
from obd.runs.baselines import dataset_baselines
from obd.runs.store import Run
from obd.ui import charts, livemap, posestrip, state
from obd.ui.cardtext import no_pose_sentence
from obd.ui.charts import Estimate
from obd.ui.headline import source_transitions
from obd.ui.monitor import GroupProgress, RunView, estimate
from obd.ui.sentences import duration, minus, percent, progress_sentence, result_sentence
from obd.ui.sentences import points as as_points
from obd.ui.series import smooth
from obd.ui.theme import style

HEIGHT = 280
REFERENCE_KEYS = ("random_selection", "teacher")


@st.cache_resource(ttl=10, max_entries=16, show_spinner=False)
def baselines(dataset_id: str, size: int) -> dict[str, float]:
    """Mean returns of random selection and the teacher as far as they are known."""
    try:
        scores = dataset_baselines(dataset_id, size)
    except ObdError:
        scores = {}
    return {key: estimate(scores[key]).mean for key in REFERENCE_KEYS if scores.get(key)}


@st.cache_resource(max_entries=32, show_spinner=False)
def transitions(path: str) -> int | None:
    """How many transitions a finished run was distilled from, as its card says."""
    try:
        return source_transitions(Run(Path(path)))
    except ObdError:
        return None


def going_on(group: str, views: Sequence[RunView]) -> bool:
    """Whether anything of the group still happens; a stopped one may be finishing its last measurement."""
    return any(view.active for view in views) or state.job_queue().active() == group


def headline(group: str, views: Sequence[RunView], progress: GroupProgress, teacher: float | None) -> str:
    """One sentence: what happens now, or what came out."""
    # A run that was stopped before its first step says so only when none got further.
    told = [view for view in views if view.state != "stopped" or view.step or not progress.step]
    messages = list(dict.fromkeys(view.message for view in told if view.message))
    if progress.state == "finished":
        return result_sentence(views, teacher, transitions(str(views[0].run.path)))
    if progress.state == "interrupted":
        return "The app was closed while this ran; Resume goes on from the last snapshot."
    if progress.state == "stopped" and not progress.step:
        return "Stopped before its first step; Resume puts it in the queue again."
    if progress.state in ("failed", "paused", "stopped"):
        label = {
            "paused": "Paused; the cores are free, and Continue leads to the same result as without the pause.",
            "failed": "This run failed.",
            "stopped": "Stopped; everything up to this step is kept, and Resume goes on from here.",
        }[progress.state]
        return " ".join([label, *messages])
    if messages and progress.state != "queued" and progress.step == 0:
        return " ".join(messages)
    queue = state.job_queue()
    waiting = queue.waiting()
    ahead = waiting.index(group) + (queue.active() is not None) if group in waiting else None
    return progress_sentence(progress, ahead)


def numbers(progress: GroupProgress, views: Sequence[RunView]) -> None:
    """Progress bar, step, speed and time left."""
    bar, step, rate, left = st.columns([4, 2, 2, 2], vertical_alignment="center", gap="medium")
    with bar:
        if progress.collected is not None:
            st.progress(progress.collected, text=f"{100 * progress.collected:.0f} % of the dataset, built once")
        else:
            st.progress(progress.fraction, text=f"{100 * progress.fraction:.0f} % of the steps")
    total = f"{progress.outer_steps:,}" if progress.outer_steps else "…"
    step.metric("Outer step", f"{progress.step:,} / {total}")
    rate.metric("Steps per second", "-" if progress.rate is None else f"{progress.rate:.1f}", help=_rate_help(views))
    seconds = progress.seconds_left
    left.metric("Time left", "-" if seconds is None else duration(seconds))


def _rate_help(views: Sequence[RunView]) -> str:
    return "Outer steps per second, all objectives together." if len(views) > 1 else "Outer steps per second."


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


def pictures(group: str, views: Sequence[RunView], progress: GroupProgress, references: Mapping[str, float]) -> None:
    """Losses beside the live map, returns beside the live poses."""
    for column, draw in zip(st.columns(2, gap="medium"), (_losses, _map), strict=True):
        with column:
            draw(group, views, progress)
    left, right = st.columns(2, gap="medium")
    with left:
        _returns(group, views, progress, references)
    with right:
        _poses(group, views)


def _losses(group: str, views: Sequence[RunView], progress: GroupProgress) -> None:
    st.echarts_chart(
        charts.loss_chart([view.curve() for view in views], progress.outer_steps),
        key=f"loss {group}",
        height=HEIGHT,
        alt=loss_alt(views),
    )
    _two_lines("losses", losses_caption(views, progress.outer_steps))


def _map(group: str, views: Sequence[RunView], _progress: GroupProgress) -> None:
    plane = livemap.plane(views[0].dataset)
    moving = livemap.positions(views, plane) if plane is not None else []
    sentence = livemap.map_sentence(moving, _map_waiting(views[0].dataset, plane is not None))
    st.echarts_chart(livemap.live_map(plane, moving), key=f"live map {group}", height=HEIGHT, alt=f"Map: {sentence}")
    _two_lines("map", sentence)


def _two_lines(name: str, sentence: str) -> None:
    """A caption that keeps the place of two lines: what is below it does not move when it grows."""
    with st.container(key=f"lines {name}"):
        st.caption(sentence)


def _returns(group: str, views: Sequence[RunView], progress: GroupProgress, references: Mapping[str, float]) -> None:
    points = {view.objective: view.estimates() for view in views}
    st.echarts_chart(
        charts.return_chart(points, progress.outer_steps, references, raw=raw_returns(views)),
        key=f"returns {group}",
        height=HEIGHT,
        alt=return_alt(points, references),
    )
    over = not any(view.active for view in views)
    st.caption(returns_caption(points, normalised=all(view.normalised for view in views), over=over))


def _poses(group: str, views: Sequence[RunView]) -> None:
    """Rows of poses; their place is kept while they are not drawn."""
    rows = posestrip.newest(group, views)
    with st.container(height=HEIGHT, border=False):
        if rows is None:
            info = state.dataset_info(views[0].dataset)
            reason = no_pose_sentence(info.env_id) if info is not None else ""
            st.caption(reason or "A few of the synthetic states will be drawn here as poses of the robot.")
            return
        st.html(posestrip.as_html(rows))
    st.caption(f"The first {posestrip.POSES} pairs, not picked: the real states they began as and what became of them.")


def ready(group: str, views: Sequence[RunView]) -> bool:
    """Whether nothing is being drawn in the background any more."""
    return livemap.settled(views[0].dataset) and posestrip.settled(group, views)


def _map_waiting(dataset_id: str, ready: bool) -> str:
    """Why the map is empty."""
    info = state.dataset_info(dataset_id)
    if ready:
        return "The synthetic states appear with the first snapshot."
    if info is None:
        return "There is no map, as the dataset of this run is not on this machine."
    return "The map is being drawn." if info.available else "The map appears when the dataset has been built."


def loss_alt(views: Sequence[RunView]) -> str:
    """The loss chart for screen readers."""
    parts = [
        f"{style(view.objective).label} from {view.losses[0]:.3g} to {view.losses[-1]:.3g}"
        for view in views
        if view.losses
    ]
    return "Loss over outer steps: " + (", ".join(parts) if parts else "no step is done yet")


def losses_caption(views: Sequence[RunView], outer_steps: int) -> str:
    """How far each objective has come in its own measure: heights of different ones do not compare."""
    falls = []
    for view in views:
        if len(view.losses) > 1:
            smoothed = smooth(np.asarray(view.losses), charts.half_life(outer_steps))
            falls.append(f"{style(view.objective).label} {percent(float(smoothed[-1] / smoothed[0] - 1))}")
    if not falls:
        return "Loss of each objective; thin: every step, thick: smoothed."
    return f"Loss since the start: {', '.join(falls)} (thick: smoothed). Compare falls, not heights."


def raw_returns(views: Sequence[RunView]) -> bool:
    """Whether returns of these runs are raw, as they have no reference returns to be measured by."""
    measured = any(view.measured or view.evaluation for view in views)
    info = None if measured or not views else state.dataset_info(views[0].dataset)
    return not all(view.normalised for view in views) or (info is not None and info.reference_returns is None)


def return_alt(points: Mapping[str, Sequence[Estimate]], references: Mapping[str, float]) -> str:
    """The chart of returns for screen readers."""
    parts = [f"{style(key).label} {es[-1].mean:.1f}" for key, es in points.items() if es]
    parts += [f"{style(key).label} {value:.1f}" for key, value in references.items()]
    return minus("Returns: " + (", ".join(parts) if parts else "nothing measured yet"))


def returns_caption(points: Mapping[str, Sequence[Estimate]], *, normalised: bool = True, over: bool = False) -> str:
    """What the newest students return; without any, when they will be measured (``over``: not any more)."""
    newest = [f"{style(key).label} {as_points(es[-1].mean)}" for key, es in points.items() if es]
    if newest:
        scale = "0 is random, 100 expert" if normalised else "raw, as there are no reference returns"
        return f"Fresh students trained on the newest set return {', '.join(newest)} ({scale}; whiskers: 95 %)."
    if over:
        return "No students were measured; Compare → Files can measure a finished run."
    return "Returns appear at the first snapshots: fresh students are trained on the set and rolled out."
