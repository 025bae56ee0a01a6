from __future__ import annotations

from streamlit.testing.v1 import AppTest


def script() -> None:
    """A page that is cut short once after it has set its widgets."""
    import streamlit as st

    from obd.ui import widgets

    st.session_state["routed"] = True
    with widgets.page("somewhere"):
        st.session_state.setdefault("part", "second")
        widgets.choose_part("part", {"first": "First", "second": "Second"})
        if not st.session_state.get("again"):
            st.session_state["again"] = True
            st.rerun()


def test_what_a_cut_run_has_set_is_sent_again_and_only_then() -> None:
    at = AppTest.from_function(script).run()
    proto = at.get("button_group")[0].proto
    assert proto.set_value and list(proto.default) == [1]
    assert not at.run().get("button_group")[0].proto.set_value
