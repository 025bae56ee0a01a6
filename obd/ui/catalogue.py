"""The catalogue of datasets in the sidebar of the Data page."""

from __future__ import annotations

import streamlit as st

from obd.data.catalog import DatasetInfo
from obd.ui import cardtext, datasets, state, widgets

FROM = {
    "Everywhere": "",
    "Built in": "builtin",
    "This machine": "local",
    "Minari server": "remote",
}  # label, also in the address: origin
LISTED = 40  # entries of the catalogue shown at once


def choose() -> DatasetInfo | None:
    """The catalogue in the sidebar; the dataset on show, kept in ``?dataset=``.

    None when there is no dataset, or while the one asked for is looked for on Minari's server.
    """
    with st.sidebar:
        words = st.text_input(
            "Search", key="search", type="search", live=True, bind="query-params", placeholder="robot, level, name"
        )
        origin = FROM[st.selectbox("From", list(FROM), key="from", bind="query-params")]
        asking = origin == "remote" and _asked_server()
        infos = datasets.catalogue()
        found = [i for i in infos if origin in ("", i.origin) and cardtext.matches(i, words or "")]
        found.sort(key=lambda info: not cardtext.named(info, words or ""))
        by_id = {info.id: info for info in infos}
        wanted = st.session_state.get("dataset")
        missing = wanted and wanted not in by_id
        if missing and not asking:
            st.warning("The dataset asked for is not here; this is another one.", icon=":material/info:")
        current = wanted if wanted in by_id else next(iter(by_id), None)
        listed = {info.id: info for info in found[:LISTED]}
        if listed:
            widgets.put("data choice", current if current in listed else None)
            st.radio(
                "Datasets",
                list(listed),
                format_func=lambda name: cardtext.plain(listed[name].title) if name in listed else name,
                captions=[cardtext.plain(cardtext.state_words(info)) for info in listed.values()],
                index=list(listed).index(current) if current in listed else None,
                key="data choice",
                on_change=widgets.by_hand(_chosen),
            )
        elif words:
            st.caption("Nothing found; search for less.")
        elif origin != "remote":
            st.caption("There is nothing here yet.")
        if len(found) > LISTED:
            st.caption(f"{len(found) - LISTED:,} more: search to narrow them down.")
        if st.button("Import your own data", icon=":material/upload:", key="import", width="stretch"):
            st.session_state["do"] = "import"
    if current is None or (missing and asking):
        return None
    st.session_state["dataset"] = st.query_params["dataset"] = current
    return by_id[current]


def _chosen() -> None:
    """Callback of the catalogue."""
    if st.session_state["data choice"]:
        st.session_state.update({"dataset": st.session_state["data choice"], "do": ""})


def _asked_server() -> bool:
    """Draw the state of the question to Minari's server; whether the answer is still to come."""
    task = datasets.ask_server()
    if task.state == "running":
        st.fragment(_asking, run_every=0.5)()
    elif task.state != "done":
        st.info(task.error)
        if st.button("Ask again", icon=":material/refresh:", key="ask again"):
            state.tasks().forget(datasets.REMOTE)
            st.rerun()
    return task.state == "running"


def _asking() -> None:
    """The fragment shown while the server has not answered."""
    task = state.tasks().get(datasets.REMOTE)
    if task is None or task.state != "running":
        st.rerun()
    st.caption("Asking Minari's server …")
