"""The pages of the app and the hand-over to the router."""

from __future__ import annotations

from typing import Any

import streamlit as st

# Two things in the browser, once per window.
# A page completes its address with what it shows, a moment before or after its name gets there.  Streamlit makes each
# parameter another entry in the browser's history, and the back button seems dead at its first presses.  So what is
# only added before anybody has touched the page belongs to the same entry.
# And Streamlit forgets the page that was asked for when a timer's request or a rerun of the old page comes after it and
# before it is answered; so a link is followed again until the address has its page or something else is clicked.
IN_THE_BROWSER = """<script>
if (!window.obdHistory) {
  window.obdHistory = true;
  const push = history.pushState.bind(history);
  const replace = history.replaceState.bind(history);
  let completed = -Infinity;
  let touched = false;
  const adds = (next) => [...new URLSearchParams(location.search)].every(([name, value]) =>
    next.searchParams.get(name) === value);
  history.pushState = (state, title, address) => {
    const next = new URL(address, location.href);
    const samePage = next.pathname === location.pathname;
    const sameEntry = samePage ? !location.search || (!touched && adds(next)) : performance.now() - completed < 1000;
    if (samePage) completed = performance.now();
    else touched = false;
    (sameEntry ? replace : push)(state, title, address);
  };

  let wanted = null;
  const forget = () => { wanted = null; };
  addEventListener("popstate", () => { touched = false; forget(); });
  addEventListener("keydown", () => { touched = true; }, true);
  addEventListener("pointerdown", () => { touched = true; }, true);
  document.addEventListener("click", (event) => {
    if (!event.isTrusted) return;
    forget();
    const link = event.target.closest("[data-testid=stPageLink-NavLink], [data-testid=stTopNavLink]");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const path = new URL(link.href).pathname;
    if (path !== location.pathname) wanted = { href: link.href, path, tries: 5, at: performance.now() };
  }, true);
  setInterval(() => {
    if (!wanted || location.pathname === wanted.path || !wanted.tries) return forget();
    if (performance.now() - wanted.at < 1000) return;
    wanted.at = performance.now();
    wanted.tries -= 1;
    [...document.querySelectorAll("a[href]")].find((link) => link.href === wanted.href)?.click();
  }, 200);
}
</script>"""


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
