"""The two components drawn by our own JavaScript: map of states (``statemap.js``), gallery of poses (``gallery.js``).

A chart element is mounted anew when its data change and forgets zoom and selection; a component gets the new data in
place, and can move its points by itself at the screen's rate.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from obd.render.poses import Sheet

FOLDER = Path(__file__).parent


def _component(name: str) -> Any:
    parts: dict[str, Any] = {
        kind: (FOLDER / f"{name}.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
    }
    return st.components.v2.component(f"obd_{name}", **parts)


_map = _component("statemap")
_gallery = _component("gallery")


def state_map(data: dict[str, Any], *, key: str, on_picked: Callable[[], None], on_step: Callable[[], None]) -> Any:
    """Mount the map (see :func:`obd.ui.maps.map_data`).

    The result has ``picked`` (``{"key": objective, "indices": [...], "step": int, "newest": bool}``) and ``step``
    (where the time line was left, ``{"step": int, "newest": bool}``), each None until the user has touched it.
    """
    return _map(data=data, key=key, on_picked_change=on_picked, on_step_change=on_step)


def gallery(
    sheet: Sheet,
    order: Sequence[int],
    captions: Sequence[str],
    picked: int | None,
    *,
    key: str,
    on_picked: Callable[[], None],
) -> Any:
    """Mount tiles of ``sheet`` in ``order``, captioned in that order; the result's ``picked`` is ``{"index": int}``."""
    data = {
        "name": sheet.path.name,
        "sheet": base64.b64encode(sheet.path.read_bytes()).decode(),
        "columns": sheet.columns,
        "rows": -(-sheet.count // sheet.columns),
        "ratio": f"{sheet.width} / {sheet.height}",
        "order": [int(index) for index in order],
        "captions": list(captions),
        "picked": picked,
    }
    return _gallery(data=data, key=key, on_picked_change=on_picked)
