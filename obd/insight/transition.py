"""One step of the simulator from a given state: what an action does there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obd.data.simulate import from_unit, make_env
from obd.errors import Cancelled
from obd.insight.criticality import UsualPosture, imbalance
from obd.insight.effects import Interval, mean_interval
from obd.insight.pose import set_state, state_from_observation

RANDOM_ACTIONS = 16

Array = NDArray[np.floating[Any]]


def step_from(
    env_id: str, observations: Array, actions: Array, should_stop: Callable[[], bool] | None = None
) -> NDArray[np.float64]:
    """The observations one environment step after ``actions`` in ``observations``.

    Args:
        env_id: an environment that :func:`obd.insight.pose.supports_pose` accepts.
        observations: raw units ``[B, obs_dim]``.
        actions: ``[B, act_dim]`` in [-1, 1]; beyond that they are clipped, as the environment would.

    Raises:
        ObdError: the environment is unknown, or an observation has the wrong width or is not finite.
        Cancelled: ``should_stop()`` returned true.
    """
    qpos, qvel = state_from_observation(env_id, observations)
    env: Any = make_env(env_id)
    low, high = env.action_space.low, env.action_space.high
    following = np.empty((len(qpos), observations.shape[1]))
    try:
        env.reset(seed=0)
        for row, (position, velocity) in enumerate(zip(qpos, qvel, strict=True)):
            if should_stop is not None and should_stop():
                raise Cancelled
            set_state(env.unwrapped, position, velocity)
            # Past the time limit's wrapper, which would ask for a reset after some hundred states.
            following[row] = env.unwrapped.step(from_unit(np.clip(actions[row], -1, 1), low, high))[0]
    finally:
        env.close()
    return following


def restores_balance(
    env_id: str,
    observations: Array,
    actions: Array,
    usual: UsualPosture,
    *,
    seed: int = 0,
    should_stop: Callable[[], bool] | None = None,
) -> Interval | None:
    """How often one step with the given action leaves the robot nearer to its usual posture than a random one does.

    Only states outside the usual posture count: the share (0.5 is no better than random) against 16 random actions
    each, with its interval over states; None with fewer than two such states.
    """
    off = np.flatnonzero(imbalance(env_id, observations, usual) > 0)
    if len(off) < 2:
        return None
    states = observations[off]
    after = imbalance(env_id, step_from(env_id, states, actions[off], should_stop), usual)
    rng = np.random.default_rng(seed)
    shares = np.zeros(len(off))
    for _ in range(RANDOM_ACTIONS):
        random = rng.uniform(-1, 1, size=(len(off), actions.shape[1]))
        other = imbalance(env_id, step_from(env_id, states, random, should_stop), usual)
        shares += ((after < other) + 0.5 * (after == other)) / RANDOM_ACTIONS
    return mean_interval(shares)
