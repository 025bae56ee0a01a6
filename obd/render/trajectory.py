"""One episode of a policy, recorded as states: pictures are drawn from it later, as often as needed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import mujoco
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from obd.errors import Cancelled, ObdError
from obd.policy import Policy
from obd.render.backend import quiet_mujoco
from obd.render.scene import Image

DEFAULT_STEPS = 1000  # for environments without a time limit
FRAMES_PER_SECOND = 25  # of stored pictures, where states cannot be drawn later
FRAME_SIZE = (320, 240)  # width and height of stored pictures at most; a panel of a video is a little smaller
STEPS_BETWEEN_CHECKS = 25


@dataclass(frozen=True)
class Trajectory:
    """An episode of T steps.

    Attributes:
        env_id: Gymnasium environment.
        qpos, qvel: ``[T+1, nq]`` and ``[T+1, nv]`` MuJoCo states; ``[T+1, 0]`` for other environments.
        observations: ``[T+1, obs_dim]`` raw.
        actions: ``[T, act_dim]`` in [-1, 1].
        rewards: ``[T]``.
        frames_per_second: steps per second of real time.
        terminated: whether the episode ended in a terminal state (a fall) rather than at a time limit.
        frames: ``[F, H, W, 3]`` uint8 pictures of an environment without MuJoCo states, or None.
        frame_stride: state ``i`` is shown by ``frames[i // frame_stride]``.
    """

    env_id: str
    qpos: NDArray[np.float64]
    qvel: NDArray[np.float64]
    observations: NDArray[np.float32]
    actions: NDArray[np.float32]
    rewards: NDArray[np.float64]
    frames_per_second: float
    terminated: bool
    frames: NDArray[np.uint8] | None = None
    frame_stride: int = 1

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def has_states(self) -> bool:
        """Whether MuJoCo states were recorded."""
        return bool(self.qpos.shape[1] > 0)

    @property
    def seconds(self) -> float:
        """Duration in real time."""
        return len(self) / self.frames_per_second

    @property
    def total_return(self) -> float:
        """Undiscounted sum of the rewards."""
        return float(self.rewards.sum())

    def index_at(self, seconds: float) -> int:
        """The state shown ``seconds`` after the start, 0..T; the last one from the end on."""
        # The small term keeps 0.2 * 125 from falling to 24 by rounding.
        return min(max(int(seconds * self.frames_per_second + 1e-6), 0), len(self))


def record(
    env_id: str,
    policy: Policy,
    seed: int,
    max_steps: int | None = None,
    should_stop: Callable[[], bool] | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Trajectory:
    """Run one episode.

    Args:
        env_id: any Gymnasium environment with ``Box`` observations and bounded ``Box`` actions.
        policy: actions in [-1, 1], scaled here to the environment's bounds.
        seed: of the environment's start state.
        max_steps: cut the episode here; the environment's own time limit holds too.
        should_stop: asked every few steps.
        on_progress: told the fraction of the steps done; an episode that ends early jumps to 1.

    Raises:
        ObdError: the environment cannot be opened or used, or the policy does not fit or returns NaN.
        Cancelled: ``should_stop()`` returned true.
    """
    env = _make(env_id)
    try:
        return _record(env, env_id, policy, seed, max_steps, should_stop, on_progress)
    finally:
        env.close()


def opening(env_id: str, seed: int) -> Trajectory:
    """The start state alone, an episode of no steps: what a video begins with, whoever plays.  ObdError as above."""
    env = _make(env_id)
    try:
        observation, _ = env.reset(seed=seed)
        states = _has_states(env)
        data: Any = env.unwrapped.data if states else None  # type: ignore[attr-defined]
        return Trajectory(
            env_id=env_id,
            qpos=data.qpos.copy()[None] if states else np.empty((1, 0)),
            qvel=data.qvel.copy()[None] if states else np.empty((1, 0)),
            observations=np.asarray(observation, dtype=np.float32).reshape(1, -1),
            actions=np.empty((0, int(np.prod(env.action_space.shape or (0,)))), np.float32),
            rewards=np.empty(0),
            frames_per_second=float(env.metadata.get("render_fps") or 30),
            terminated=False,
        )
    finally:
        env.close()


def _make(env_id: str) -> gymnasium.Env[Any, Any]:
    quiet_mujoco()
    try:
        env = gymnasium.make(env_id, disable_env_checker=True)
        if not _has_states(env) and "rgb_array" in env.metadata.get("render_modes", ()):
            env.close()
            env = gymnasium.make(env_id, disable_env_checker=True, render_mode="rgb_array")
    except (gymnasium.error.Error, ImportError) as error:
        raise ObdError(f"The environment {env_id} cannot be opened: {error}") from error
    return env


def _has_states(env: gymnasium.Env[Any, Any]) -> bool:
    return isinstance(getattr(env.unwrapped, "data", None), mujoco.MjData)


def _record(
    env: gymnasium.Env[Any, Any],
    env_id: str,
    policy: Policy,
    seed: int,
    max_steps: int | None,
    should_stop: Callable[[], bool] | None,
    on_progress: Callable[[float], None] | None,
) -> Trajectory:
    space, bounds = env.observation_space, env.action_space
    if not isinstance(space, gymnasium.spaces.Box) or not isinstance(bounds, gymnasium.spaces.Box):
        raise ObdError(f"{env_id} has discrete observations or actions; only continuous ones (Box) can be used.")
    low, high = bounds.low.astype(np.float64), bounds.high.astype(np.float64)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ObdError(f"The actions of {env_id} are unbounded; wrap it so that they have finite bounds.")
    limit = env.spec.max_episode_steps if env.spec is not None else None
    steps = min(max_steps or limit or DEFAULT_STEPS, limit or max_steps or DEFAULT_STEPS)
    rate = float(env.metadata.get("render_fps") or 30)

    data: Any = env.unwrapped.data if _has_states(env) else None  # type: ignore[attr-defined]
    stride = max(1, round(rate / FRAMES_PER_SECOND))
    positions, velocities, observations, actions, rewards = [], [], [], [], []
    frames: list[Image] = []

    def keep(observation: Any, step: int) -> None:
        observations.append(np.asarray(observation, dtype=np.float32).reshape(-1))
        positions.append(data.qpos.copy() if data is not None else np.empty(0))
        velocities.append(data.qvel.copy() if data is not None else np.empty(0))
        if data is None and step % stride == 0 and env.render_mode == "rgb_array" and len(frames) * stride == step:
            # Without the drawing library (pygame) the episode is still worth having.
            with contextlib.suppress(gymnasium.error.Error, ImportError):
                frames.append(_small(env.render()))

    observation, _ = env.reset(seed=seed)
    keep(observation, 0)
    terminated = False
    for step in range(1, steps + 1):
        if step % STEPS_BETWEEN_CHECKS == 0:
            if should_stop is not None and should_stop():
                raise Cancelled
            if on_progress is not None:
                on_progress(step / steps)
        action = _act(policy, observation, bounds.shape, env_id)
        observation, reward, terminated, truncated, _ = env.step(
            (low + (action + 1) / 2 * (high - low)).astype(bounds.dtype)
        )
        actions.append(action.reshape(-1))
        rewards.append(float(reward))
        keep(observation, step)
        if terminated or truncated:
            break
    if on_progress is not None:
        on_progress(1.0)
    return Trajectory(
        env_id=env_id,
        qpos=np.stack(positions),
        qvel=np.stack(velocities),
        observations=np.stack(observations),
        actions=np.stack(actions).astype(np.float32),
        rewards=np.array(rewards),
        frames_per_second=rate,
        terminated=bool(terminated),
        frames=np.stack(frames) if frames else None,
        frame_stride=stride,
    )


def _act(policy: Policy, observation: Any, shape: tuple[int, ...], env_id: str) -> NDArray[np.float64]:
    try:
        action = np.asarray(policy.act(np.asarray(observation).reshape(1, -1)), dtype=np.float64).reshape(shape)
    except ValueError as error:
        raise ObdError(f"The policy was made for another environment than {env_id}; choose its own.") from error
    if not np.isfinite(action).all():
        raise ObdError("The policy returned NaN; its training diverged, train it again with a smaller step size.")
    return np.clip(action, -1.0, 1.0)


def _small(picture: Any) -> Image:
    """Within FRAME_SIZE: a thousand full frames would take a gigabyte, and they travel between processes."""
    image = PillowImage.fromarray(np.asarray(picture, dtype=np.uint8))
    image.thumbnail(FRAME_SIZE)
    return np.asarray(image)
