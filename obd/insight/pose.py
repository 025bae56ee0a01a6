"""From an observation back to the robot's pose: generalised positions and velocities.

The observation of the MuJoCo environments is the positions without the root's x (which the reward does not depend on),
followed by the velocities and, for the ant, by contact forces.  See the ``_get_obs`` of each environment in Gymnasium
(``gymnasium/envs/mujoco``).  Pendulum-v1 (``classic_control``) observes the cosine and the sine of its angle, and
the angular velocity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obd.errors import ObdError

Float = NDArray[np.float64]


@dataclass(frozen=True)
class ObservationLayout:
    """``observation = concat(qpos[hidden:], clip(qvel), rest)``.

    Attributes:
        positions, velocities: lengths of ``qpos`` and ``qvel``.
        hidden: leading entries of ``qpos`` that the observation leaves out.
        velocity_clip: bound of the velocities in the observation, or None.  Beyond it the true one is lost.
        rest: trailing entries that follow from the state.
    """

    positions: int
    velocities: int
    hidden: int = 1
    velocity_clip: float | None = None
    rest: int = 0

    @property
    def observation_dim(self) -> int:
        return self.positions - self.hidden + self.velocities + self.rest


LAYOUTS: dict[str, ObservationLayout] = {
    "HalfCheetah-v5": ObservationLayout(positions=9, velocities=9),
    "Hopper-v5": ObservationLayout(positions=6, velocities=6, velocity_clip=10.0),
    "Walker2d-v5": ObservationLayout(positions=9, velocities=9, velocity_clip=10.0),
    "Ant-v5": ObservationLayout(positions=15, velocities=14, hidden=2, rest=78),
    "Swimmer-v5": ObservationLayout(positions=5, velocities=5, hidden=2),
    "InvertedPendulum-v5": ObservationLayout(positions=2, velocities=2, hidden=0),
}

PENDULUM = "Pendulum-v1"
POSED = (*LAYOUTS, PENDULUM)  # environments whose observation tells the state

# Where qpos holds the torso's height and pitch: the root of these slides along x and z and turns about y.
TORSO: dict[str, tuple[int, int]] = {"HalfCheetah-v5": (1, 2), "Hopper-v5": (1, 2), "Walker2d-v5": (1, 2)}


def supports_pose(env_id: str) -> bool:
    """Whether :func:`state_from_observation` knows the environment."""
    return env_id in POSED


def state_from_observation(env_id: str, observations: NDArray[np.floating[Any]]) -> tuple[Float, Float]:
    """Invert the observation.

    Args:
        env_id: Gymnasium environment.
        observations: raw units, ``[..., obs_dim]``.

    Returns:
        ``qpos [..., nq]`` with the root's x at 0 and ``qvel [..., nv]``; angles in radians, seconds and metres.  The
        pendulum's angle is 0 upright; of a cosine and a sine off the unit circle the direction counts.

    Raises:
        ObdError: the environment is unknown, the width is wrong, or an entry is not finite.
    """
    if not supports_pose(env_id):
        raise ObdError(f"Poses of {env_id} cannot be drawn; use one of {', '.join(POSED)}.")
    values = np.asarray(observations, dtype=np.float64)
    width = 3 if env_id == PENDULUM else LAYOUTS[env_id].observation_dim
    if values.ndim == 0 or values.shape[-1] != width:
        raise ObdError(
            f"An observation of {env_id} has {width} numbers, not "
            f"{values.shape[-1] if values.ndim else 1}; choose the data set's own environment."
        )
    if not np.isfinite(values).all():
        raise ObdError("An observation holds NaN or infinity, so it has no pose; distil or import it again.")
    if env_id == PENDULUM:
        return np.arctan2(values[..., 1:2], values[..., :1]), values[..., 2:].copy()
    layout = LAYOUTS[env_id]
    seen = layout.positions - layout.hidden
    root = np.zeros((*values.shape[:-1], layout.hidden))
    velocities = values[..., seen : seen + layout.velocities]
    return np.concatenate([root, values[..., :seen]], axis=-1), velocities.copy()


def set_state(env: Any, qpos: Float, qvel: Float) -> None:
    """Put an unwrapped environment that :func:`supports_pose` accepts into a state ``[nq]``, ``[nv]``."""
    if hasattr(env, "set_state"):
        env.set_state(qpos, qvel)
    else:  # classic control
        env.state = np.concatenate([qpos, qvel])


def has_torso(env_id: str) -> bool:
    """Whether :func:`torso` knows the environment."""
    return env_id in TORSO


def torso(env_id: str, observations: NDArray[np.floating[Any]]) -> Float:
    """Height (metres) and pitch (radians, in (-pi, pi]) of the torso, ``[..., 2]``.

    HalfCheetah's height counts from its start.  Raises ObdError as :func:`state_from_observation`, and for robots
    without one torso in one plane.
    """
    if env_id not in TORSO:
        raise ObdError(f"{env_id} has no torso with a height and a pitch; use one of {', '.join(TORSO)}.")
    height, pitch = TORSO[env_id]
    qpos, _ = state_from_observation(env_id, observations)
    return np.stack([qpos[..., height], np.pi - np.mod(np.pi - qpos[..., pitch], 2 * np.pi)], axis=-1)
