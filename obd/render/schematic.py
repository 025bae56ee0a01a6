"""A picture of the robot without OpenGL: its geoms from the side, drawn with Pillow.

A robot that lies flat on the ground (Swimmer) is a line from there, so it is drawn from above.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import mujoco
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from obd.errors import ObdError
from obd.insight.pose import has_torso, state_from_observation
from obd.render.scene import (
    ACCENT,
    GROUND_DARK,
    GROUND_LIGHT,
    GROUND_SHARE,
    INK,
    Colour,
    Image,
    Part,
    load_scene,
    mix,
    parse_colour,
    part_colour,
    sky,
)

SUPERSAMPLING = 2
LIMBS = (int(mujoco.mjtGeom.mjGEOM_CAPSULE), int(mujoco.mjtGeom.mjGEOM_CYLINDER))


class SchematicRenderer:
    """Draws poses of one environment.  Needs no graphics hardware and may be used from any one thread at a time."""

    kind = "schematic"

    def __init__(self, env_id: str, width: int, height: int, view_height: float | None = None) -> None:
        self.scene = load_scene(env_id)
        self.width, self.height = width, height
        self._data: Any = mujoco.MjData(self.scene.model)
        view_height = view_height or self.scene.height_in_metres(width, height)
        self._scale = SUPERSAMPLING * height / view_height  # pixels per metre
        self._size = (SUPERSAMPLING * width, SUPERSAMPLING * height)
        # The row at which the height, or y from above, is zero.
        self._ground = round(self._size[1] * (0.5 if self.scene.flat else 1 - GROUND_SHARE))
        self._across = 0.0  # y of that row in a picture from above
        backdrop = np.broadcast_to(sky(self._size[1], self._ground), (self._size[1], self._size[0], 3))
        self._backdrop = PillowImage.fromarray(np.ascontiguousarray(backdrop))
        self._font = ImageFont.load_default(max(12, SUPERSAMPLING * height // 22))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    def render(
        self, qpos: NDArray[np.float64], qvel: NDArray[np.float64] | None = None, *, accent: str | None = None
    ) -> Image:
        """Draw one state.

        Args:
            qpos: ``[nq]`` generalised positions.
            qvel: accepted for the common interface, not drawn.
            accent: the robot's colour, ``#rrggbb``.

        Returns:
            ``[height, width, 3]`` uint8.
        """
        mujoco_positions(self.scene.model, self._data, qpos)
        centre, across = self.scene.middle(self._data)
        picture = self._backdrop.copy()
        draw = ImageDraw.Draw(picture)
        if self.scene.flat:
            self._across = across
            self._draw_tiles(draw, centre)
        else:
            self._draw_ground(draw, centre)
        self._draw_robot(draw, centre, accent or ACCENT)
        return np.asarray(picture.reduce(SUPERSAMPLING))

    def race(
        self,
        positions: Sequence[NDArray[np.float64]],
        accents: Sequence[str],
        lanes: Sequence[str],
        centre: float,
        rise: float,
        zoom: float,
    ) -> tuple[Image, list[tuple[float, float]]]:
        """Several robots on parallel lanes.

        Args:
            positions: ``[nq]`` of each robot, the farthest lane first.
            accents, lanes: the colours of robots and lanes, ``#rrggbb``.
            centre: x of the picture's middle, in metres.
            rise: pixels from one lane's ground to the next one's.
            zoom: how many times smaller than usual everything is drawn.

        Returns:
            The picture ``[height, width, 3]`` and the pixel (x, y) at which each robot's ground is.
        """
        picture = self._backdrop.copy()
        draw = ImageDraw.Draw(picture)
        lowest, scale, feet = round(self._size[1] * (1 - GROUND_SHARE)), self._scale, []
        usual, self._across = self._ground, 0.0
        self._scale = scale / zoom
        for lane, (qpos, accent, stripe) in enumerate(zip(positions, accents, lanes, strict=True)):
            self._ground = round(lowest - SUPERSAMPLING * rise * (len(positions) - 1 - lane))
            self._draw_lane(draw, centre, mix(GROUND_LIGHT, parse_colour(stripe), 0.16))
            mujoco_positions(self.scene.model, self._data, qpos)
            self._draw_robot(draw, centre, accent)
            x, y = self._pixel(self._data.xpos[self.scene.root] * (1, 1, 0), centre)
            feet.append((x / SUPERSAMPLING, y / SUPERSAMPLING))
        self._ground, self._scale = usual, scale
        return np.asarray(picture.reduce(SUPERSAMPLING)), feet

    def _draw_robot(self, draw: ImageDraw.ImageDraw, centre: float, accent: str) -> None:
        if not self.scene.flat:
            self._draw_shadows(draw, centre)
        for part in self.scene.parts:
            self._draw_part(draw, part, centre, part_colour(parse_colour(accent), part))

    def _draw_lane(self, draw: ImageDraw.ImageDraw, centre: float, fill: Colour) -> None:
        """The lane's ground down to the picture's edge, with a mark per metre."""
        width, bottom = self._size
        draw.rectangle((0, self._ground, width, bottom), fill=fill)
        draw.line((0, self._ground, width, self._ground), fill=mix(fill, INK, 0.35), width=SUPERSAMPLING)
        half_view = width / 2 / self._scale
        for metre in range(math.floor(centre - half_view), math.ceil(centre + half_view) + 1):
            x = width / 2 + (metre - centre) * self._scale
            length = (14 if metre % 5 == 0 else 6) * SUPERSAMPLING
            draw.line((x, self._ground, x, self._ground + length), fill=mix(fill, INK, 0.5), width=SUPERSAMPLING)
            if metre % 5 == 0:
                place = (x + 3 * SUPERSAMPLING, self._ground + 2 * SUPERSAMPLING)
                draw.text(place, f"{metre} m", fill=mix(fill, INK, 0.7), font=self._font, anchor="lt")

    def _pixel(self, point: NDArray[np.float64], centre: float) -> tuple[float, float]:
        up = point[1] - self._across if self.scene.flat else point[2]
        return self._size[0] / 2 + (point[0] - centre) * self._scale, self._ground - up * self._scale

    def _draw_tiles(self, draw: ImageDraw.ImageDraw, centre: float) -> None:
        """The ground from above in half-metre tiles, fixed to it: they show the speed."""
        width, height = self._size
        tile = self._scale / 2
        left, top = width / 2 - centre * self._scale, self._ground + self._across * self._scale  # of the origin
        draw.rectangle((0, 0, width, height), fill=GROUND_LIGHT)
        for column in range(math.floor(-left / tile), math.ceil((width - left) / tile)):
            for row in range(math.floor(-top / tile), math.ceil((height - top) / tile)):
                if (column + row) % 2:
                    x, y = left + column * tile, top + row * tile
                    # Floor, not round: neighbours must share their edge exactly or gaps flicker.
                    box = (math.floor(x), math.floor(y), math.floor(x + tile), math.floor(y + tile))
                    draw.rectangle(box, fill=GROUND_DARK)

    def _draw_ground(self, draw: ImageDraw.ImageDraw, centre: float) -> None:
        """Half-metre tiles and a mark per metre, fixed to the ground: they show the speed."""
        width, bottom = self._size
        half_view = width / 2 / self._scale
        depth = round(0.30 * (bottom - self._ground))
        draw.rectangle((0, self._ground, width, bottom), fill=mix(GROUND_LIGHT, (255, 255, 255), 0.35))
        for tile in range(math.floor(2 * (centre - half_view)), math.ceil(2 * (centre + half_view)) + 1):
            left = width / 2 + (tile / 2 - centre) * self._scale
            fill = GROUND_DARK if tile % 2 else mix(GROUND_DARK, INK, 0.25)
            # Floor, not round: neighbours must share their edge exactly or gaps flicker.
            edges = (math.floor(left), math.floor(left + self._scale / 2))
            draw.rectangle((edges[0], self._ground, edges[1], self._ground + depth), fill=fill)
            if tile % 2 == 0:
                top = self._ground + depth
                draw.line((left, top, left, top + depth * 0.45), fill=INK, width=SUPERSAMPLING)
                draw.text((left, top + depth * 0.6), f"{tile // 2} m", fill=INK, font=self._font, anchor="mt")
        draw.line((0, self._ground, width, self._ground), fill=mix(INK, GROUND_DARK, 0.3), width=SUPERSAMPLING)

    def _draw_shadows(self, draw: ImageDraw.ImageDraw, centre: float) -> None:
        """A flat bar under the robot, narrower the higher it is: it shows a jump."""
        points = self._data.geom_xpos[[part.geom for part in self.scene.parts]]
        left, right = points[:, 0].min(), points[:, 0].max()
        middle, half = (left + right) / 2, max((right - left) / 2, 0.1)
        start = self._pixel(np.array([middle - half, 0.0, 0.0]), centre)[0]
        end = self._pixel(np.array([middle + half, 0.0, 0.0]), centre)[0]
        thickness = 0.03 * self._scale
        box = (start, self._ground, end, self._ground + thickness)
        draw.rounded_rectangle(box, radius=thickness / 2, fill=mix(GROUND_DARK, INK, 0.6))

    def _draw_part(self, draw: ImageDraw.ImageDraw, part: Part, centre: float, colour: Colour) -> None:
        model = self.scene.model
        position = self._data.geom_xpos[part.geom]
        axes = self._data.geom_xmat[part.geom].reshape(3, 3)
        size = model.geom_size[part.geom]
        outline = mix(colour, (20, 24, 32), 0.55)
        kind = int(model.geom_type[part.geom])
        if kind == int(mujoco.mjtGeom.mjGEOM_BOX):
            signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, 8).T
            corners = [self._pixel(position + axes @ (sign * size), centre) for sign in signs]
            draw.polygon(_hull(corners), fill=colour, outline=outline)
            return
        half = axes[:, 2] * size[1] if kind in LIMBS else np.zeros(3)
        start, end = self._pixel(position - half, centre), self._pixel(position + half, centre)
        radius = float(size[0] or model.geom_rbound[part.geom]) * self._scale
        rim = min(max(1.5 * SUPERSAMPLING, 0.006 * self._scale), 0.4 * radius)  # thumbnails have thin limbs
        capsule(draw, start, end, radius, outline)
        capsule(draw, start, end, radius - rim, colour)


def limbs(env_id: str, observations: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The robot's side view as thick lines, for a browser that draws it by itself.

    Args:
        env_id: of a robot that moves in one plane (``obd.insight.pose.TORSO``).
        observations: raw units, ``[N, obs_dim]``.

    Returns:
        Ends ``[N, limbs, 4]``, x and z of both in metres, x from the root, z from the ground; radii ``[limbs]``.
        Balls have equal ends.

    Raises:
        ObdError: the poses of this environment cannot be drawn so, or an observation is wrong.
    """
    if not has_torso(env_id):
        raise ObdError(f"{env_id} does not move in one plane, so it has no side view.")
    scene = load_scene(env_id)
    model, data = scene.model, mujoco.MjData(scene.model)
    geoms = [part.geom for part in scene.parts]
    lengths = np.where(np.isin(model.geom_type[geoms], LIMBS), model.geom_size[geoms, 1], 0.0)[:, None]
    positions, _ = state_from_observation(env_id, observations)
    ends = np.empty((len(positions), len(geoms), 4), dtype=np.float32)
    for number, qpos in enumerate(positions):
        mujoco_positions(model, data, qpos)
        middle = data.geom_xpos[geoms] - data.xpos[scene.root] * (1, 0, 0)
        half = data.geom_xmat[geoms].reshape(-1, 3, 3)[:, :, 2] * lengths
        ends[number] = np.concatenate([(middle - half)[:, [0, 2]], (middle + half)[:, [0, 2]]], axis=1)
    radii: NDArray[np.float32] = model.geom_size[geoms, 0].astype(np.float32)
    return ends, radii


def mujoco_positions(model: Any, data: Any, qpos: NDArray[np.float64]) -> None:
    """Put the bodies where ``qpos`` says."""
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)


def capsule(
    draw: ImageDraw.ImageDraw, start: tuple[float, float], end: tuple[float, float], radius: float, fill: Colour
) -> None:
    """A thick line with round ends (pixels); a disc where both ends are one."""
    for x, y in (start, end):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
    length = math.hypot(end[0] - start[0], end[1] - start[1])
    if length > 0:
        across = (-(end[1] - start[1]) * radius / length, (end[0] - start[0]) * radius / length)
        draw.polygon(
            [
                (start[0] + across[0], start[1] + across[1]),
                (end[0] + across[0], end[1] + across[1]),
                (end[0] - across[0], end[1] - across[1]),
                (start[0] - across[0], start[1] - across[1]),
            ],
            fill=fill,
        )


def _hull(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Convex hull, counter-clockwise (Andrew's monotone chain)."""

    def half(ordered: list[tuple[float, float]]) -> list[tuple[float, float]]:
        chain: list[tuple[float, float]] = []
        for x, y in ordered:
            while len(chain) >= 2:
                (ax, ay), (bx, by) = chain[-2], chain[-1]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                chain.pop()
            chain.append((x, y))
        return chain[:-1]

    ordered = sorted(points)
    return half(ordered) + half(ordered[::-1])
