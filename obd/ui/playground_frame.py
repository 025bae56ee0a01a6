"""What the pictures of the playground show: the part that never changes, and a frame of what moves, ready for JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obd.data.pendulum import MAX_SPEED, returns_of
from obd.engine.network import Parameters
from obd.engine.playground import HIDDEN, Array, Playground, Problem, act
from obd.paths import assets_dir
from obd.ui.theme import style

FIELD = (61, 41)  # cells of the teacher's picture: angle, velocity
SHOWN_STATES = 700  # real states drawn as dots

Bytes = dict[str, Any]


@lru_cache(maxsize=1)
def problem() -> Problem:
    """The pendulum, built once per process."""
    return Problem.build()


def measured() -> dict[str, Any]:
    """What ``python -m obd bench playground`` stored; empty when it is not there."""
    try:
        stored: dict[str, Any] = json.loads((assets_dir() / "benchmarks" / "playground.json").read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return stored


def pack(values: Any) -> str:
    """Values in [-1, 1] as base64 of signed bytes."""
    return _base64(np.round(np.clip(np.asarray(values), -1, 1) * 127), np.int8)


def pack_weights(tensors: Sequence[Array]) -> Bytes:
    """Tensors as integers of 12 bits, two base64 characters each, with a scale per tensor.

    That moves an action by less than one of a screen's 256 shades.
    """
    flat = [np.asarray(tensor, float).ravel() for tensor in tensors]
    scales = [float(f"{np.abs(values).max() / 2047:.5g}") or 1.0 for values in flat]
    whole = np.concatenate([np.clip(np.round(v / scale), -2047, 2047) for v, scale in zip(flat, scales, strict=True)])
    pairs = np.append(whole, [0] * (len(whole) % 2)).astype(int).reshape(-1, 2) + 2048
    joined = pairs[:, 0] << 12 | pairs[:, 1]
    return {"scales": scales, "values": _base64(np.stack([joined >> 16, joined >> 8, joined], 1) & 255, np.uint8)}


def _base64(array: NDArray[Any], kind: Any) -> str:
    return base64.b64encode(np.ascontiguousarray(array, kind).tobytes()).decode()


@lru_cache(maxsize=1)
def still_life() -> Bytes:
    """What never changes: the teacher's picture, some real states with their targets and weights, references.

    The page hands it to the browser once; frames hold only what moves.
    """
    world = problem()
    field = world.teacher.actions_at(*np.meshgrid(_centres(FIELD[0]) * np.pi, _centres(FIELD[1]) * MAX_SPEED))
    chosen = np.random.default_rng(0).choice(len(world.dataset), SHOWN_STATES, replace=False)
    cosine, sine, velocity = world.dataset.observations[chosen].T
    weights = world.weights["av_pbc"]
    assert weights is not None
    places = np.stack([np.arctan2(sine, cosine) / np.pi, velocity / MAX_SPEED], 1)
    relative = weights[chosen].numpy() / float(weights.max())
    return {
        "field": pack(field),
        "shape": list(FIELD),
        "states": pack(places),
        "targets": {key: pack(world.targets[key][chosen, 0]) for key in ("dbc", "pbc")},
        "weights": pack(relative),
        "widths": [3, *HIDDEN, 1],
        "mean": [round(float(x), 5) for x in world.mean],
        "std": [round(float(x), 5) for x in world.std],
        "references": references(),
    }


@lru_cache(maxsize=1)
def references() -> dict[str, float]:
    """Mean returns of the teacher, of doing nothing, and of the players in the data."""
    world = problem()
    players = world.dataset.provenance["players"]
    return {
        "teacher": float(returns_of(world.teacher.actions_at).mean()),
        "nothing": float(returns_of(lambda angle, _: np.zeros_like(angle)).mean()),
        **{name: float(player["return"]) for name, player in players.items()},
    }


def lane_frame(
    ground: Playground, student: Parameters, returns: Sequence[tuple[int, float]], label: str, frozen: bool
) -> Bytes:
    """What moves in one distillation: its points and arrows, the student's weights, and the curve of its returns."""
    key = "random_selection" if frozen else ground.settings.objective
    look = style(key)
    points = ground.points.numpy() / np.array([np.pi, np.pi, 1])
    arrows = -ground.gradient.numpy()[:, :2].astype(np.float64)  # a rounded float32 is long in JSON
    longest = float(np.abs(arrows).max()) or 1.0
    return {
        "key": key,
        "label": label,
        "glyph": look.glyph,
        "colour": look.colour,
        "frozen": frozen,
        "points": np.round(points, 3).tolist(),
        "arrows": np.round(arrows / longest, 2).tolist(),
        "weights": pack_weights([tensor[0].numpy() for layer in student for tensor in layer]),
        "steps": ground.steps,
        "inner_steps": ground.settings.inner_steps,
        "agreement": round(agreement(student), 3),
        "losses": [float(f"{loss:.3g}") for loss in (*ground.losses[:1], *ground.losses[1:][-1:])],
        "returns": [[step, round(value)] for step, value in returns],
    }


@lru_cache(maxsize=1)
def _map() -> tuple[Array, Array, Array]:
    """Angles, velocities and the teacher's actions at the centres of the cells of a coarse map, ``[C]`` each."""
    angles, velocities = (part.ravel() for part in np.meshgrid(_centres(31) * np.pi, _centres(21) * MAX_SPEED))
    return angles, velocities, problem().teacher.actions_at(angles, velocities)


def _centres(cells: int) -> Array:
    """Centres of ``cells`` equal cells of [-1, 1]."""
    return (np.arange(cells) + 0.5) / cells * 2 - 1


def agreement(student: Parameters) -> float:
    """Share of the map on which the student pushes the same way as the teacher."""
    angles, velocities, wanted = _map()
    return float((act(student, problem(), angles, velocities)[0] * wanted > 0).mean())
