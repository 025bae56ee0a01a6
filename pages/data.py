"""Data: the catalogue of datasets, the card of each, and the import of one's own."""

from __future__ import annotations

import streamlit as st

from obd.data.catalog import DatasetInfo
from obd.ui import cardtext, catalogue, datacard, datasets, importer, state, widgets


def waiting(key: datasets.Key, text: str) -> None:
    """Body of a fragment that waits for a task."""
    widgets.poll(key, text)


def actions(info: DatasetInfo) -> None:
    """What can be done with a dataset that is here."""
    if st.button("Distil this", type="primary", icon=":material/filter_alt:", key="distil this"):
        st.switch_page("pages/distill.py", query_params={"dataset": info.id})
    teaching = state.tasks().get(("teach", info.id))
    panel = st.expander(
        "Teach: make a near-expert from this dataset",
        expanded=teaching is not None,  # also when it is over: nobody should have to look for the result
        icon=":material/school:",
        key=f"teach {info.id}",
        on_change="rerun",
    )
    if panel.open:
        from obd.ui.teach_panel import teach_panel  # imports torch, which the card must not wait for

        with panel:
            teach_panel(info.id)


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
    info = catalogue.choose()
    if st.session_state.get("do") == "import":
        st.query_params["do"] = "import"
        importer.form()
        return
    st.query_params.pop("do", None)
    if info is None and st.session_state.get("dataset"):
        st.caption("Looking for it on Minari's server …")
        return
    if info is None:
        st.subheader("No dataset yet", anchor=False)
        st.markdown("Import a file of your own on the left.")
        return
    st.subheader(cardtext.plain(info.title), anchor=False)
    if st.session_state.get("imported") == info.id:
        st.success(cardtext.imported_sentence(datasets.provenance(info.id)), icon=":material/check:")
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
