"""The pages of the app and the hand-over to the router."""

from __future__ import annotations

from typing import Any

import streamlit as st


def navigation() -> Any:
    """The navigation at the top; returns the page to run."""
    return st.navigation(
        [
            # No icons: Streamlit would fetch them from the network as the browser tab's icon.
            st.Page("pages/home.py", title="Home", default=True),
            st.Page("pages/data.py", title="Data", url_path="data"),
            st.Page("pages/distill.py", title="Distil", url_path="distill"),
            st.Page("pages/states.py", title="States", url_path="states"),
            st.Page("pages/rollouts.py", title="Rollouts", url_path="rollouts"),
            st.Page("pages/compare.py", title="Compare", url_path="compare"),
            st.Page("pages/learn.py", title="Learn", url_path="learn"),
        ],
        position="top",
    )


def hand_over() -> None:
    """Go through ``app.py`` when Streamlit has started a page without it.

    It does so once, when the first address opened after a start of the server leads to a page: only the first
    call of ``st.navigation`` tells it that the folder ``pages/`` is not its own kind of multipage app.
    """
    if not st.session_state.get("routed"):
        navigation()
        st.rerun()
