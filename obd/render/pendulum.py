"""Pictures of Gymnasium's Pendulum-v1, which has no MuJoCo model: a rod on a pivot, drawn with Pillow."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw

from obd.render.scene import ACCENT, GROUND_DARK, INK, Image, mix, parse_colour, sky
from obd.render.schematic import SUPERSAMPLING, capsule

VIEW = 2.6  # metres in the picture's shorter side; the rod is 1 m long and 0.2 m thick, as in Gymnasium's own pictures
LENGTH, RADIUS, AXLE = 1.0, 0.1, 0.05


class PendulumRenderer:
    """Draws states of the pendulum; needs no graphics hardware and no other library, and works in any thread."""

    def __init__(self, width: int, height: int) -> None:
        self._size = (SUPERSAMPLING * width, SUPERSAMPLING * height)
        self._scale = min(self._size) / VIEW  # pixels per metre
        backdrop = np.broadcast_to(sky(self._size[1], self._size[1]), (self._size[1], self._size[0], 3))
        self._backdrop = PillowImage.fromarray(np.ascontiguousarray(backdrop))

    def render(
        self, qpos: NDArray[np.float64], qvel: NDArray[np.float64] | None = None, *, accent: str | None = None
    ) -> Image:
        """Draw one state.

        Args:
            qpos: ``[1]``, the angle in radians: 0 is upright, positive leans to the left.
            qvel: accepted for the common interface, not drawn.
            accent: the rod's colour, ``#rrggbb``.

        Returns:
            ``[height, width, 3]`` uint8.
        """
        picture = self._backdrop.copy()
        draw = ImageDraw.Draw(picture)
        colour, angle = parse_colour(accent or ACCENT), float(qpos[0])
        x, y = self._size[0] / 2, self._size[1] / 2
        reach = (LENGTH + RADIUS) * self._scale
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), outline=GROUND_DARK, width=SUPERSAMPLING)
        tip = (x - LENGTH * self._scale * math.sin(angle), y - LENGTH * self._scale * math.cos(angle))
        rim = 1.5 * SUPERSAMPLING
        capsule(draw, (x, y), tip, RADIUS * self._scale, mix(colour, (20, 24, 32), 0.55))
        capsule(draw, (x, y), tip, RADIUS * self._scale - rim, colour)
        capsule(draw, (x, y), (x, y), AXLE * self._scale, INK)
        return np.asarray(picture.reduce(SUPERSAMPLING))
