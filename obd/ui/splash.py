"""What the app adds to the page that Streamlit serves, an empty one that its code fills a second or more later.

That is the app's name for the browser's tab, the style sheet, so that nothing is drawn without it, ``router.js``, and
a picture (``splash.html``) on top that goes when there is something to read.
"""

from __future__ import annotations

import json
import string
from functools import lru_cache
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from obd.ui import theme

HERE = Path(__file__).parent
GONE = (
    "The studio has been closed, or this machine is too busy. If it was closed, start it again: "
    "this page then comes back by itself, and every run goes on from its last snapshot with Resume."
)
ROOT = b'<div id="root"></div>'
DOTS = (
    (9, 12), (31, 6), (52, 15), (74, 7), (93, 14), (20, 30), (64, 29), (85, 34), (6, 49), (38, 53), (57, 46), (92, 51),
)  # fmt: skip
MARKS = (("dbc", 30), ("pbc", 50), ("av_pbc", 70))  # where the dots end: style key and place


def page(index: bytes) -> bytes:
    """Streamlit's ``index.html`` with all that and the app's name; unchanged if it has another form."""
    named = index.replace(b"<title>Streamlit</title>", b"<title>OBD studio</title>", 1)
    return named.replace(ROOT, ROOT + additions().encode(), 1)


@lru_cache(maxsize=1)
def additions() -> str:
    """HTML to stand behind the page's root element."""
    router = (HERE / "router.js").read_text(encoding="utf-8")
    return f"{theme.CSS}\n{picture()}\n<script>\n{router}</script>"


def picture() -> str:
    """HTML: many grey dots that gather to three in the colours of the objectives, and the name."""
    light, dark = (
        [st.get_option(f"theme.{base}.{what}Color") for what in ("background", "text")] for base in ("light", "dark")
    )
    dots = "".join(
        f'<circle cx="{x}" cy="{y}" r="2.4" fill="currentColor" style="--x:{MARKS[n % 3][1] - x}px;--y:{30 - y}px"/>'
        for n, (x, y) in enumerate(DOTS)
    )
    marks = "".join(
        f'<circle class="mark" cx="{x}" cy="30" r="5" fill="{theme.style(key).colour}"/>' for key, x in MARKS
    )
    template = string.Template((HERE / "splash.html").read_text(encoding="utf-8"))
    return template.substitute(
        light_background=light[0],
        light_text=light[1],
        dark_background=dark[0],
        dark_text=dark[1],
        circles=dots + marks,
        gone=json.dumps(GONE),
    )


class Splash:
    """ASGI middleware: whoever asks for the page gets it with :func:`page` applied; all else passes unchanged."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or scope["method"] != "GET"
            or "text/html" not in Headers(scope=scope).get("accept", "")
        ):
            await self.app(scope, receive, send)
            return
        plain = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        start: dict[str, Any] = {}
        body = b""

        async def changed(message: Message) -> None:
            nonlocal body
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                if headers.get("content-type", "").startswith("text/html"):
                    start.update(message)
                    return
            if not start:
                await send(message)
                return
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            whole = page(body)
            headers = MutableHeaders(raw=start["headers"])
            headers["content-length"] = str(len(whole))
            for name in ("etag", "last-modified"):  # they are of the page as Streamlit ships it
                del headers[name]
            await send(start)
            await send({"type": "http.response.body", "body": whole})

        await self.app({**scope, "headers": plain}, receive, changed)
