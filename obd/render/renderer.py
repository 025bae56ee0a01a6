"""One door to all renderers."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from obd.errors import ObdError
from obd.insight.pose import PENDULUM
from obd.render.backend import gl_backend
from obd.render.mujoco_frames import MujocoRenderer
from obd.render.pendulum import PendulumRenderer
from obd.render.scene import Image
from obd.render.schematic import SchematicRenderer

Kind = Literal["mujoco", "schematic", "drawing"]  # schematic: in place of MuJoCo's; drawing: there is no other


class Drawer(Protocol):
    """What all renderers can do."""

    def render(
        self, qpos: NDArray[np.float64], qvel: NDArray[np.float64] | None = None, *, accent: str | None = None
    ) -> Image: ...


class Renderer:
    """Draws with MuJoCo while it works and schematically from the first frame that fails on; the pendulum by itself.

    A context manager; make it and use it in one thread.
    """

    kind: Kind

    def __init__(self, env_id: str, width: int, height: int, *, schematic: bool = False) -> None:
        self.env_id, self.width, self.height = env_id, width, height
        own = env_id == PENDULUM
        self._fallback: Drawer = PendulumRenderer(width, height) if own else SchematicRenderer(env_id, width, height)
        self._drawer: Drawer = self._fallback
        self._stack = ExitStack()
        self._wants_mujoco = not (schematic or own)
        self.kind = "drawing" if own else "schematic"
        self.used: set[Kind] = set()  # what drew the pictures handed out so far

    def __enter__(self) -> Self:
        if self._wants_mujoco and gl_backend() is not None:
            try:
                drawer = self._stack.enter_context(MujocoRenderer(self.env_id, self.width, self.height))
                drawer.render(drawer.scene.model.qpos0)
                self._drawer, self.kind = drawer, "mujoco"
            except Exception:
                # Whatever a graphics driver throws, the schematic picture is the better answer.
                self._stack.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def render(self, qpos: Any, qvel: Any = None, *, accent: str | None = None) -> Image:
        """``[height, width, 3]`` uint8 picture of one state; ``accent`` (``#rrggbb``) colours the robot."""
        try:
            picture = self._drawer.render(qpos, qvel, accent=accent)
        except ObdError:
            raise
        except Exception:  # an empty frame, another thread, a driver that gave up
            if self._drawer is self._fallback:
                raise
            self._drawer, self.kind = self._fallback, "schematic"
            picture = self._drawer.render(qpos, qvel, accent=accent)
        self.used.add(self.kind)
        return picture


def make_renderer(env_id: str, width: int, height: int, *, schematic: bool = False) -> Renderer:
    """A context manager that draws states of ``env_id``; its ``kind`` says how.

    Args:
        env_id: a MuJoCo environment of Gymnasium, or Pendulum-v1.
        width, height: of the picture, in pixels.
        schematic: draw schematically even if OpenGL works.

    Raises:
        ObdError: the environment does not exist or is neither.
    """
    return Renderer(env_id, width, height, schematic=schematic)


def expected_kind(env_id: str) -> Kind:
    """How states of ``env_id`` will be drawn, without opening a renderer."""
    if env_id == PENDULUM:
        return "drawing"
    return "schematic" if gl_backend() is None else "mujoco"
