"""The parts of the States page: map with pose, gallery, and the test of the paper's claim."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
import torch
from numpy.typing import NDArray

from obd.errors import ObdError
from obd.insight.pose import has_torso, torso
from obd.runs.store import ACTIVE_STATES, Run
from obd.ui import canvas, cardtext, claims, mapdata, posepanel, reports, sentences, state, widgets
from obd.ui.maps import Colouring, map_data, outside, rim_share
from obd.ui.theme import style

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Colour:
    """A choice for the colour of the original states: its name in the list, in the legend, and what it means."""

    label: str
    short: str
    meaning: str


COLOURS = {
    "q": Colour("Q value", "q*", "the teacher's estimate for the action in the data"),
    "advantage": Colour("advantage", "advantage", "q* of the action in the data minus q* of the teacher's action"),
    "criticality": Colour("criticality", "criticality", claims.MEASURE_MEANINGS["criticality"]),
    "density": Colour("density", "density percentile", claims.MEASURE_MEANINGS["density"]),
    "return": Colour("return of the episode", "return", "return of the episode the state is from"),
    "time": Colour("time step", "time step", "steps since the start of the episode"),
    "plain": Colour("nothing", "", "one neutral colour"),
}


LATER = "How critical they are is measured when the run has ended, or at once under *Are they critical?*"


# -- the sentence above map and gallery ----------------------------------------------------------------------


def headline(run: Run) -> None:
    """The answer to the page's question for one run, or what is being done to find it."""
    if run.status().get("state") in ACTIVE_STATES:
        steps = run.snapshot_steps()
        moved = [
            mapdata.background(run.config.dataset, run.config.teacher).normalize(run.snapshot(step).observations)
            for step in (steps[0], steps[-1])
        ]
        distance = sentences.movement(*moved)
        moving = sentences.movement_sentence(distance, steps[-1], run.config.objective, run.config.size)
        st.markdown(f"{moving}  \n{LATER}")  # two lines, as the sentence that follows: nothing below it moves
        return
    report = reports.report(run)
    if report is not None:
        st.markdown(claims.criticality_sentence(run.config.objective, report))
        return
    st.fragment(_measuring, run_every=0.7)(run)


def _measuring(run: Run) -> None:
    """One line that becomes the sentence: nothing below it moves."""
    report = reports.report(run)
    task = state.tasks().get(reports.report_key(run, reports.measured_step(run)))
    if report is not None or task is None:
        st.rerun()
    if task.state == "running":
        st.markdown(f"Measuring how critical these states are: {100 * task.fraction:.0f} % …  \n&nbsp;")
        return
    st.markdown(f"{task.error or 'The measurement was cancelled.'}")
    if st.button("Measure again", key="measure again"):
        reports.forget(run)
        st.rerun()


# -- map and pose --------------------------------------------------------------------------------------------


def explore(shown: Mapping[str, Run], front: str, projected: mapdata.Projected, colour: str) -> None:
    """The fragment with map and pose; what goes wrong in it is a sentence in it."""
    with widgets.guard():
        _explore(shown, front, projected, colour)


def _explore(shown: Mapping[str, Run], front: str, projected: mapdata.Projected, colour: str) -> None:
    """The map on the left and the chosen state's pose on the right."""
    run = shown[front]
    active = any(other.status().get("state") in ACTIVE_STATES for other in shown.values())
    if st.session_state.get("objective", front) != front or (st.session_state.get("live map") and not active):
        st.session_state["live map"] = active
        st.rerun()  # a state of another objective was clicked, or the run ended and with it the timer
    st.session_state["live map"] = active
    left, right = st.columns([8, 5], gap="medium")
    with right:
        indices = chosen_states(run)
    with left:
        _draw_map(shown, front, projected, colour, indices)
    with right:
        show_pose(run, chosen_step(run), int(st.session_state["state"]))


def _draw_map(
    shown: Mapping[str, Run], front: str, projected: mapdata.Projected, colour: str, indices: list[int]
) -> None:
    run = shown[front]
    behind = mapdata.background(run.config.dataset, run.config.teacher)
    sets = [mapdata.moving_set(other, behind, projected) for other in shown.values()]
    values, pending = colour_values(run, behind, colour)
    labels = " and ".join(style(key).label for key in shown)
    data = map_data(
        projected.original,
        sets,
        front,
        identity=projected.identity,
        axes=projected.axes,
        colouring=None if values is None else Colouring(COLOURS[colour].short, values),
        alt=f"Map of {len(projected.original):,} original states and {run.config.size} distilled states of {labels}",
    )
    data["run"] = run.group
    data["picked"] = {"key": front, "indices": indices}
    canvas.state_map(data, key="state map", on_picked=_map_picked, on_step=_map_moved)
    frames = next(s for s in sets if s.objective == front).frames
    label = style(front).label
    note = f"{len(projected.original):,} states of the data; lines lead from where each {label} state began."
    if projected.axes:
        began, now = (100 * rim_share(projected.original, points) for points in (frames[0], frames[-1]))
        note = (
            f"**{now:.0f} % of the {label} states lie further out than 95 % of the data** "
            f"(where they began: {began:.0f} %). {note}"
        )
    else:
        note += " Only neighbourhood has a meaning here; a state far from all data is drawn at the data nearest to it."
    if count := outside(projected.original, frames[-1]):
        note += f" {sentences.count(count, 'state')} further out: zoom out to see."
    if pending:
        note += " Colours appear when criticality has been measured."
    st.caption(note)


def colour_values(run: Run, behind: mapdata.Background, colour: str) -> tuple[Array | None, bool]:
    """What the original states are coloured by, and whether it is still being measured."""
    if colour == "criticality":
        reports.reference_task(run)
        reference = reports.reference(run)
        if reference is None:
            st.fragment(_await_reference, run_every=0.7)(run)
            return None, True
        return reference.values["criticality"], False
    return behind.values.get(colour), False


def _await_reference(run: Run) -> None:
    if reports.reference_task(run).state != "running":
        st.rerun()


def _map_picked() -> None:
    """Callback: a state was clicked or several encircled on the map."""
    picked = st.session_state["state map"]["picked"]
    st.session_state["objective"] = str(picked["key"])
    st.session_state["picked states"] = [int(index) for index in picked["indices"]]
    st.session_state["state"] = int(picked["indices"][0])
    _pose_at(picked)


def _map_moved() -> None:
    """Callback: the time line was left somewhere; the pose follows."""
    _pose_at(st.session_state["state map"]["step"])


def _pose_at(moment: Mapping[str, Any]) -> None:
    """The pose is of this snapshot from now on; at the end of the time line it follows the run, as the map does."""
    key = f"pose step {st.session_state.get('group')}"
    st.session_state[key] = None if moment["newest"] else int(moment["step"])


def _alone() -> None:
    """Callback: a state was chosen by its number."""
    st.session_state["picked states"] = [int(st.session_state["state"])]


def chosen_states(run: Run) -> list[int]:
    """Draw the choice of a state by number (and among several encircled ones); the highlighted indices."""
    size = run.config.size
    widgets.put("state", min(int(st.session_state.get("state", 0)), size - 1))
    indices = [index for index in st.session_state.get("picked states", []) if index < size]
    number, several = st.columns([2, 3])
    number.number_input(
        "State", 0, size - 1, key="state", bind="query-params", on_change=_alone,
        help="Number of the distilled state; or click it on the map.",
    )  # fmt: skip
    current = int(st.session_state["state"])
    if len(indices) > 1 and current in indices:
        widgets.put("among", current)
        several.selectbox(
            f"{len(indices)} selected", indices, format_func=lambda i: f"state {i}", key="among", on_change=_among
        )
        return indices
    return [current]


def _among() -> None:
    st.session_state["state"] = int(st.session_state["among"])


def chosen_step(run: Run) -> int:
    """The snapshot whose pose is shown: where the time line was left, else the newest."""
    steps = run.snapshot_steps()
    wanted = st.session_state.get(f"pose step {run.group}")
    return steps[-1] if wanted is None else max((step for step in steps if step <= wanted), default=steps[0])


def show_pose(run: Run, step: int, index: int) -> None:
    """Pictures of a state before and after its action, and of its relatives; without them, the reason."""
    env_id = state.shelf().get(run.config.dataset).env_id
    reason = cardtext.no_pose_sentence(env_id)
    if reason:
        st.info(reason)
        return
    task = posepanel.pose(run, step, index)
    if task.state == "running":
        st.fragment(_await_pose, run_every=0.4)(run, step, index)
    elif task.state != "done":
        widgets.show_error(task.error)
    else:
        _pose(run, step, index, task.result)


def _pose(run: Run, step: int, index: int, pose: posepanel.Pose | None) -> None:
    """The pictures of a state; None keeps their places while they are drawn, so that nothing jumps."""
    pictures = [posepanel.EMPTY] * 2 if pose is None else [pose.before, pose.after]
    titles = (f"{style(run.config.objective).glyph} state {index}", "after its action")
    for place, (column, picture) in enumerate(zip(st.container(key="row pose").columns(2), pictures, strict=True)):
        words = "" if pose is None or pose.postures is None else posepanel.posture_words(pose.postures[place])
        alt = f"Robot, {titles[place]}: {words}" if pose is not None else "A picture is being drawn here"
        column.image(picture, width="stretch", alt=alt)
        lines = "drawing …  \n&nbsp;" if pose is None else words.replace(", ", "  \n")
        column.caption(f"**{titles[place]}**  \n{lines}")
    relatives = [posepanel.EMPTY] * posepanel.RELATIVES if pose is None else pose.relatives
    distances = [math.nan] * posepanel.RELATIVES if pose is None else pose.distances
    if pose is not None:
        _standing(run, step, index)
    away = ", ".join("…" if pose is None else f"{distance:.2f}" for distance in distances)
    st.caption(f"Nearest original states, {away} standard deviations per dimension away:")
    row = st.container(key="row relatives").columns(len(relatives))
    for column, picture, distance in zip(row, relatives, distances, strict=True):
        alt = f"Original state at distance {distance:.2f}" if pose is not None else "A picture is being drawn here"
        column.image(picture, width="stretch", alt=alt)
    drawn = " Schematic drawing, as OpenGL is not available." if pose is not None and pose.kind == "schematic" else ""
    st.caption(f"At outer step {step:,}; the action lasts one environment step.{drawn}")


def _await_pose(run: Run, step: int, index: int) -> None:
    if posepanel.pose(run, step, index).state != "running":
        st.rerun()
    _pose(run, step, index, None)


def _standing(run: Run, step: int, index: int) -> None:
    """Where the state stands among the data, once that has been measured for this snapshot."""
    reference = reports.reference(run)
    task = state.tasks().get(reports.report_key(run, step))
    with st.container(key="lines standing"):  # keeps its place until it can be said
        if reference is not None and task is not None and task.state == "done":
            st.caption(posepanel.standing_sentence(index, task.result, reference.values))
        elif task is not None and task.state == "running":
            st.caption("Where this state stands among the data is being measured …")


# -- gallery -------------------------------------------------------------------------------------------------


def gallery(run: Run) -> None:
    """All poses of the newest snapshot, sorted; the chosen one beside them."""
    env_id = state.shelf().get(run.config.dataset).env_id
    reason = cardtext.no_pose_sentence(env_id)
    if reason:
        st.info(reason)
        return
    step = reports.measured_step(run)
    key, sheet = posepanel.sheet(run, step, env_id)
    if sheet is None:
        st.fragment(_drawing, run_every=0.5)(key)
        return
    values = sort_values(run, step, env_id)
    left, right = st.columns([8, 5], gap="medium")
    with right:
        chosen_states(run)
    with left:
        names, direction = st.columns([3, 2], vertical_alignment="bottom")
        name = names.selectbox("Sort by", list(values), key="sort", bind="query-params")
        falling = direction.toggle("Highest first", True, key="falling") if name != "index" else False
        order = np.argsort(values[name] * (-1 if falling else 1), kind="stable")
        digits = {"index": 0, "Q value": 0, "density": 0, "torso pitch (°)": 0}.get(name, 2)
        captions = [f"{index}" if name == "index" else f"{values[name][index]:.{digits}f}" for index in order]
        with st.container(height=520, border=False):
            current = int(st.session_state["state"])
            canvas.gallery(sheet, order.tolist(), captions, current, key="gallery", on_picked=_tile_picked)
        st.caption(
            f"{sheet.count} {style(run.config.objective).label} states at outer step {step:,}; choose one to see more."
        )
    with right:
        show_pose(run, step, int(st.session_state["state"]))


def sort_values(run: Run, step: int, env_id: str) -> dict[str, Array]:
    """What the gallery can be sorted by, ``[N]`` each: the measures only once they are there."""
    observations = run.snapshot(step).observations
    values: dict[str, Array] = {}
    report = reports.report(run)
    if report is not None:
        values |= {name: report.values[name] for name in ("criticality", "density") if name in report.values}
    try:
        teacher = state.teacher(run.config.dataset, run.config.teacher)
        states = torch.from_numpy(observations)
        values["Q value"] = teacher.q(states, teacher.act(states)).numpy()
    except ObdError:
        pass
    if has_torso(env_id):
        values["torso pitch (°)"] = np.array([math.degrees(pitch) for _, pitch in torso(env_id, observations)])
    values["index"] = np.arange(len(observations), dtype=np.float64)
    return values


def _tile_picked() -> None:
    """Callback: a tile was clicked."""
    index = int(st.session_state["gallery"]["picked"]["index"])
    st.session_state["state"] = index
    st.session_state["picked states"] = [index]


def _drawing(key: tuple[object, ...]) -> None:
    widgets.poll(key, "Drawing all poses, once:")
