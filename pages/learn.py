"""Learn: what is distilled and why, in seven steps and a playground."""

from __future__ import annotations

import streamlit as st

from obd.engine.playground import Settings
from obd.ui import learn, story, widgets

SIZES = (4, 8, 16, 32, 64)


def pairs() -> Settings:
    """The number of pairs that two steps of the story let one choose."""
    size = st.select_slider("Pairs", SIZES, 16, key="pairs", bind="query-params")
    return Settings("pbc", size)


def told(step: story.Step) -> None:
    """The ordinary screen: words on the left, the picture on the right."""
    words, picture = st.columns([2, 3], gap="large")
    with words:
        st.subheader(step.title, anchor=False)
        st.markdown(step.text)
        settings = pairs() if step.key == "few" else Settings("pbc")
    with picture:
        if step.key == "bounds":
            learn.bounds()
        else:
            learn.live(step.key, settings)


def playground() -> None:
    words, picture = st.columns([1, 4], gap="medium")
    with words:
        settings = learn.controls()
        st.caption(
            "Two loops at work: every student is trained afresh on the points, and the points follow its mistakes."
        )
    with picture:
        learn.live("playground", settings)


def page() -> None:
    step = learn.choose_step()
    if step.key == "playground":
        playground()
    elif step.key == "aims":
        st.subheader(step.title, anchor=False)
        learn.explain_aims()
        learn.live(step.key, Settings("pbc"))
        learn.measured_aims()
    elif step.key == "figures":
        learn.figures()
    else:
        told(step)


with widgets.page("learn"):
    page()
