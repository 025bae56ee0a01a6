"""Home: what this is, the shipped result, and one button."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from obd.config import DEFAULT_DATASET, MAIN_OBJECTIVES, preset, usual_preset
from obd.errors import ObdError
from obd.ui import charts, headline, launch, widgets
from obd.ui.theme import style, tag

# One objective and shorter students: as many outer steps as a minute allows.
QUICK: dict[str, Any] = {"dataset": DEFAULT_DATASET, "objective": "av_pbc", "seconds": 60.0, "inner_steps": 40}

PAGES = Path(__file__).parent
WAYS_ON = (
    ("learn", "How it works", "school"),
    ("data", "Look at the data", "database"),
    ("distill", "Race the objectives", "flag"),
    ("states", "Map the states", "scatter_plot"),
    ("rollouts", "Watch robots", "movie"),
    ("compare", "Compare runs", "bar_chart"),
)


def introduction() -> None:
    st.title("Distil a robot's memory to a few hundred moments", anchor=False)
    st.markdown(
        "A robot's log holds hundreds of thousands of steps, most of them clumsy. "
        "Offline behaviour distillation condenses it into a few hundred synthetic pairs of *state* and *action*. "
        "A fresh neural network trained on those pairs alone walks after a fraction of a second."
    )
    if st.button("Distil for one minute", type="primary", icon=":material/play_arrow:", key="quick start"):
        st.switch_page("pages/distill.py", query_params={"group": launch.start([preset(usual_preset(), **QUICK)])})
    st.caption(
        "The minute is Av-PBC's, on your machine; nothing leaves it. On *Distil* three objectives race: DBC copies the "
        "log, PBC a teacher that learned from it, Av-PBC that teacher with valuable states first."
    )


def picture() -> None:
    """The showcase video with the returns of its episodes, when it is there."""
    clip = headline.clip()
    if clip is None:
        return
    said = ", ".join(f"{style(key).label} {score:.0f}" for key, score in clip.scores)
    alt = f"Robots side by side from the same start; normalised returns: {said}"
    with st.container(key="hero"):  # keeps the clip's place while the player is being loaded
        st.video(str(clip.path), loop=True, autoplay=True, muted=True, alt=alt)
    tags = " &nbsp; ".join(f"{tag(key)}&nbsp;{score:.0f}" for key, score in clip.scores)
    st.caption(
        f"One episode each from the same start; all but the teacher know 256 pairs. Returns: {tags}",
        unsafe_allow_html=True,
        help="Normalised returns of the whole episodes in the clip; below are means over many students and episodes.",
    )


def ways_on() -> None:
    """Links to the pages that exist."""
    with st.container(horizontal=True, gap="small"):
        for name, label, icon in WAYS_ON:
            if (PAGES / f"{name}.py").is_file():
                st.page_link(f"pages/{name}.py", label=label, icon=f":material/{icon}:")


def bars(shown: headline.Headline) -> None:
    """Returns of all methods and the sentence they make."""
    st.echarts_chart(
        charts.return_bars(shown.rows),
        height=190,
        key="showcase bars",
        alt="Normalised returns: " + ", ".join(f"{style(key).label} {e.mean:.1f}" for key, e in shown.rows),
    )
    st.caption(shown.sentence)


def page() -> None:
    try:
        shown = headline.load()
    except ObdError:  # a damaged showcase must not keep anybody from starting
        shown = None
    left, right = st.columns(2, gap="large")  # aligned at the top: nothing moves when the pictures arrive
    with left:
        introduction()
        if shown is not None:
            st.space("small")
            row = st.container(key="row numbers").columns(len(shown.numbers))
            for column, number in zip(row, shown.numbers, strict=True):
                column.metric(number.label, number.value, help=number.help)
        ways_on()
    with right:
        picture()
        if shown is not None:
            bars(shown)
        else:
            widgets.explain_objectives(MAIN_OBJECTIVES)


with widgets.page("home"):
    page()
