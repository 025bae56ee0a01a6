"""MuJoCo's own pictures, with the costly effects off.

MuJoCo chooses its OpenGL when it is first imported; building the context here, for the backend that
:func:`obd.render.backend.gl_backend` found, works however early something else imported it.
"""

from __future__ import annotations

import importlib
import math
import os
import platform
from types import TracebackType
from typing import Any, Self

import mujoco
import numpy as np
from numpy.typing import NDArray

from obd.render.scene import (
    ACCENT,
    FIELD_OF_VIEW,
    GROUND_DARK,
    GROUND_LIGHT,
    Colour,
    Image,
    load_scene,
    parse_colour,
    part_colour,
    sky,
)

BLACK = 1.0  # standard deviation of a frame's pixels below which it counts as empty

PROBE_MODEL = """<mujoco><worldbody><light pos="0 0 3"/><geom type="sphere" size=".3"/></worldbody></mujoco>"""


class BlackFrameError(RuntimeError):
    """OpenGL returned an empty frame: the renderer is used in another thread than it was made in, or is broken."""


class Canvas:
    """An OpenGL picture of one model, with the costly effects off.

    A context manager; enter it, use it and leave it in the same thread: elsewhere OpenGL returns black frames.
    """

    def __init__(self, model: Any, width: int, height: int, field_of_view: float = FIELD_OF_VIEW) -> None:
        self.model, self.width, self.height = model, width, height
        model.vis.quality.offsamples = 0  # multisampling costs most of the time on a processor
        model.vis.quality.numslices, model.vis.quality.numstacks, model.vis.quality.numquads = 16, 10, 1
        model.vis.global_.offwidth, model.vis.global_.offheight = width, height
        model.vis.global_.fovy = field_of_view
        model.vis.headlight.ambient[:] = 0.45
        model.vis.headlight.diffuse[:] = 0.45
        model.vis.headlight.specular[:] = 0.1
        self._gl: Any = None
        self._context: Any = None
        self._scene: Any = None
        self._sky = sky(height, round(height * 0.75))
        # Without a floor there is nothing behind the robot down to the picture's lower edge.
        floor = bool((model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE).any())
        self._horizon = height // 2 if floor else height

    def __enter__(self) -> Self:
        """Make the OpenGL context.  Raises whatever the driver raises."""
        try:
            self._gl = open_context(self.width, self.height)
            self._gl.make_current()
            self._context = mujoco.MjrContext(self.model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
            self._scene = mujoco.MjvScene(self.model, maxgeom=max(200, self.model.ngeom + 20))
            for flag in ("SHADOW", "REFLECTION", "SKYBOX", "FOG", "HAZE"):
                self._scene.flags[getattr(mujoco.mjtRndFlag, f"mjRND_{flag}")] = 0
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the OpenGL resources; further calls do nothing."""
        if self._context is not None:
            self._context.free()
        if self._gl is not None:
            self._gl.free()
        self._context = self._gl = self._scene = None

    def draw(self, data: Any, camera: Any) -> Image:
        """``[height, width, 3]`` uint8 of the positions in ``data``.  Raises BlackFrameError if nothing was drawn."""
        if self._context is None:
            raise BlackFrameError("The renderer is closed; use it inside its with block.")
        mujoco.mj_kinematics(self.model, data)
        mujoco.mj_camlight(self.model, data)
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(self.model, data, mujoco.MjvOption(), None, camera, everything, self._scene)
        frame = np.empty((self.height, self.width, 3), dtype=np.uint8)
        rectangle = mujoco.MjrRect(0, 0, self.width, self.height)
        self._gl.make_current()
        mujoco.mjr_render(rectangle, self._scene, self._context)
        mujoco.mjr_readPixels(frame, None, rectangle, self._context)
        if float(frame[::4, ::4].std()) <= BLACK:
            raise BlackFrameError("OpenGL returned an empty frame.")
        frame = np.ascontiguousarray(frame[::-1])
        # Our sky costs a third of a millisecond, MuJoCo's skybox eight.  No lit surface is exactly black.
        above = frame[: self._horizon]
        empty = (above[:, :, 0] | above[:, :, 1] | above[:, :, 2]) == 0
        np.copyto(above, self._sky[: len(above)], where=empty[:, :, None])
        return frame


class MujocoRenderer:
    """Draws poses of one environment with OpenGL.  A context manager, to be used in one thread; see :class:`Canvas`."""

    kind = "mujoco"

    def __init__(self, env_id: str, width: int, height: int) -> None:
        self.scene = load_scene(env_id)
        self.width, self.height = width, height
        model = self.scene.model
        paint_floor(model)
        for part in self.scene.parts:
            if part.far:  # both legs of a planar robot lie in one plane and would flicker through each other
                model.geom_sameframe[part.geom] = 0  # or MuJoCo would ignore the offset
                model.geom_pos[part.geom, 1] += 1.6 * model.geom_size[part.geom, 0]
        self._canvas = Canvas(model, width, height)
        self._data: Any = mujoco.MjData(model)
        self._accent = ""

    def __enter__(self) -> Self:
        """Make the OpenGL context.  Raises whatever the driver raises."""
        self._canvas.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._canvas.close()

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

        Raises:
            BlackFrameError: nothing was drawn.
        """
        if (accent or ACCENT) != self._accent:
            self._accent = accent or ACCENT
            for part in self.scene.parts:
                paint_geom(self.scene.model, part.geom, part_colour(parse_colour(self._accent), part))
        self._data.qpos[:] = qpos
        for address in self.scene.travel:
            # The floor ends after 20 to 40 metres but repeats every metre: stay near its middle.
            self._data.qpos[address] %= 1.0
        mujoco.mj_kinematics(self.scene.model, self._data)
        return self._canvas.draw(self._data, self._camera())

    def _camera(self) -> Any:
        view = self.scene.height_in_metres(self.width, self.height)
        x, y = self.scene.middle(self._data)
        # The height is fixed: a robot that falls moves in the picture, the ground does not.
        z = view * (0.5 - self.scene.ground_share)
        return free_camera((x, y, z), view, self.scene.elevation, FIELD_OF_VIEW)


def free_camera(lookat: tuple[float, float, float], view_height: float, elevation: float, fov: float) -> Any:
    """A camera that looks along +y from the side, ``view_height`` metres high at ``lookat``."""
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FREE
    camera.lookat[:] = lookat
    camera.distance = view_height / 2 / math.tan(math.radians(fov / 2))
    camera.azimuth, camera.elevation = 90.0, elevation
    return camera


def paint_geom(model: Any, geom: int, colour: Colour) -> None:
    """A plain opaque colour instead of the geom's material."""
    model.geom_matid[geom] = -1
    model.geom_rgba[geom] = (*(np.array(colour) / 255), 1.0)


def open_context(width: int, height: int) -> Any:
    """An OpenGL context of the backend named by ``MUJOCO_GL``; raises what the driver raises."""
    system = platform.system()
    default = "cgl" if system == "Darwin" else "glfw"
    name = os.environ.get("MUJOCO_GL", "").strip().lower()
    module = name if name in ("egl", "osmesa", "glfw", "cgl") else default
    return importlib.import_module(f"mujoco.{module}").GLContext(width, height)


def probe(size: int = 64) -> float:
    """Render one tiny frame and return the standard deviation of its pixels (0 is black)."""
    model = mujoco.MjModel.from_xml_string(PROBE_MODEL)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    context = open_context(size, size)
    try:
        context.make_current()
        drawing = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, drawing)
        scene = mujoco.MjvScene(model, maxgeom=10)
        camera = mujoco.MjvCamera()
        mujoco.mjv_defaultFreeCamera(model, camera)
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(model, data, mujoco.MjvOption(), None, camera, everything, scene)
        frame = np.zeros((size, size, 3), dtype=np.uint8)
        rectangle = mujoco.MjrRect(0, 0, size, size)
        mujoco.mjr_render(rectangle, scene, drawing)
        mujoco.mjr_readPixels(frame, None, rectangle, drawing)
        drawing.free()
        return float(frame.std())
    finally:
        context.free()


def paint_floor(model: Any) -> None:
    """Give the checkered floor the schematic's colours; black squares would also pass for empty background."""
    role = int(mujoco.mjtTextureRole.mjTEXROLE_RGB)
    for geom in np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE):
        model.geom_rgba[geom] = (1.0, 1.0, 1.0, 1.0)
        material = int(model.geom_matid[geom])
        texture = int(model.mat_texid[material][role]) if material >= 0 else -1
        if texture < 0 or model.tex_nchannel[texture] != 3:
            continue
        model.geom_size[geom, 2] = 40.0  # Hopper's floor would be drawn in thousands of pieces, at half the speed
        # Tiles of half a metre, so that the pattern repeats every metre.
        model.mat_texuniform[material] = 1
        model.mat_texrepeat[material] = 1.0
        model.mat_rgba[material] = (1.0, 1.0, 1.0, 1.0)
        model.mat_reflectance[material] = model.mat_specular[material] = 0.0
        start = int(model.tex_adr[texture])
        pixels = model.tex_data[start : start + int(model.tex_height[texture] * model.tex_width[texture]) * 3]
        brightness = pixels.reshape(-1, 3).mean(axis=1, keepdims=True)
        share = brightness / max(float(brightness.max()), 1.0)
        colours = np.array(GROUND_DARK) * 0.8 * (1 - share) + np.array(GROUND_LIGHT) * share
        pixels[:] = colours.astype(np.uint8).reshape(-1)
