"""What the map of states draws: original states as small points, distilled ones as large symbols, on fixed axes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obd.ui.charts import Spec
from obd.ui.sentences import minus
from obd.ui.theme import CIVIDIS, NEUTRAL, style

Points = NDArray[np.floating[Any]]

MAX_FRAMES = 60  # snapshots on the time line; more are thinned evenly
MARGIN = 0.22  # around the data: distilled states leave it


@dataclass(frozen=True)
class Extent:
    """Fixed ends of a map's axes, so that only points move."""

    left: float
    right: float
    bottom: float
    top: float


def extent(*clouds: Points, margin: float = 0.04) -> Extent:
    """The common extent of all ``[n, 2]`` clouds with a margin."""
    every = np.concatenate([cloud[np.isfinite(cloud).all(axis=1)] for cloud in clouds])
    low, high = every.min(axis=0), every.max(axis=0)
    pad = np.maximum((high - low) * margin, 1e-6)
    low, high = low - pad, high + pad
    return Extent(float(low[0]), float(high[0]), float(low[1]), float(high[1]))


@dataclass(frozen=True)
class Axes:
    """Fixed ends of a map's axes, ``[dimensions]`` each, so that only points move."""

    low: Points
    high: Points

    @classmethod
    def of(cls, cloud: Points, margin: float = MARGIN) -> Axes:
        """The ends for an ``[M, dimensions]`` cloud with a margin."""
        low, high = cloud.min(axis=0), cloud.max(axis=0)
        pad = np.maximum((high - low) * margin, 1e-6)
        return cls(low - pad, high + pad)

    def place(self, points: Points) -> Points:
        """``[..., dimensions]`` in units in which the map spans [-1, 1]."""
        placed: Points = 2 * (points - self.low) / (self.high - self.low) - 1
        return placed


@dataclass(frozen=True)
class MovingSet:
    """One objective's states on the map: ``frames[i]`` ``[N, dimensions]`` at outer step ``steps[i]``."""

    objective: str
    steps: Sequence[int]
    frames: Sequence[Points]
    figures: Figures | None = None


@dataclass(frozen=True)
class Figures:
    """Side views of the newest states: ``ends [N, limbs, 4]`` and ``radii [limbs]`` in metres (``schematic.limbs``)."""

    ends: Points
    radii: Points

    def encoded(self) -> dict[str, Any]:
        """For the browser: millimetres as 16-bit integers, and the room in metres that the poses take."""
        x, z = self.ends[..., [0, 2]], self.ends[..., [1, 3]]
        millimetres = np.clip(np.rint(1000 * self.ends), -32_000, 32_000).astype("<i2")
        return {
            "ends": base64.b64encode(millimetres.tobytes()).decode(),
            "radii": [round(float(radius), 4) for radius in self.radii],
            "side": float(np.quantile(np.abs(x).max(axis=(1, 2)), 0.98)),
            "top": float(np.quantile(z.max(axis=(1, 2)), 0.98)),
        }


@dataclass(frozen=True)
class Colouring:
    """What the original states are coloured by: ``values [M]`` and their name with its unit."""

    name: str
    values: Points


def outside(original: Points, points: Points) -> int:
    """How many of ``points [N, dimensions]`` lie beyond the map's fixed axes."""
    return int((np.abs(Axes.of(original).place(points)) > 1).any(axis=1).sum())


def rim_share(original: Points, points: Points) -> float:
    """Share of ``points [N, dimensions]`` that lie further from the centre than 95 % of the ``original`` ones.

    Distances are taken in standard deviations of the original points along each axis of the map.
    """
    centre, spread = original.mean(axis=0), original.std(axis=0) + 1e-12
    rim = np.quantile(np.linalg.norm((original - centre) / spread, axis=1), 0.95)
    return float((np.linalg.norm((points - centre) / spread, axis=1) > rim).mean())


def colour_range(values: Points) -> tuple[float, float]:
    """The 2nd and 98th percentile: a few extreme states must not use up the colour scale."""
    low, high = np.percentile(values, [2, 98])
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(low) + 0.5)


def time_line(sets: Sequence[MovingSet]) -> list[int]:
    """The outer steps at which any set has a snapshot, at most ``MAX_FRAMES`` of them, both ends kept."""
    steps = sorted({step for moving in sets for step in moving.steps})
    if len(steps) > MAX_FRAMES:
        kept = np.unique(np.linspace(0, len(steps) - 1, MAX_FRAMES).round().astype(int))
        steps = [steps[i] for i in kept]
    return steps


def map_data(
    original: Points,
    sets: Sequence[MovingSet],
    front: str,
    *,
    identity: str,
    axes: Sequence[str],
    colouring: Colouring | None,
    alt: str,
) -> dict[str, Any]:
    """The data of the map component (``statemap.js``).

    Args:
        original: ``[M, dimensions]``, 2 or 3.
        sets: drawn in this order, except that the one of objective ``front`` comes last and largest.
        identity: of projection and data: the view is reset when it changes, and only then.
        axes: their names, [] for none.
        colouring: of the original states; None draws them in one neutral colour.
    """
    ends = Axes.of(original)
    steps = time_line(sets)
    data: dict[str, Any] = {
        "view": identity,
        "run": identity,
        "dimensions": original.shape[1],
        "points": _encode(ends.place(original)),
        "axes": list(axes),
        "steps": steps,
        "neutral": NEUTRAL,
        "alt": alt,
        "values": None,
        "scale": None,
        "sets": [],
        "picked": None,
    }
    for moving in sorted(sets, key=lambda moving: moving.objective == front):
        look = style(moving.objective)
        # A set that lags behind the others stays where it was last seen.
        latest = np.searchsorted(np.asarray(moving.steps), steps, side="right") - 1
        frames = np.stack([moving.frames[max(int(i), 0)] for i in latest])
        data["sets"].append(
            {
                "key": moving.objective,
                "label": look.label,
                "glyph": look.glyph,
                "colour": look.colour,
                "symbol": look.symbol,
                "front": moving.objective == front,
                "count": frames.shape[1],
                "frames": _encode(ends.place(frames)),
                "figures": None if moving.figures is None else moving.figures.encoded(),
            }
        )
    if colouring is not None:
        low, high = colour_range(colouring.values)
        digits = 0 if high - low > 20 else 1 if high - low > 2 else 2
        data["values"] = _encode(colouring.values)
        data["scale"] = {
            "low": low,
            "high": high,
            "lowText": minus(f"{low:z,.{digits}f}"),
            "highText": minus(f"{high:z,.{digits}f}"),
            "name": colouring.name,
            "colours": list(CIVIDIS),
        }
    return data


def _encode(values: Points) -> str:
    """Base64 of little-endian float32, as the browser reads it."""
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f4").tobytes()).decode()


def bare_axis(name: str, low: float, high: float) -> Spec:
    """An axis without numbers: in a projection only neighbourhood has a meaning."""
    return {
        "type": "value",
        "min": low,
        "max": high,
        "name": name,
        "nameLocation": "middle",
        "nameGap": 10,
        "axisLabel": {"show": False},
        "axisTick": {"show": False},
        "axisLine": {"show": True, "onZero": False, "lineStyle": {"opacity": 0.5}},
        "splitLine": {"show": False},
    }
