"""Rollouts: students of every objective beside random selection and the teacher, tiled or racing on one track."""

from __future__ import annotations

import streamlit as st

from obd.errors import ObdError
from obd.runs.store import ACTIVE_STATES, Run
from obd.teachers.teacher import Teacher
from obd.ui import cast, player, sentences, state, videos, widgets
from obd.ui.tasks import Task
from obd.ui.theme import style


def has_teacher(run: Run) -> bool:
    try:
        return bool(state.teacher(run.config.dataset, run.config.teacher))
    except ObdError:
        return False


def choose(runs: list[Run], steps: dict[str, int | None]) -> videos.Request:
    """The sidebar: who, how and how long.  Raises ObdError if that makes no video."""
    members = cast.choices(runs, steps, has_teacher(runs[0]))
    view = st.segmented_control(
        "View", list(videos.VIEWS), format_func=videos.VIEWS.get, default="tiled", required=True, key="film",
        persist_state="session", bind="query-params",
    )  # fmt: skip
    words = {name: f"{style(member.key).glyph} {member.label}" for name, member in members.items()}
    ids = widgets.choose_several(
        "who",
        words,
        cast.usual(members),
        "Whole-data BC is trained once, in under half a minute.",
    )
    forms = widgets.choose_several(
        "form",
        {name: words.capitalize() for name, words in cast.FORMS.items()},
        list(dict.fromkeys(cast.own_form(run) for run in runs)),
        "What is trained on the distilled pairs. An ensemble acts with the mean action of ten students; four columns "
        "are four networks trained together as one student, on the error of their mean. Chosen at first: what the "
        "preset of the run says.",
        "Students as",
    )
    students = st.multiselect(
        "Student number", list(range(1, cast.STUDENTS + 1)), default=[1], key="student", persist_state="session",
        bind="query-params", help="Students differ in their random start. Number 1 is shown, not the best one.",
    )  # fmt: skip
    left, right = st.columns(2)
    seed = left.number_input(
        "Start state", 0, 9999, 0, key="episode", persist_state="session", bind="query-params",
        help="Seed of the episode; all policies share it.",
    )  # fmt: skip
    seconds = right.number_input(
        "Seconds", 2, 50, videos.USUAL_SECONDS, key="length", persist_state="session", bind="query-params",
        help="Real time; the returns are of whole episodes.",
    )  # fmt: skip
    return videos.Request(tuple(cast.select(members, ids, students, forms)), str(view), int(seed), float(seconds))


def ask(request: videos.Request) -> None:
    """Start making the video, if that has not been asked for before."""
    path, config = request.path, request.members[0].run.config
    shelf, crew, kept = state.shelf(), videos.crew(), videos.kept()
    info = state.dataset_info(config.dataset)

    def teacher() -> Teacher:
        return state.teacher(config.dataset, config.teacher)

    def work(task: Task) -> videos.Video:
        if info is not None:
            videos.announce(task, request, info.env_id, crew)
        dataset = shelf.get(config.dataset, task.part(0.0, 0.02), task.should_stop)
        return videos.make(task, request, path, dataset, teacher, crew, kept)

    task = state.tasks().get(request.key)
    if task is not None and task.state == "done":  # but the file has been deleted since
        state.tasks().forget(request.key)
    state.tasks().start_once(request.key, work, "video").seen(state.session())


def waiting(request: videos.Request) -> None:
    """The fragment shown while a video is being made: its newest picture and how far it is."""
    task = state.tasks().get(request.key)
    if task is not None:
        task.seen(state.session())
    picture = videos.picture_address(task.preview if task else None)
    player.show(player.waiting(str(request.key), picture, "The video while it is being drawn", request.size))
    widgets.poll(request.key, "Training, playing the episodes and drawing them:")


def show(video: videos.Video, request: videos.Request) -> None:
    """The player, what it says, and the files to take away."""
    player.show(video.contract(player.media_url(video.path)))
    made = [f"step {m.step:,} of {style(m.key).label}" for m in request.members if m.step is not None]
    parts = [f"Start state {request.seed}", f"returns are of whole episodes, {video.scale}", video.renderer()]
    trained = ["trained on " + ", ".join(dict.fromkeys(made))] if made else []
    st.caption("; ".join([*parts, *trained, *video.remarks]) + ".")
    with st.sidebar:
        st.caption("Download the video or its numbers")
        videos.downloads(video)


def newer(group: str, runs: list[Run], shown: dict[str, int | None]) -> None:
    """The fragment of a group that still runs: offers the snapshots made since."""
    latest = cast.snapshots(runs)
    if latest == shown:
        st.caption("The runs go on; newer snapshots will be offered here.")
    elif st.button("Show the newest snapshots", icon=":material/update:", key="newest", width="stretch"):
        st.session_state[f"shown {group}"] = latest
        st.rerun()


def too_early(group: str, runs: list[Run]) -> None:
    """The fragment of a group without any snapshot."""
    if cast.snapshots(runs):
        st.rerun()
    active = any(run.status().get("state") in ACTIVE_STATES for run in runs)
    text = "Its first snapshot comes as soon as it starts; the students appear here by themselves."
    st.info(text if active else "This run ended before there was anything to train students on.")
    st.page_link("pages/distill.py", label="Watch the run", icon=":material/filter_alt:", query_params={"group": group})


def page() -> None:
    chosen = widgets.choose_group()
    if chosen is None:
        st.subheader("No robot to watch yet", anchor=False)
        widgets.empty_state("Distil something first: a minute is enough, then its students walk here.")
        return
    group, runs = chosen
    active = any(run.status().get("state") in ACTIVE_STATES for run in runs)
    latest = cast.snapshots(runs)
    shown = st.session_state.setdefault(f"shown {group}", latest)  # what is on show does not change by itself
    if not active or not set(latest) <= set(shown):
        shown = st.session_state[f"shown {group}"] = latest
    if not shown:
        st.fragment(too_early, run_every=2.0 if active else None)(group, runs)
        return
    with st.sidebar:
        request = choose(runs, shown)
        if active:
            st.fragment(newer, run_every=2.0)(group, runs, shown)
    state.tasks().waits(state.session(), request.key)  # what was asked for before gives way
    video = videos.shipped(request) or videos.existing(request.path)
    st.markdown(sentences.rollouts_sentence(video.shots, request.view) if video else sentences.FILMING)
    if video is not None:
        show(video, request)
        videos.get_ready(request)
    else:
        ask(request)
        st.fragment(waiting, run_every=0.25)(request)


with widgets.page("rollouts"):
    page()
