"""States: where distilled states lie among the original ones, and how they got there."""

from __future__ import annotations

import streamlit as st

from obd.runs.store import ACTIVE_STATES, Run
from obd.ui import mapdata, maps, sentences, state, widgets
from obd.ui.theme import style

COLOURS = {"plain": "nothing", "q": "Q value", "action": "action norm", "return": "return of the episode"}
VIEWS = {"pca": "PCA", "tsne": "t-SNE"}
PLAY_SECONDS = 0.6


def controls(colours: list[str]) -> tuple[str, str, int, int]:
    """Projection and colour (one of ``colours``), from the sidebar: (view, colour, perplexity, seed)."""
    view = widgets.choose_view(VIEWS)
    with st.sidebar:
        perplexity, seed = 30, 0
        if view == "tsne":
            left, right = st.columns(2)
            perplexity = left.number_input(
                "Perplexity", 5, 50, 30, help="Roughly how many neighbours count.", key="perplexity"
            )
            seed = right.number_input("Seed", 0, 9999, 0, help="Of the layout.", key="layout seed")
        colour = st.selectbox(
            "Colour of the original states",
            colours,
            index=1,
            format_func=lambda key: COLOURS[key],
            key="colour",
            persist_state="session",
            help="Q value: the teacher's estimate for the action in the data. Needs a teacher for this dataset.",
        )
    return view, str(colour), int(perplexity), int(seed)


def waiting(key: tuple[object, ...]) -> None:
    """The fragment shown while t-SNE runs."""
    widgets.poll(key, "Laying out the map with t-SNE:")


def projection(run: Run, view: str, perplexity: int, seed: int) -> mapdata.Projected | None:
    """The map, at once for PCA; None while t-SNE is being computed (its progress is drawn)."""
    background = mapdata.background(run.config.dataset, run.config.teacher)
    steps = run.snapshot_steps()
    if view == "pca":
        return mapdata.pca(background, run, steps)
    key = ("tsne", run.config.dataset, perplexity, seed)
    task = state.tasks().start_once(
        key, lambda task: mapdata.layout(task, background, perplexity=perplexity, seed=seed), "t-SNE"
    )
    if task.state == "done":
        return mapdata.tsne(background, task.result, run, steps)
    st.fragment(waiting, run_every=0.5)(key)
    return None


def scrub(run: Run, projected: mapdata.Projected, colour: str) -> None:
    """The fragment with slider and map."""
    steps = projected.steps
    playing = st.session_state.get("playing") == str(run.path)
    name = f"snapshot {run.id}"
    position = min(int(st.session_state.get(name, len(steps) - 1)), len(steps) - 1)
    if playing:
        position += 1
        if position >= len(steps) - 1:
            st.session_state.update({"playing": None, name: len(steps) - 1})
            st.rerun()  # ends the timer
    st.session_state[name] = min(position, len(steps) - 1)
    background = mapdata.background(run.config.dataset, run.config.teacher)
    size, objective = run.config.size, run.config.objective
    distance = projected.distances[st.session_state[name]]
    st.markdown(sentences.movement_sentence(distance, steps[st.session_state[name]], objective, size))
    button, slider = st.columns([1, 7], vertical_alignment="bottom")
    with button:
        if st.button(
            "Pause" if playing else "Play",
            icon=":material/pause:" if playing else ":material/play_arrow:",
            key="play",
            width="stretch",
            disabled=len(steps) < 2,
        ):
            if not playing and st.session_state[name] >= len(steps) - 1:
                st.session_state["rewind"] = name
            st.session_state["playing"] = None if playing else str(run.path)
            st.rerun()
    with slider:
        if len(steps) > 1:
            st.select_slider(
                "Snapshot",
                range(len(steps)),
                format_func=lambda i: f"step {steps[i]:,}",
                key=name,
                help="Moves the distilled states from their start to their end.",
            )
    st.echarts_chart(
        maps.map_chart(
            projected.original,
            projected.frames[0],
            projected.frames[st.session_state[name]],
            objective,
            projected.frame,
            values=background.values.get(colour),
            value_name=COLOURS[colour],
            axis_names=projected.axis_names,
        ),
        key=f"map {run.id} {projected.kind} {colour}",
        height=450,
        alt=f"Map of {len(projected.original)} original and {size} distilled states, {projected.kind}",
    )


def page() -> None:
    chosen = widgets.choose_group()
    if chosen is None:
        st.subheader("No map yet", anchor=False)
        widgets.empty_state("Distil something first: the map shows where its synthetic states go.")
        return
    _, runs = chosen
    shown = {run.config.objective: run for run in state.still_there(runs) if run.snapshot_steps()}
    if not shown:
        st.info("This run has no snapshot yet; the first one comes when it starts. Look again in a moment.")
        return
    run = shown[widgets.choose_objective(list(shown))]
    if not widgets.dataset_ready(run.config.dataset):
        return
    known = mapdata.background(run.config.dataset, run.config.teacher).values
    view, colour, perplexity, seed = controls([key for key in COLOURS if key == "plain" or key in known])
    if (name := st.session_state.pop("rewind", None)) is not None:
        st.session_state[name] = 0
    projected = projection(run, view, perplexity, seed)
    if projected is None:
        return
    playing = st.session_state.get("playing") == str(run.path)
    st.fragment(scrub, run_every=PLAY_SECONDS if playing else None)(run, projected, colour)
    count, label = len(projected.original), style(run.config.objective).label
    note = f"{projected.kind} of {count:,} states of the data; thin lines lead from where each {label} state began."
    if view == "tsne":
        note += f" Perplexity {perplexity}, seed {seed}; a state far from all data is drawn at the data nearest to it."
    if run.status().get("state") in ACTIVE_STATES:
        note += " This run is still going on; newer snapshots appear when you touch a control."
    st.caption(note)


with widgets.page("states"):
    page()
