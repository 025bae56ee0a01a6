"""What the browser shows until Streamlit's code has been loaded and the first page has come: a second or more.

Streamlit serves an empty page that its code fills.  This adds to it the app's own style sheet, so that nothing is
drawn without it, and a picture on top that goes when there is something to read.
"""

from __future__ import annotations

import json
from typing import Any

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from obd.ui import theme

GONE = (
    "The studio has been closed, or this machine is too busy. If it was closed, start it again: "
    "this page then comes back by itself, and every run goes on from its last snapshot with Resume."
)
ROOT = b'<div id="root"></div>'
DOTS = (
    (9, 12),
    (31, 6),
    (52, 15),
    (74, 7),
    (93, 14),
    (20, 30),
    (64, 29),
    (85, 34),
    (6, 49),
    (38, 53),
    (57, 46),
    (92, 51),
)
MARKS = (("dbc", 30), ("pbc", 50), ("av_pbc", 70))  # where the dots end: style key and place


def page(index: bytes) -> bytes:
    """Streamlit's ``index.html`` with the style sheet and the first picture; unchanged if it has another form."""
    return index.replace(ROOT, ROOT + (theme.CSS + picture()).encode(), 1)


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
    return f"""<style>
#splash {{
    position: fixed; inset: 0; z-index: 1000000; display: grid; place-content: center; justify-items: center;
    background: {light[0]}; color: {light[1]}; font: 600 1.1rem sans-serif; pointer-events: none;
    transition: opacity 0.15s;
}}
@media (prefers-color-scheme: dark) {{ #splash {{ background: {dark[0]}; color: {dark[1]}; }} }}
#splash svg {{ width: 11rem; }}
#splash circle {{ opacity: 0.45; animation: gather 1.6s ease-in-out infinite alternate; }}
#splash .mark {{ opacity: 0; animation-name: appear; }}
@keyframes gather {{
    30% {{ transform: none; opacity: 0.45; }}
    85%, 100% {{ transform: translate(var(--x), var(--y)); opacity: 0; }}
}}
@keyframes appear {{ 60% {{ opacity: 0; }} 90%, 100% {{ opacity: 1; }} }}
@media (prefers-reduced-motion: reduce) {{ #splash circle {{ animation: none; }} #splash .mark {{ opacity: 1; }} }}
</style>
<div id="splash" role="status" aria-label="OBD studio is loading">
<svg viewBox="0 0 100 60" aria-hidden="true">{dots}{marks}</svg>OBD studio</div>
<script>
const splash = document.getElementById("splash"), began = Date.now();
const looking = setInterval(() => {{
  const words = document.querySelector(".stMain")?.innerText.trim();
  if (!words && !document.querySelector("[role=dialog]") && Date.now() - began < 10000) return;
  clearInterval(looking);
  splash.style.opacity = 0;
  setTimeout(() => splash.remove(), 200);
}}, 50);
// Streamlit's notice of a lost connection asks about the internet, which has nothing to do with it here.
new MutationObserver(() => {{
  const dialog = document.querySelector("[role=dialog]");
  if (!dialog?.textContent.includes("server is not responding")) return;
  const texts = document.createTreeWalker(dialog, NodeFilter.SHOW_TEXT);
  while (texts.nextNode())
    if (texts.currentNode.data.includes("server is not responding")) texts.currentNode.data = {json.dumps(GONE)};
}}).observe(document.body, {{ childList: true, subtree: true }});
</script>"""


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
