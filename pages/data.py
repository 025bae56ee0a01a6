"""Data: the catalogue of datasets, the card of each, and the import of one's own."""

from __future__ import annotations

import streamlit as st

from obd.data.catalog import DatasetInfo
from obd.ui import cardtext, datacard, datasets, importer, state, widgets

FROM = {"All": "", "Built in": "builtin", "Yours": "local", "Minari": "remote"}  # label, also in the address: origin
LISTED = 40  # entries of the catalogue shown at once


def choose(infos: list[DatasetInfo]) -> DatasetInfo | None:
    """The catalogue in the sidebar; the dataset on show, kept in ``?dataset=``."""
    with st.sidebar:
        words = st.text_input(
            "Search", key="search", type="search", live=True, bind="query-params", placeholder="robot, level, name"
        )
        label = st.segmented_control(
            "From", list(FROM), default="All", key="from", required=True, bind="query-params", width="stretch"
        )
        origin = FROM[label or "All"]
        if origin == "remote":
            server()
        found = [i for i in infos if origin in ("", i.origin) and cardtext.matches(i, words or "")]
        by_id = {info.id: info for info in infos}
        wanted = st.session_state.get("dataset")
        if wanted and wanted not in by_id:
            st.warning("The dataset asked for is not here; this is another one.", icon=":material/info:")
        current = wanted if wanted in by_id else next(iter(by_id), None)
        listed = {info.id: info for info in found[:LISTED]}
        if listed:
            st.session_state["data choice"] = current if current in listed else None
            st.radio(
                "Datasets",
                list(listed),
                format_func=lambda name: cardtext.plain(listed[name].title) if name in listed else name,
                captions=[cardtext.plain(cardtext.state_words(info)) for info in listed.values()],
                index=None,
                key="data choice",
                on_change=chosen,
            )
        else:
            st.caption("Nothing found; search for less." if words else "There is nothing here yet.")
        if len(found) > LISTED:
            st.caption(f"{len(found) - LISTED:,} more: search to narrow them down.")
        if st.button("Import your own data", icon=":material/upload:", key="import", width="stretch"):
            st.session_state["do"] = "import"
    if current is None:
        return None
    st.session_state["dataset"] = st.query_params["dataset"] = current
    return by_id[current]


def chosen() -> None:
    """Callback of the catalogue."""
    if st.session_state["data choice"]:
        st.session_state.update({"dataset": st.session_state["data choice"], "do": ""})


def server() -> None:
    """The state of the question to Minari's server."""
    task = datasets.ask_server()
    if task.state == "running":
        st.fragment(waiting, run_every=0.5)(datasets.REMOTE, "Asking Minari's server")
    elif task.state != "done":
        st.info(task.error or "This was cancelled.")
        if st.button("Ask again", icon=":material/refresh:", key="ask again"):
            state.tasks().forget(datasets.REMOTE)
            st.rerun()


def waiting(key: datasets.Key, text: str) -> None:
    """Body of a fragment that waits for a task."""
    widgets.poll(key, text)


def actions(info: DatasetInfo) -> None:
    """What can be done with a dataset that is here."""
    with st.container(horizontal=True):
        if st.button("Distil this", type="primary", icon=":material/filter_alt:", key="distil this"):
            st.switch_page("pages/distill.py", query_params={"dataset": info.id})
        teach(info.id)


def teach(dataset_id: str) -> None:
    """The place of the teacher's panel."""
    with st.popover("Teach", icon=":material/school:"):
        st.markdown("PBC and Av-PBC imitate a teacher. This trains one on the dataset:")
        st.code(f"python -m obd teach --dataset {dataset_id} --seconds 600 --out teacher.safetensors", language="sh")


def get(info: DatasetInfo) -> None:
    """Collect or download a dataset that is not here yet."""
    for sentence in cardtext.made_sentences(info, {}):
        st.markdown(sentence)
    verb, text = ("Collect", "The shipped policies play their episodes, once:")
    if not info.builtin:
        verb, text = ("Download", "Downloading from Minari's server:")
    if state.tasks().get(("fetch", info.id)) is not None:
        st.fragment(waiting, run_every=0.5)(("fetch", info.id), text)
        return
    st.caption("It is not on this machine yet; its card appears when it is.")
    if st.button(verb, type="primary", icon=":material/download:", key="fetch"):
        datasets.fetch(info)
        st.rerun()


def page() -> None:
    datasets.settle(st.session_state.get("dataset", ""))
    info = choose(datasets.catalogue())
    if st.session_state.get("do") == "import":
        st.query_params["do"] = "import"
        importer.form()
        return
    st.query_params.pop("do", None)
    if info is None:
        st.subheader("No dataset yet", anchor=False)
        st.markdown("Import a file of your own on the left.")
        return
    st.subheader(cardtext.plain(info.title), anchor=False)
    if st.session_state.get("imported") == info.id:
        st.success("Imported; what was repaired is listed at the end.", icon=":material/check:")
    if not info.available:
        get(info)
        return
    st.markdown(" ".join(cardtext.made_sentences(info, datasets.provenance(info.id))))
    card, key = datasets.card(info.id)
    if card is None:
        st.fragment(waiting, run_every=0.5)(key, "Reading the dataset:")
        return
    actions(info)
    datacard.warnings(info.id)
    datacard.numbers(card)
    datacard.histograms(info.id, card)
    datacard.strip(info, card)
    datacard.ranges(card)
    datacard.origin(info, card)


with widgets.page("data"):
    page()
