"""What both renderers share: the model, its moving parts, the framing of the picture and the colours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import gymnasium
import mujoco
import numpy as np
from numpy.typing import NDArray

from obd.errors import ObdError
from obd.render.backend import quiet_mujoco

Colour = tuple[int, int, int]
Image = NDArray[np.uint8]

ACCENT = "#4c78a8"
SKY_TOP: Colour = (214, 226, 240)
SKY_HORIZON: Colour = (247, 249, 252)
GROUND_LIGHT: Colour = (222, 226, 231)
GROUND_DARK: Colour = (203, 209, 217)
INK: Colour = (52, 60, 72)

GROUND_SHARE = 0.20  # of the picture's height lies below the ground line
FIELD_OF_VIEW = 30.0  # degrees, vertical; narrow, so that the perspective stays mild
# Degrees below the horizon from which a robot is seen: planar ones from the side, those that spread from above.
SIDE_ELEVATION, WIDE_ELEVATION, FLAT_ELEVATION = -7.0, -25.0, -65.0


@dataclass(frozen=True)
class Part:
    """One geom of the robot.  ``level`` counts joints from the torso; ``far`` is the side away from the camera."""

    geom: int
    level: int
    far: bool


@dataclass(frozen=True)
class Scene:
    """A model with its framing.

    Attributes:
        root: body that the camera follows.
        parts: the robot's geoms, in drawing order (far first).
        view_height: height of the picture in metres at the robot's distance, for a picture of aspect 4:3.
        elevation: of the camera, in degrees.
        size: length, width and height of the robot in metres as it starts.
        travel: indices into qpos of the root's horizontal position: x, or x and y.
    """

    model: Any
    root: int
    parts: tuple[Part, ...]
    view_height: float
    elevation: float
    size: tuple[float, float, float]
    travel: tuple[int, ...]

    @property
    def flat(self) -> bool:
        """Whether the robot lies on the ground and is seen from above."""
        return self.elevation <= FLAT_ELEVATION

    @property
    def ground_share(self) -> float:
        """The part of a picture below the ground where the robot stands: more for one that reaches to the camera."""
        if self.flat:
            return 0.5
        if self.elevation == SIDE_ELEVATION:
            return GROUND_SHARE
        reach = math.hypot(*self.size[:2]) / 2 * math.sin(math.radians(-self.elevation))
        return max(GROUND_SHARE, 1.2 * reach / self.view_height + 0.03)  # what is nearer looks larger

    def middle(self, data: Any) -> tuple[float, float]:
        """x and y that a picture is centred on: the root; of a robot that lies flat, whose root is its tip, the mean.

        ``data`` holds the positions of the bodies (``mj_kinematics``).
        """
        if self.flat:
            x, y = data.geom_xpos[[part.geom for part in self.parts], :2].mean(axis=0)
        else:
            x, y = data.xpos[self.root, :2]
        return float(x), float(y)

    def height_in_metres(self, width: int, height: int) -> float:
        """The view's height for a picture of ``width`` x ``height`` pixels; narrow pictures zoom out."""
        return self.view_height * max(1.0, (4 / 3) / (width / height))


def load_scene(env_id: str) -> Scene:
    """Read the environment's MuJoCo model.  Raises ObdError if it has none or does not exist."""
    model = load_model(env_id)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    moving = [geom for geom in range(model.ngeom) if model.geom_bodyid[geom] != 0]
    if not moving:
        raise ObdError(f"The model of {env_id} has no moving parts, so there is nothing to draw.")
    parts = sorted(
        (_part(model, data, geom) for geom in moving), key=lambda part: (not part.far, -part.level, part.geom)
    )
    low, high = _bounds(model, data, moving)
    length, width = float(high[0] - low[0]), float(high[1] - low[1])
    robot_height = float(high[2] - min(0.0, low[2]))
    view_height, elevation = max(1.45 * robot_height, 1.55 * length * 3 / 4), SIDE_ELEVATION
    if robot_height < 0.4 * max(length, width):  # it lies flat (Swimmer, Reacher): seen from above
        view_height, elevation = max(1.4 * length * 3 / 4, 1.6 * width), FLAT_ELEVATION
    elif width > 0.6 * length:  # it spreads sideways (Ant)
        elevation = WIDE_ELEVATION
    root = int(model.geom_bodyid[moving[0]])
    size = (length, width, float(high[2] - low[2]))
    return Scene(model, root, tuple(parts), float(view_height), elevation, size, _travel(model))


def _bounds(model: Any, data: Any, geoms: list[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest corner, ``[3]`` each, of the boxes around the geoms."""
    corners = []
    for geom in geoms:
        centre, half = model.geom_aabb[geom, :3], model.geom_aabb[geom, 3:]
        axes = data.geom_xmat[geom].reshape(3, 3)
        middle, reach = data.geom_xpos[geom] + axes @ centre, np.abs(axes) @ half
        corners += [middle - reach, middle + reach]
    return np.min(corners, axis=0), np.max(corners, axis=0)


def _travel(model: Any) -> tuple[int, ...]:
    """Where qpos holds the root's x and, if it can move sideways, its y."""
    if int(model.jnt_type[0]) == int(mujoco.mjtJoint.mjJNT_FREE):
        return (0, 1)
    found = []
    for axis in (0, 1):
        for joint in range(model.njnt):
            slides = int(model.jnt_type[joint]) == int(mujoco.mjtJoint.mjJNT_SLIDE)
            if slides and model.jnt_axis[joint, axis] == 1 and model.jnt_bodyid[joint] == model.jnt_bodyid[0]:
                found.append(int(model.jnt_qposadr[joint]))
    return tuple(found)


def load_model(env_id: str) -> Any:
    """The ``mujoco.MjModel`` of a Gymnasium environment.  Raises ObdError if it has none or does not exist."""
    model = _attribute(env_id, "model")
    if not isinstance(model, mujoco.MjModel):
        raise ObdError(f"{env_id} is not a MuJoCo environment, so its states cannot be drawn.")
    return model


def load_spec(env_id: str) -> Any:
    """A fresh ``mujoco.MjSpec`` of the environment's XML file, to be put together with others.

    Raises ObdError if it has none.
    """
    path = _attribute(env_id, "fullpath")
    if not isinstance(path, str):
        raise ObdError(f"{env_id} is not a MuJoCo environment, so its states cannot be drawn.")
    return mujoco.MjSpec.from_file(path)


def action_names(env_id: str, count: int) -> list[str]:
    """What each of ``count`` actions moves: the joints' names, or numbers where the environment has none."""
    try:
        model = load_model(env_id)
    except ObdError:
        return [f"action {number + 1}" for number in range(count)]
    joints = [mujoco.mj_id2name(model, mujoco.mjtObj.mjOBJ_JOINT, int(j)) for j in model.actuator_trnid[:count, 0]]
    return [(name or f"action {n + 1}").removesuffix("_joint").replace("_", " ") for n, name in enumerate(joints)]


def _attribute(env_id: str, name: str) -> Any:
    quiet_mujoco()
    try:
        env = gymnasium.make(env_id, disable_env_checker=True)
    except (gymnasium.error.Error, ImportError) as error:
        raise ObdError(f"The environment {env_id} cannot be opened: {error}") from error
    try:
        return getattr(env.unwrapped, name, None)
    finally:
        env.close()


def parse_colour(text: str) -> Colour:
    """``#rrggbb`` -> (r, g, b), 0..255.  Raises ObdError on anything else."""
    digits = text.removeprefix("#")
    try:
        if len(digits) != 6:
            raise ValueError
        return int(digits[0:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)
    except ValueError:
        raise ObdError(f"A colour is written like #4c78a8, not {text!r}.") from None


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """``share`` of the second colour in the first."""
    mixed = [round(a + (b - a) * share) for a, b in zip(first, second, strict=True)]
    return mixed[0], mixed[1], mixed[2]


def part_colour(accent: Colour, part: Part) -> Colour:
    """Limbs get lighter towards the feet; the far side is darker."""
    colour = mix(accent, (255, 255, 255), min(0.14 * part.level, 0.42))
    return mix(colour, (38, 44, 56), 0.5) if part.far else colour


def sky(height: int, horizon: int) -> Image:
    """``[height, 1, 3]`` gradient from the top to the horizon row, constant below."""
    share = np.clip(np.arange(height) / max(horizon, 1), 0, 1)[:, None, None]
    return np.rint(np.array(SKY_TOP) * (1 - share) + np.array(SKY_HORIZON) * share).astype(np.uint8)


def _part(model: Any, data: Any, geom: int) -> Part:
    body = int(model.geom_bodyid[geom])
    level = -1
    while body != 0:
        level += 1
        body = int(model.body_parentid[body])
    # In the planar robots both legs lie in one plane; the names tell which is which (the camera sees the right side).
    name = mujoco.mj_id2name(model, mujoco.mjtObj.mjOBJ_GEOM, geom) or ""
    return Part(geom, level, far="left" in name or float(data.geom_xpos[geom, 1]) > 1e-3)
