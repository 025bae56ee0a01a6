"""States: which states distillation picks, what they look like as poses, and whether they are critical."""

from __future__ import annotations

import streamlit as st

from obd.runs.store import ACTIVE_STATES, Run
from obd.ui import claimview, mapdata, state, statesview, widgets

VIEWS = {"pca": "PCA", "pca3": "PCA 3-D", "tsne": "t-SNE"}
PARTS = {"map": "Map", "gallery": "All poses", "critical": "Are they critical?"}
LIVE_SECONDS = 2.0  # how often a run going on is looked at


def controls(behind: mapdata.Background) -> tuple[str, str, int, int]:
    """Projection, colour, perplexity and seed, from the sidebar."""
    wide = behind.normalized.shape[1] > 2
    view = widgets.choose_view({key: name for key, name in VIEWS.items() if wide or key != "pca3"})
    known = [key for key in statesview.COLOURS if key in behind.values or key in ("plain", "criticality")]
    if "q" not in behind.values:
        known.remove("criticality")
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
            known,
            format_func=lambda key: statesview.COLOURS[key].label,
            key="colour",
            bind="query-params",
            help="\n".join(f"- {c.label}: {c.meaning}" for key, c in statesview.COLOURS.items() if key in known),
        )
    return view, str(colour), int(perplexity), int(seed)


def waiting(key: tuple[object, ...]) -> None:
    """The fragment shown while t-SNE runs."""
    widgets.poll(key, "Laying out the map with t-SNE:")


def projection(run: Run, view: str, perplexity: int, seed: int) -> mapdata.Projected | None:
    """The map, at once for PCA; None while t-SNE is being computed (its progress is drawn)."""
    dataset, teacher = run.config.dataset, run.config.teacher
    if view != "tsne":
        return mapdata.pca(dataset, teacher, 3 if view == "pca3" else 2)
    behind = mapdata.background(dataset, teacher)
    key = ("tsne", dataset, perplexity, seed)
    task = state.tasks().start_once(
        key, lambda task: mapdata.layout(task, behind, perplexity=perplexity, seed=seed), "t-SNE"
    )
    if task.state == "done":
        return mapdata.tsne(dataset, task.result, seed)
    st.fragment(waiting, run_every=0.5)(key)
    return None


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
    front = widgets.choose_objective(list(shown))
    run = shown[front]
    if not widgets.dataset_ready(run.config.dataset):
        return
    part = widgets.choose_part("part", PARTS)
    if part == "critical":
        claimview.show(shown, front)
        return
    statesview.headline(run)
    if part == "gallery":
        statesview.gallery(run)
        return
    view, colour, perplexity, seed = controls(mapdata.background(run.config.dataset, run.config.teacher))
    projected = projection(run, view, perplexity, seed)
    if projected is not None:
        active = any(run.status().get("state") in ACTIVE_STATES for run in shown.values())
        st.fragment(statesview.explore, run_every=LIVE_SECONDS if active else None)(shown, front, projected, colour)


with widgets.page("states"):
    page()
