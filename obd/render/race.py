"""Several policies on one track: every robot on a lane of its own, in one scene, filmed by one moving camera.

Each was simulated alone; the scene only poses them, so nothing can collide.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, Self

import mujoco
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw

from obd.errors import ObdError
from obd.render.backend import gl_backend
from obd.render.captions import BAR, BAR_TEXT, MUTED, font, marker, shorten
from obd.render.mujoco_frames import Canvas, free_camera, paint_geom
from obd.render.scene import (
    GROUND_DARK,
    GROUND_LIGHT,
    GROUND_SHARE,
    INK,
    Image,
    Scene,
    load_scene,
    load_spec,
    mix,
    parse_colour,
    part_colour,
)
from obd.render.schematic import SchematicRenderer
from obd.render.trajectory import Trajectory
from obd.render.video import Panel, timing

RACE_SIZE = (720, 406)
FIELD_OF_VIEW = 18.0  # degrees; narrower than a single robot's, so that far lanes are not small
SIDE_RACE_ELEVATION = -24.0  # from so far above that the lanes lie apart
MARK_METRES = 5  # a line across all lanes this often
TRACK_METRES = 60.0  # half the length of the lanes around the camera
SMOOTH_SECONDS = 0.8  # over which the camera follows the leader
LEAD = 0.2  # of the picture's width, the leader runs ahead of its middle
PACK = 0.3  # of the leader's way; who has come so far is kept in view
ROOM = 0.45  # of the picture's width lies between the names on the lanes and the leader
MOST_ZOOM = 2.2  # times the view of the start; whoever is farther behind leaves the picture
STRIP = 0.115  # of the height, the strip at the top
FADED = "#9aa1ab"  # of a robot whose episode is over

Positions = NDArray[np.float64]


@dataclass(frozen=True)
class Lanes:
    """The geometry of a race.

    Attributes:
        scene: one robot's model.
        offsets: ``[n]`` y of each lane, the farthest first.
        spacing: metres from lane to lane.
        elevation: of the camera in degrees.
        view_height: height of the picture in metres at the middle lane.
    """

    scene: Scene
    offsets: tuple[float, ...]
    spacing: float
    elevation: float
    view_height: float


def lay_lanes(env_id: str, count: int, aspect: float) -> Lanes:
    """Lanes for ``count`` robots in a picture of width/height ``aspect``.  Raises ObdError if it has no model."""
    scene = load_scene(env_id)
    length, width, height = scene.size
    elevation = min(scene.elevation, SIDE_RACE_ELEVATION)
    across = abs(math.sin(math.radians(elevation)))
    spacing = max(1.3 * width, 0.4 * length, 0.75 * height)
    # Room for the lanes, for the farthest robot above its lane and for the strip and the labels.
    needed = (count - 1) * spacing * across + width * across + 1.25 * height * math.cos(math.radians(elevation))
    view_height = max(1.5 * needed, 3.2 * length / aspect)
    middle = (count - 1) / 2
    return Lanes(scene, tuple((middle - i) * spacing for i in range(count)), spacing, elevation, view_height)


@lru_cache(maxsize=8)
def race_model(env_id: str, count: int, spacing: float, colours: tuple[str, ...]) -> Any:
    """One ``mujoco.MjModel`` with ``count`` copies of the robot, a striped lane under each and marks across.

    The bodies of copy i are named ``laneI_...``, ``laneI`` is the stripe.  Robots that float freely start at y = 0:
    their lane is part of qpos.
    """
    spec = mujoco.MjSpec()
    spec.add_texture(
        name="ground",
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
        rgb1=[value / 255 for value in GROUND_LIGHT],
        rgb2=[0.94 * value / 255 for value in GROUND_DARK],
        width=64,
        height=64,
    )
    material = spec.add_material(name="ground", texuniform=True, texrepeat=[1, 1])
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "ground"
    spec.worldbody.add_light(pos=[0, -6, 12], dir=[0, 0.4, -1], diffuse=[0.45] * 3, specular=[0.05] * 3)
    lowest = load_ground(env_id)
    plane = {"type": mujoco.mjtGeom.mjGEOM_PLANE, "size": [2 * TRACK_METRES, 2 * TRACK_METRES, 40.0]}
    spec.worldbody.add_geom(name="ground", pos=[0, 0, lowest - 0.012], material="ground", **plane)
    half = (count * spacing) / 2
    for metre in range(-int(TRACK_METRES), int(TRACK_METRES) + 1, MARK_METRES):
        spec.worldbody.add_geom(
            name=f"mark{metre}",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=[metre, 0, lowest - 0.004],
            size=[0.02, half, 0.003],
            rgba=[*(value / 255 for value in mix(GROUND_DARK, INK, 0.45)), 1],
        )
    free = int(load_scene(env_id).model.jnt_type[0]) == int(mujoco.mjtJoint.mjJNT_FREE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # settings of the simulation differ, and nothing is simulated
        for lane in range(count):
            y = ((count - 1) / 2 - lane) * spacing
            spec.worldbody.add_geom(
                name=f"lane{lane}",
                type=mujoco.mjtGeom.mjGEOM_BOX,
                pos=[0, y, lowest - 0.008],
                size=[TRACK_METRES, 0.42 * spacing, 0.003],
                rgba=[*(value / 255 for value in mix(GROUND_LIGHT, parse_colour(colours[lane]), 0.3)), 1],
            )
            frame = spec.worldbody.add_frame(pos=[0, 0 if free else y, 0])
            robot = load_spec(env_id)
            for body in list(robot.worldbody.bodies):
                frame.attach_body(body, f"lane{lane}_", "")
        model = spec.compile()
    model.geom_contype[:] = model.geom_conaffinity[:] = 0
    return model


@lru_cache(maxsize=8)
def load_ground(env_id: str) -> float:
    """Height of the environment's own floor, 0 if it has none."""
    model = load_scene(env_id).model
    planes = [geom for geom in range(model.ngeom) if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_PLANE]
    return float(model.geom_pos[planes[0], 2]) if planes else 0.0


class Stage(Protocol):
    """Draws all robots of a race at once."""

    def draw(
        self, positions: Sequence[Positions], colours: Sequence[str], centre: float, zoom: float
    ) -> tuple[Image, list[tuple[float, float]]]:
        """Robots at ``[nq]`` positions, farthest lane first: the picture and the pixels of their feet.

        Args:
            positions: one per lane.
            colours: one per lane.
            centre: x at the picture's middle.
            zoom: how many times farther away the camera is than at the start.
        """
        ...


class MujocoStage:
    """A race in one MuJoCo scene.  A context manager; see :class:`obd.render.mujoco_frames.Canvas`."""

    def __init__(self, env_id: str, lanes: Lanes, colours: Sequence[str], width: int, height: int) -> None:
        self._lanes, self._size = lanes, (width, height)
        count = len(lanes.offsets)
        # A copy: two films may paint their robots differently at the same time.
        self._model = race_model(env_id, count, lanes.spacing, tuple(colours)).__copy__()
        self._data: Any = mujoco.MjData(self._model)
        self._canvas = Canvas(self._model, width, height, FIELD_OF_VIEW)
        single = lanes.scene.model
        self._free = int(single.jnt_type[0]) == int(mujoco.mjtJoint.mjJNT_FREE)
        self._nq = int(single.nq)
        bodies = int(single.nbody) - 1
        self._roots = [lane * bodies + lanes.scene.root for lane in range(count)]
        first = [int(np.flatnonzero(self._model.geom_bodyid > lane * bodies)[0]) for lane in range(count)]
        start = int(np.flatnonzero(single.geom_bodyid >= 1)[0])
        self._geoms = [[(part, first[lane] + part.geom - start) for part in lanes.scene.parts] for lane in range(count)]
        self._painted: list[str] = [""] * count
        self._view = lanes.view_height
        for lane in range(count):
            for part, geom in self._geoms[lane]:
                if part.far:
                    self._model.geom_sameframe[geom] = 0
                    self._model.geom_pos[geom, 1] += 1.6 * self._model.geom_size[geom, 0]

    def __enter__(self) -> Self:
        self._canvas.__enter__()
        return self

    def __exit__(self, *reason: Any) -> None:
        self._canvas.close()

    def draw(
        self, positions: Sequence[Positions], colours: Sequence[str], centre: float, zoom: float
    ) -> tuple[Image, list[tuple[float, float]]]:
        """See :class:`Stage`."""
        lanes = self._lanes
        shift = MARK_METRES * math.floor(centre / MARK_METRES)  # the lanes end, but repeat from mark to mark
        for lane, (qpos, colour) in enumerate(zip(positions, colours, strict=True)):
            if colour != self._painted[lane]:
                for part, geom in self._geoms[lane]:
                    paint_geom(self._model, geom, part_colour(parse_colour(colour), part))
                self._painted[lane] = colour
            start = lane * self._nq
            self._data.qpos[start : start + self._nq] = qpos
            if lanes.scene.travel:
                self._data.qpos[start + lanes.scene.travel[0]] -= shift
            if self._free:
                self._data.qpos[start + 1] += lanes.offsets[lane]
        self._view = lanes.view_height * zoom
        camera = free_camera(self._aim(centre - shift), self._view, lanes.elevation, FIELD_OF_VIEW)
        picture = self._canvas.draw(self._data, camera)
        feet = []
        for root in self._roots:
            x, y = (float(value) for value in self._data.xpos[root, :2])
            feet.append(self.pixel((x, y, 0.0), centre - shift))
        return picture, feet

    def _aim(self, x: float) -> tuple[float, float, float]:
        """The point at the picture's middle: robots stand above their lanes, and the strip needs room at the top."""
        return x, 0.0, 0.4 * self._lanes.scene.size[2] + 0.07 * self._view

    def pixel(self, point: tuple[float, float, float], centre: float) -> tuple[float, float]:
        """Where a point of the scene lies in the picture."""
        width, height = self._size
        angle = math.radians(self._lanes.elevation)
        forward = np.array([0.0, math.cos(angle), math.sin(angle)])
        up = np.array([0.0, -math.sin(angle), math.cos(angle)])
        aim = self._aim(centre)
        distance = self._view / 2 / math.tan(math.radians(FIELD_OF_VIEW / 2))
        offset = np.array(point) - aim + distance * forward
        scale = height / 2 / math.tan(math.radians(FIELD_OF_VIEW / 2)) / float(offset @ forward)
        return width / 2 + float(offset[0]) * scale, height / 2 - float(offset @ up) * scale


class SchematicStage:
    """A race drawn without OpenGL: the side views on lanes one below the other."""

    def __init__(self, env_id: str, lanes: Lanes, colours: Sequence[str], width: int, height: int) -> None:
        count = len(lanes.offsets)
        self._rise = min(0.36 * height / max(count - 1, 1), 0.14 * height)
        headroom = (1 - GROUND_SHARE - STRIP) * height - self._rise * (count - 1)  # over the farthest lane
        view_height = max(1.4 * lanes.scene.size[2] * height / headroom, 3.2 * lanes.scene.size[0] * height / width)
        self._colours = colours
        self._drawer = SchematicRenderer(env_id, width, height, view_height=view_height)

    def draw(
        self, positions: Sequence[Positions], colours: Sequence[str], centre: float, zoom: float
    ) -> tuple[Image, list[tuple[float, float]]]:
        """See :class:`Stage`."""
        return self._drawer.race(positions, colours, self._colours, centre, self._rise, zoom)


class RaceFilm:
    """All policies on one track, the camera with the leader; a strip at the top shows the whole field.

    Args:
        panels: at least one, all of the same environment, the farthest lane first.
        width, height: of the video in pixels, even.
        seconds: show only the first seconds.
        schematic: draw schematically even if OpenGL works.

    Raises:
        ObdError: nothing to show, different environments, or one without MuJoCo states.
    """

    def __init__(
        self,
        panels: Sequence[Panel],
        *,
        width: int = RACE_SIZE[0],
        height: int = RACE_SIZE[1],
        seconds: float | None = None,
        schematic: bool = False,
    ) -> None:
        episodes = [panel.trajectory for panel in panels]
        self.fps, self.frames = timing(episodes, seconds)
        self.size = (width, height)
        self.drawn_by: set[str] = set()
        env_id = episodes[0].env_id
        if any(not episode.has_states or episode.env_id != env_id for episode in episodes):
            raise ObdError("Only robots of one MuJoCo environment can race; choose the view side by side.")
        self._env_id, self._panels, self._schematic = env_id, panels, schematic
        self._lanes = lay_lanes(env_id, len(panels), width / height)
        if not self._lanes.scene.travel:
            raise ObdError(f"The robot of {env_id} does not travel, so it cannot race; choose the view side by side.")
        self._travelled = [distances(episode, self._lanes.scene) for episode in episodes]
        view = self._lanes.view_height * width / height
        self._leader, self._zoom = follow(episodes, self._travelled, self.fps, self.frames, view)
        shown = [
            track[: episode.index_at(self.frames / self.fps) + 1]
            for track, episode in zip(self._travelled, episodes, strict=True)
        ]
        self._span = (min(float(track.min()) for track in shown), max(1.0, *(float(track.max()) for track in shown)))
        self._stack = ExitStack()
        self._stage: Stage = SchematicStage(env_id, self._lanes, [panel.colour for panel in panels], width, height)
        self._kind = "schematic"

    def __enter__(self) -> Self:
        """Open the renderer; without OpenGL the schematic one serves."""
        if not self._schematic and gl_backend() is not None:
            colours = [panel.colour for panel in self._panels]
            try:
                stage = MujocoStage(self._env_id, self._lanes, colours, *self.size)
                stage = self._stack.enter_context(stage)
                stage.draw([self._lanes.scene.model.qpos0] * len(colours), colours, 0.0, 1.0)
                self._fallback, self._stage, self._kind = self._stage, stage, "mujoco"
            except Exception:  # whatever a graphics driver throws, the schematic picture is the better answer
                self._stack.close()
        return self

    def __exit__(self, *reason: Any) -> None:
        self._stack.close()

    def paint(self, frame: int) -> Image:
        """``[height, width, 3]`` picture of a frame."""
        seconds = frame / self.fps
        positions, colours, over = [], [], []
        for panel in self._panels:
            episode = panel.trajectory
            index = episode.index_at(seconds)
            positions.append(episode.qpos[index])
            over.append(index == len(episode) and seconds > episode.seconds)
            colours.append(FADED if over[-1] and episode.terminated else panel.colour)
        zoom = float(self._zoom[frame])
        centre = float(self._leader[frame]) - LEAD * zoom * self._lanes.view_height * self.size[0] / self.size[1]
        try:
            picture, feet = self._stage.draw(positions, colours, centre, zoom)
        except Exception:
            if self._kind == "schematic":
                raise
            self._stage, self._kind = self._fallback, "schematic"
            picture, feet = self._stage.draw(positions, colours, centre, zoom)
        self.drawn_by.add(self._kind)
        return self._annotate(picture, feet, seconds, over)

    def _annotate(
        self, picture: Image, feet: Sequence[tuple[float, float]], seconds: float, over: Sequence[bool]
    ) -> Image:
        """Names and distances on the lanes, and the strip with the whole field."""
        image = PillowImage.fromarray(picture)
        draw = ImageDraw.Draw(image)
        width, height = self.size
        face = font(max(11, round(height * 0.034)))
        bar = round(height * STRIP)
        draw.rectangle((0, 0, width, bar), fill=BAR)
        left, right, line = 0.11 * width, 0.96 * width, 0.46 * bar
        low, high = self._span

        def along(metre: float) -> float:
            return left + (right - left) * (metre - low) / (high - low)

        draw.line((left, line, right, line), fill=MUTED, width=2)
        step = _round_step(high - low)
        for metre in np.arange(math.ceil(low / step) * step, high + 1e-6, step):
            draw.line((along(metre), line - 3, along(metre), line + 3), fill=MUTED)
            small = font(max(10, round(0.26 * bar)))
            draw.text((along(metre), bar - 2), f"{metre:zg} m", font=small, fill=MUTED, anchor="mb")
        draw.text((0.012 * width, line), f"{seconds:.1f} s", font=face, fill=BAR_TEXT, anchor="lm")
        where = [
            float(track[panel.trajectory.index_at(seconds)])
            for panel, track in zip(self._panels, self._travelled, strict=True)
        ]
        for metre, panel in sorted(zip(where, self._panels, strict=True), key=lambda pair: pair[0]):
            marker(draw, (along(metre), line), 0.34 * bar, panel.symbol, panel.colour)
        side, edge = 0.03 * height, 0.05 * height
        middle = bar - side
        for (x, y), panel, metre, done in zip(feet, self._panels, where, over, strict=True):
            note = "" if not done else f", {'fell' if panel.trajectory.terminated else 'done'}"
            text = shorten(f"{panel.title} {metre:z.1f} m{note}", 0.4 * width, face)
            middle = max(min(y + 0.6 * side, height - side), middle + 1.9 * side)  # none covers another
            box = (edge, middle - 0.87 * side, edge + face.getlength(text) + 2.2 * side, middle + 0.87 * side)
            draw.rounded_rectangle(box, radius=side / 2, fill=BAR)
            marker(draw, (edge + 0.95 * side, middle), 0.9 * side, panel.symbol, panel.colour)
            draw.text((edge + 1.8 * side, middle), text, font=face, fill=BAR_TEXT, anchor="lm")
            if x < 0:  # left behind: an arrow says where the robot is
                tip = (0.2 * edge, middle)
                draw.polygon([tip, (0.8 * edge, middle - 0.6 * side), (0.8 * edge, middle + 0.6 * side)], fill=BAR)
        return np.asarray(image)


def distances(episode: Trajectory, scene: Scene) -> NDArray[np.float64]:
    """``[T+1]`` metres along x from the start."""
    x = episode.qpos[:, scene.travel[0]]
    return np.asarray(x - x[0], dtype=np.float64)


def follow(
    episodes: Sequence[Trajectory], travelled: Sequence[NDArray[np.float64]], fps: float, frames: int, view: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How the camera moves: ``[frames]`` x of the leader and ``[frames]`` zoom, both smoothed so that it glides.

    The view, ``view`` metres wide at first, widens so that the leader's pack stays in it.
    """
    indices = [[episode.index_at(frame / fps) for frame in range(frames)] for episode in episodes]
    where = np.stack([track[chosen] for track, chosen in zip(travelled, indices, strict=True)])
    lead = where.max(axis=0)
    in_pack = (where >= PACK * lead) & (where >= lead - ROOM * MOST_ZOOM * view)
    last = np.where(in_pack, where, lead).min(axis=0)
    zoom = np.maximum((lead - last) / (ROOM * view), 1.0)
    reach = max(1, round(SMOOTH_SECONDS * fps))
    window = np.hanning(2 * reach + 3)[1:-1]

    def smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
        padded = np.pad(values, reach, mode="edge")
        return np.asarray(np.convolve(padded, window / window.sum(), mode="valid"))

    return smooth(lead), smooth(smooth(zoom))


def _round_step(length: float) -> float:
    """Metres between the strip's numbers: about six of them, at 1, 2 or 5 times a power of ten."""
    rough = length / 6
    power = 10.0 ** math.floor(math.log10(rough))
    return float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough))
