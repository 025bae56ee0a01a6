"""Drawing the Learn page: the stepper, the moving pictures (a custom component) and the still ones."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Literal

import streamlit as st

from obd.config import DEFAULT_DATASET
from obd.engine.playground import MAX_POINTS, Settings
from obd.errors import ObdError
from obd.runs import published
from obd.ui import charts, headline, story, widgets
from obd.ui.charts import Estimate
from obd.ui.playground import Runner, Scene
from obd.ui.playground_frame import measured, still_life
from obd.ui.tasks import UNEXPECTED
from obd.ui.theme import OBJECTIVE_KEYS, style

FRAME_SECONDS = 0.125  # between two frames while something moves; points glide from one to the next
SEVERAL = 2  # times as long where several students move, for each of them comes along in every frame

_HERE = Path(__file__).parent
# Streamlit sends a component's code and style along with every frame.  So the component only hands over to a module
# that comes with the first frames, until the browser says that it has it, together with all that never changes.
_COMPONENT = st.components.v2.component(
    "obd_playground",
    js="""export default (component) => {
  let over, end;
  const { data: { code }, setStateValue } = component;
  if (!window.obdLearn && code)
    window.obdLearn = import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  if (code || !window.obdLearn) setStateValue("has", Boolean(window.obdLearn));
  window.obdLearn?.then((module) => { if (!over) end = module.default(component); });
  return () => { over = true; end?.(); };
};""",
)


@lru_cache(maxsize=1)
def _module() -> str:
    """The code of the pictures with what it never gets again: their style, their still part, what each step shows."""
    never_changes = {
        "STYLE": (_HERE / "playground.css").read_text("utf-8"),
        "STILL": still_life(),
        "VIEWS": story.VIEWS,
    }
    constants = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in never_changes.items())
    return constants + (_HERE / "playground.js").read_text("utf-8")


# -- the stepper -------------------------------------------------------------------------------------------------


def choose_step() -> story.Step:
    """The stepper; the step stands in the address as ``?step=``."""
    wanted = st.session_state.get("step")
    if wanted not in story.KEYS:
        if wanted:
            st.warning("There is no such step; this is the first one.", icon=":material/info:")
        wanted = story.KEYS[0]
    widgets.put("step choice", wanted)
    names = {step.key: f"{number} {step.name}" for number, step in enumerate(story.STEPS, 1)}
    names[story.KEYS[-1]] = "▶ Playground"
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        chosen = st.segmented_control(
            "Step",
            story.KEYS,
            default=wanted,
            format_func=lambda key: names[key],
            key="step choice",
            required=True,
            label_visibility="collapsed",
            on_change=widgets.by_hand(lambda: go(st.session_state["step choice"])),
        )
        place = story.KEYS.index(str(chosen))
        with st.container(horizontal=True, width="content"):
            for label, there in (("Back", place - 1), ("Next", place + 1)):
                possible = 0 <= there < len(story.KEYS)
                target = story.KEYS[there] if possible else str(chosen)
                kind: Literal["primary", "secondary"] = "primary" if label == "Next" else "secondary"
                st.button(label, key=label.lower(), type=kind, disabled=not possible, on_click=go, args=(target,))
    go(str(chosen))
    return story.STEPS[place]


def go(key: str) -> None:
    """Make a step the one that is shown, and the address name it."""
    st.session_state["step"] = key
    st.query_params["step"] = key


# -- moving pictures -----------------------------------------------------------------------------------------------


def runner() -> Runner:
    """The playground of this tab."""
    if "playground" not in st.session_state:
        st.session_state["playground"] = Runner()
    found: Runner = st.session_state["playground"]
    return found


def live(key: str, settings: Settings) -> None:
    """The moving picture of a step."""
    scene = story.scene(key, settings)
    if scene is None:
        return
    tab = runner()
    tab.show(scene)
    moving = tab.moving(scene)
    pace = FRAME_SECONDS * (SEVERAL if len(scene.lanes) > 1 else 1)
    st.fragment(_stream, run_every=pace if moving else None)(key, scene, moving)


def _stream(key: str, scene: Scene, moving_when_drawn: bool) -> None:
    """Body of the fragment: pass the latest frame on."""
    with widgets.guard():
        tab = runner()
        frame = tab.frame()
        if tab.error:
            widgets.show_error(UNEXPECTED)
            st.button("Try again", icon=":material/refresh:", key="playground again")
            return
        if frame is None and not tab.browser_has_code:
            st.caption("Setting up the pendulum …")
            return
        name = f"map {key}"
        _COMPONENT(
            key=name,
            data={
                "code": None if tab.browser_has_code else _module(),
                "frame": frame and story.shown(key, frame),
                "view": key,
            },
            on_edits_change=lambda: tab.edit(st.session_state[name].get("edits") or [], scene.name),
            on_has_change=lambda: setattr(tab, "browser_has_code", bool(st.session_state[name].get("has"))),
        )
        if tab.moving(scene) != moving_when_drawn:
            st.rerun()  # only a full run can start or stop the timer


def controls() -> Settings:
    """The sliders of the playground, kept in the address."""
    objective = st.segmented_control(
        "Students should act like",
        OBJECTIVE_KEYS,
        default="av_pbc",
        format_func=lambda key: style(key).label,
        key="aim",
        required=True,
        bind="query-params",
        help="DBC: the data. PBC: the teacher. Av-PBC: the teacher, above all where action values are high.",
    )
    size = st.slider(
        "Points", 4, MAX_POINTS, 24, key="points", bind="query-params", help="How many pairs are distilled."
    )
    inner = st.slider(
        "Inner steps", 1, 80, 40, key="inner", bind="query-params", help="Training steps of each fresh student."
    )
    seed = st.slider(
        "Seed", 0, 9, 0, key="seed", bind="query-params", help="Another start; the points begin elsewhere."
    )
    return Settings(str(objective), size, inner, seed)


# -- still pictures ------------------------------------------------------------------------------------------------


def bounds() -> None:
    """The slider of gamma, the two factors and the sentence about them."""
    gamma = st.select_slider(
        "Discount γ", [0.5, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999], 0.97, key="gamma", bind="query-params"
    )
    pbc, av_pbc = story.bound_factors(gamma)
    st.echarts_chart(
        story.bounds_chart(gamma),
        key="bounds",
        height=380,
        alt=f"Factors of the bounds over the horizon; at gamma {gamma:g} PBC {pbc:,.0f}, Av-PBC {av_pbc:,.0f}",
    )
    st.markdown(story.bounds_sentence(gamma))


def figures() -> None:
    """The paper's figures beside ours."""
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("The paper", anchor=False)
        places = ("mean of nine", *published.COLUMNS)
        place = st.selectbox("Dataset", places, key="paper column")
        rows = [(key, _published(key, place)) for key in ("random_selection", *OBJECTIVE_KEYS, "whole_bc", "teacher")]
        _bars(rows, "paper bars", intervals=False)
        st.caption(
            f"256 pairs, {published.GPU_HOURS} GPU-hours a set; mean action of ten Av-PBC students "
            f"{_published('av_pbc_ensemble', place).mean:.1f}. {published.SOURCE}."
        )
    with right:
        st.subheader("Here", anchor=False)
        try:
            ours = headline.load()
        except ObdError as error:
            widgets.show_error(error)
            return
        if ours is None:
            st.info("There are no measured results here; `python -m obd bench returns` makes them.")
            return
        st.selectbox("Dataset", [DEFAULT_DATASET], key="our column", disabled=True)
        _bars(ours.rows, "our bars")
        st.caption(f"{ours.sentence} Minutes on two processor cores.")
    st.markdown(story.figures_sentence({k: _published(k, places[0]).mean for k in OBJECTIVE_KEYS}, dict(ours.rows)))


def _bars(rows: list[tuple[str, Estimate]], key: str, intervals: bool = True) -> None:
    spec = charts.return_bars(rows)
    if not intervals:
        spec["series"] = [series for series in spec["series"] if series["type"] != "line"]
    alt = ", ".join(f"{style(name).label} {estimate.mean:.1f}" for name, estimate in rows)
    st.echarts_chart(spec, height=230, key=key, alt=f"Normalised returns: {alt}")


def _published(key: str, place: str) -> Estimate:
    """A published figure without an interval (the paper prints none for these rows)."""
    values = published.RETURNS[key]
    value = values[published.COLUMNS.index(place)] if place in published.COLUMNS else sum(values) / len(values)
    return Estimate(value, value, value)


def measured_aims() -> None:
    """One line: what the benchmark of this page found."""
    st.caption(story.measured_sentence(measured()))


def explain_aims() -> None:
    """The three objectives in words and formulas, and when each fails."""
    failures = {
        "dbc": "Fails when the log is mixed: it asks for push and pull at the same spot, and the average does nothing.",
        "pbc": "Spends its few pairs on every state alike, also where a mistake costs nothing.",
        "av_pbc": "Spends them where action values are high (big dots); weak where the way to there is hard.",
    }
    for column, key in zip(st.columns(3), OBJECTIVE_KEYS, strict=True):
        column.markdown(f"$\\small {style(key).formula}$  \n{failures[key]}")
