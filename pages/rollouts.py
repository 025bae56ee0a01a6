"""Rollouts: one student per distilled set beside random selection and the teacher, in one video."""

from __future__ import annotations

import streamlit as st

from obd.policy import Policy
from obd.runs.store import Run
from obd.ui import sentences, state, videos, widgets
from obd.ui.tasks import Task
from obd.ui.theme import style, tag


def ask(group: str, runs: list[Run], seed: int, seconds: float) -> tuple[videos.Video | None, tuple[object, ...]]:
    """The video, if it exists; otherwise the task that makes it has been started."""
    path = videos.video_path(runs, seed, seconds)
    key = ("video", str(path))
    video = videos.existing(path)
    if video is not None:
        return video, key
    config = runs[0].config

    def teacher() -> Policy:
        return state.teacher(config.dataset, config.teacher).to_policy()

    shelf = state.shelf()

    def work(task: Task) -> videos.Video:
        dataset = shelf.get(config.dataset, task.part(0.0, 0.2), task.should_stop)
        return videos.make(task, path, runs, dataset, teacher, seed=seed, seconds=seconds)

    task = state.tasks().get(key)
    if task is not None and task.state == "done":  # but the file has been deleted since
        state.tasks().forget(key)
    state.tasks().start_once(key, work, "video")
    return None, key


def waiting(key: tuple[object, ...]) -> None:
    """The fragment shown while a video is being made."""
    widgets.poll(key, "Training students, playing their episodes and drawing them:")


def show(video: videos.Video, seed: int) -> None:
    """The video with its message, its scores in words and a download."""
    st.markdown(sentences.rollouts_sentence(video.scores()))
    st.video(
        str(video.path),
        loop=True,
        autoplay=True,
        muted=True,
        alt="Side by side: " + ", ".join(f"{style(s.key).label} {s.score:.0f}" for s in video.shots),
    )
    for column, shot in zip(st.columns(len(video.shots)), video.shots, strict=True):
        with column:
            ending = f", fell after {shot.seconds:.1f} s" if shot.terminated else ""
            st.markdown(f"{tag(shot.key)}<br>{shot.score:.1f}{ending}", unsafe_allow_html=True)
    drawn = "drawn by MuJoCo" if video.renderer == "mujoco" else "schematic drawing, as OpenGL is not available"
    st.caption(
        f"The first student of each set (not the best one), start state {seed}; returns are of whole episodes; {drawn}."
    )
    st.sidebar.download_button(
        "Download the video",
        data=video.path.read_bytes,
        file_name=video.path.name,
        mime="video/mp4",
        icon=":material/download:",
        on_click="ignore",
        width="stretch",
    )


def page() -> None:
    chosen = widgets.choose_group()
    if chosen is None:
        st.subheader("No robot to watch yet", anchor=False)
        widgets.empty_state("Distil something first: a minute is enough, then its students walk here.")
        return
    group, runs = chosen
    with st.sidebar:
        seed = st.number_input(
            "Start state", 0, 9999, 0, help="Seed of the episode; all policies share it.", key="episode"
        )
        seconds = st.slider(
            "Seconds shown", 2, 50, 10, help="Real time; the returns are of whole episodes.", key="length"
        )
    ready = videos.distilled_runs(runs)
    if not ready:
        st.info("This run is not over yet; its students can be watched when it is finished or stopped.")
        st.page_link(
            "pages/distill.py", label="Watch the run", icon=":material/filter_alt:", query_params={"group": group}
        )
        return
    video, key = ask(group, ready, int(seed), float(seconds))
    if video is None:
        st.fragment(waiting, run_every=0.5)(key)
    else:
        show(video, int(seed))


with widgets.page("rollouts"):
    page()
