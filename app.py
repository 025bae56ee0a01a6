"""The router of the app: page settings and navigation.  Start it with ``streamlit run app.py``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware
from streamlit.runtime.scriptrunner import get_script_run_ctx

from obd.ui import router, splash, state, warm

ICON = Path(__file__).parent / "assets" / "icon.svg"  # a named icon would be fetched from the network


def main() -> None:
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    st.set_page_config(page_title="OBD studio", page_icon=str(ICON), layout="wide")
    st.session_state["routed"] = True
    state.job_queue()  # runs left over by a killed process are marked before any page reads them
    router.navigation().run()
    warm.up()  # after the page has been sent, so that nobody waits for it


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    """A server that is told to end stops its runs and background work first: afterwards the signal ends it at once."""
    yield
    await asyncio.to_thread(st.cache_resource.clear)


if get_script_run_ctx(suppress_warning=True) is None:  # ``streamlit run`` looks for the server; later it runs a session
    app = st.App(__file__, middleware=[Middleware(splash.Splash)], lifespan=lifespan)
else:
    main()
