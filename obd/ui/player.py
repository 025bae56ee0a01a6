"""The player of the Rollouts page: a video and charts whose cursor follows it, as a component of our own.

Python hands over one dictionary (:func:`contract`); the JavaScript beside this file draws it.  Nothing comes back:
playing, seeking and hovering need no rerun.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from streamlit.runtime import get_instance

from obd.render.scene import action_names, load_scene
from obd.render.trajectory import Trajectory
from obd.ui.theme import style

HERE = Path(__file__).parent
DIGITS = 4  # significant ones of every number handed over

Values = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Track:
    """The numbers of one policy at every frame of a video.

    ``values`` has one list per quantity, all of the same length, None after the end of the episode.
    """

    label: str
    key: str
    values: dict[str, list[float | None]]


def measure(trajectory: Trajectory, fps: float, frames: int, q: Values | None, label: str, key: str) -> Track:
    """Sample an episode at the frames of a video.

    Args:
        trajectory: T steps.
        fps, frames: of the video.
        q: ``[T]`` action value of each step, or None where there is no teacher.

    Returns:
        ``reward`` (mean over the steps between two frames), ``return`` (so far), ``distance`` (metres along x, for
        robots that travel), ``q``, ``size`` (root mean square of the action) and ``action 0`` ... per dimension.
    """
    steps = len(trajectory)
    shown = [trajectory.index_at(frame / fps) for frame in range(frames)]
    inside = sum(frame / fps <= trajectory.seconds + 1e-9 for frame in range(frames))
    returns = np.concatenate([[0.0], np.cumsum(trajectory.rewards)])
    stride = max(1, round(trajectory.frames_per_second / fps))
    acting = [min(index, steps - 1) for index in shown]  # the action taken in the state shown
    columns: dict[str, Values] = {
        "reward": np.array([returns[min(i + stride, steps)] - returns[i] for i in acting])
        / np.array([min(i + stride, steps) - i for i in acting]),
        "return": returns[shown],
    }
    if (travelled := distance(trajectory)) is not None:
        columns["distance"] = travelled[shown]
    if q is not None:
        columns["q"] = np.asarray(q)[acting]
    actions = trajectory.actions[acting]
    columns["size"] = np.sqrt((actions**2).mean(axis=1))
    columns |= {f"action {number}": actions[:, number] for number in range(actions.shape[1])}
    values = {
        name: [_short(value) if frame < inside else None for frame, value in enumerate(column)]
        for name, column in columns.items()
    }
    return Track(label, key, values)


def distance(trajectory: Trajectory) -> Values | None:
    """``[T+1]`` metres along x from the start; None for what does not travel."""
    travel = load_scene(trajectory.env_id).travel if trajectory.has_states else ()
    return trajectory.qpos[:, travel[0]] - trajectory.qpos[0, travel[0]] if travel else None


def _short(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def contract(
    tracks: Sequence[Track], *, key: str, url: str, fps: float, frames: int, env_id: str, view: str, alt: str
) -> dict[str, Any]:
    """What the component draws.

    Returns:
        ``key`` (another video, another key), ``url``, ``fps``, ``frames``, ``alt``; ``members``: label, colour, glyph
        and dash of each policy; ``charts``: title and options, each with a label, a unit and ``values``
        ``[member][frame]`` (None after the end of an episode).
    """
    names = list(dict.fromkeys(name for track in tracks for name in track.values))

    def option(name: str, label: str, unit: str = "") -> dict[str, Any]:
        empty: list[float | None] = [None] * frames
        return {"label": label, "unit": unit, "values": [track.values.get(name, empty) for track in tracks]}

    progress = [("distance", "Distance", "m"), ("reward", "Reward per step", ""), ("return", "Return so far", "")]
    if view != "race":
        progress = [*progress[1:], progress[0]]
    dimensions = [name for name in names if name.startswith("action ")]
    joints = action_names(env_id, len(dimensions))
    charts: list[tuple[str, list[dict[str, Any]]]] = [
        ("Reward", [option(*quantity) for quantity in progress if quantity[0] in names]),
        ("Q value", [option("q", "Teacher's Q of the action taken")] if "q" in names else []),
        (
            "Action",
            [option("size", "Size of the action")]
            + [option(name, f"Action: {joint}") for name, joint in zip(dimensions, joints, strict=True)],
        ),
    ]
    return {
        "key": key,
        "url": url,
        "fps": fps,
        "frames": frames,
        "alt": alt,
        "members": _looks(tracks),
        "charts": [{"title": title, "options": options} for title, options in charts if options],
    }


def _looks(tracks: Sequence[Track]) -> list[dict[str, str]]:
    """The colour says the method; the dash tells a student, its ensemble and its columns apart."""
    seen: Counter[str] = Counter()
    looks = []
    for track in tracks:
        look = style(track.key)
        dash = look.dash_of(seen[track.key])
        looks.append({"label": track.label, "colour": look.colour, "glyph": look.glyph, "dash": dash})
        seen[track.key] += 1
    return looks


def as_csv(tracks: Sequence[Track], fps: float, env_id: str) -> bytes:
    """The numbers behind the charts: a row per frame and policy, with the time in seconds."""
    names = list(dict.fromkeys(name for track in tracks for name in track.values))
    dimensions = [name for name in names if name.startswith("action ")]
    titles = dict(zip(dimensions, action_names(env_id, len(dimensions)), strict=True))
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(["seconds", "policy", *(f"action {titles[n]}" if n in titles else n for n in names)])
    for track in tracks:
        columns = [track.values.get(name, []) for name in names]
        for frame in range(max(len(column) for column in columns)):
            row = [column[frame] if frame < len(column) else None for column in columns]
            if any(value is not None for value in row):
                writer.writerow([f"{frame / fps:.3f}", track.label, *row])
    return stream.getvalue().encode()


def to_json(tracks: Sequence[Track]) -> list[dict[str, Any]]:
    return [asdict(track) for track in tracks]


def from_json(values: Sequence[Mapping[str, Any]]) -> tuple[Track, ...]:
    """The inverse of :func:`to_json`; KeyError or TypeError if it is something else."""
    return tuple(Track(str(v["label"]), str(v["key"]), dict(v["values"])) for v in values)


def media_url(path: Path) -> str:
    """Where the browser finds a video file; Streamlit serves it as long as this session shows it."""
    base = str(st.get_option("server.baseUrlPath") or "").strip("/")
    url = get_instance().media_file_mgr.add(str(path), "video/mp4", f"player {path.name}")
    return f"/{base}{url}" if base else url


_component = st.components.v2.component(
    "obd_player",
    html='<div class="player"></div>',
    css=(HERE / "player.css").read_text(encoding="utf-8"),
    js=(HERE / "player.js").read_text(encoding="utf-8"),
)


def waiting(key: str, picture: str, alt: str, size: tuple[int, int]) -> dict[str, Any]:
    """What the component draws before there is a video: the newest picture (an address), if there is one."""
    return {"key": key, "picture": picture, "alt": alt, "size": list(size), "members": [], "charts": []}


def show(data: dict[str, Any]) -> None:
    """Put the player on the page.  ``data`` comes from :func:`contract` or :func:`waiting`."""
    _component(key="player", data=data)
