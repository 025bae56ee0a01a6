from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from obd.ui import splash
from obd.ui.theme import CSS, style

INDEX = b"<html><body>" + splash.ROOT + b"</body></html>"


def answer(kind: str, body: bytes, accept: str = "text/html,*/*", method: str = "GET") -> tuple[dict[str, str], bytes]:
    """Headers and body that a browser gets of ``body``, sent in two parts; the app must not be asked to pack a page."""

    async def app(scope: Any, _: Any, send: Any) -> None:
        packed = any(name == b"accept-encoding" for name, _ in scope["headers"])
        assert packed == (method != "GET" or "text/html" not in accept)
        headers = [(b"content-type", kind.encode()), (b"content-length", b"%d" % len(body)), (b"etag", b'"1"')]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body[:5], "more_body": True})
        await send({"type": "http.response.body", "body": body[5:]})

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"accept", accept.encode()), (b"accept-encoding", b"gzip")]
    scope: Any = {"type": "http", "method": method, "path": "/", "headers": headers}
    asyncio.run(splash.Splash(app)(scope, None, send))  # type: ignore[arg-type]
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return found, b"".join(message["body"] for message in sent[1:])


def test_a_page_comes_with_its_style_sheet_and_a_picture() -> None:
    headers, body = answer("text/html; charset=utf-8", INDEX)
    text = body.decode()
    assert text.startswith("<html>") and text.endswith("</html>") and CSS in text and "OBD studio is loading" in text
    assert style("av_pbc").colour in text and "prefers-reduced-motion" in text and "prefers-color-scheme" in text
    assert headers["content-length"] == str(len(body)) and "etag" not in headers
    assert "src=" not in text and "http" not in text  # nothing more to fetch


def test_all_else_passes_unchanged() -> None:
    for kind, accept, method in (
        ("text/javascript", "*/*", "GET"),
        ("text/html", "*/*", "GET"),  # nobody's page
        ("image/png", "text/html,*/*", "GET"),  # opened in a tab
        ("text/html", "text/html", "HEAD"),
    ):
        headers, body = answer(kind, INDEX, accept, method)
        assert body == INDEX and headers["etag"] == '"1"' and headers["content-length"] == str(len(INDEX))


def test_another_form_of_the_page_is_left_alone() -> None:
    assert splash.page(b"<html></html>") == b"<html></html>"


def test_streamlit_still_ships_the_page_it_is_made_for() -> None:
    from streamlit import file_util

    with open(f"{file_util.get_static_dir()}/index.html", "rb") as stream:
        shipped = splash.page(stream.read())
    assert shipped.count(b'id="splash"') == 1 and b"<title>OBD studio</title>" in shipped
    scripts = Path(file_util.get_static_dir(), "static", "js").glob("*.js")
    assert any("server is not responding" in script.read_text(encoding="utf-8") for script in scripts)  # see GONE
