"""How well policies act: parallel rollouts, normalised returns, spread and intervals."""

from __future__ import annotations

import math
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit  # scipy.stats looks into torch, which another thread may be importing

from obd.data.dataset import normalized_return
from obd.data.simulate import from_unit, make_env
from obd.data.workers import end_with_parent, without_main_module
from obd.errors import Cancelled, ObdError
from obd.events import ShouldStop
from obd.policy import Policy

POLL_SECONDS = 0.1
Returns = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """Returns of several policies ("students") trained on the same data.

    The spread is the standard deviation over students of their mean return.  The interval is Student's t over
    students (one policy: over its episodes), so it covers the noise of training and of the start states.
    """

    normalized_return_mean: float
    normalized_return_std_over_students: float
    normalized_return_ci95: tuple[float, float]
    return_mean: float
    students: int
    episodes: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"normalized_return_ci95": list(self.normalized_return_ci95)}


def play_episode(env_id: str, policy: Policy, seed: int, max_steps: int | None = None) -> float:
    """Undiscounted return of one episode of the deterministic policy; runs in worker processes."""
    env = _environment(env_id)
    low, high = env.action_space.low, env.action_space.high
    limit = max_steps or 10**9
    observation, _ = env.reset(seed=seed)
    total, over, steps = 0.0, False, 0
    while not over and steps < limit:
        action = np.clip(policy.act(np.asarray(observation, np.float32)[None])[0], -1, 1)
        if not np.all(np.isfinite(action)):  # a student that diverged does not act at all
            action = np.zeros_like(action)
        observation, reward, terminated, truncated, _ = env.step(from_unit(action, low, high))
        total += float(reward)
        over = bool(terminated or truncated)
        steps += 1
    return total


@lru_cache(maxsize=4)
def _environment(env_id: str) -> Any:
    return make_env(env_id)


def _prepare_worker() -> None:
    end_with_parent()
    os.environ["OMP_NUM_THREADS"] = "1"
    if hasattr(os, "nice"):  # a rollout must not delay the page
        os.nice(5)


@lru_cache(maxsize=1)
def _process_pool() -> ProcessPoolExecutor:
    """Worker processes that stay alive, one per core."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(os.cpu_count() or 1, mp_context=context, initializer=_prepare_worker)


def rollout_returns(
    env_id: str,
    policies: Sequence[Policy],
    episodes: int,
    seed: int = 0,
    *,
    workers: int | None = None,
    max_steps: int | None = None,
    on_progress: Callable[[float], None] | None = None,
    should_stop: ShouldStop | None = None,
) -> Returns:
    """Returns ``[P, episodes]`` of deterministic policies, played in parallel processes.

    Episode e starts from the same state for every policy.  The result does not depend on the number of workers;
    ``workers=1`` plays in the calling thread.

    Raises:
        ObdError: the environment cannot be made, or a worker process died.
        Cancelled: ``should_stop()`` returned true.
    """
    seeds = np.random.SeedSequence(seed).generate_state(episodes, np.uint32).astype(np.int64) % 2**31
    jobs = [(p, e) for p in range(len(policies)) for e in range(episodes)]
    returns = np.full((len(policies), episodes), np.nan)
    if workers == 1:
        for done, (p, e) in enumerate(jobs):
            if should_stop is not None and should_stop():
                raise Cancelled
            returns[p, e] = play_episode(env_id, policies[p], int(seeds[e]), max_steps)
            if on_progress is not None:
                on_progress((done + 1) / len(jobs))
        return returns
    _environment(env_id)  # a wrong name fails here, in one sentence
    try:
        with without_main_module():
            futures: dict[Future[float], tuple[int, int]] = {
                _process_pool().submit(play_episode, env_id, policies[p], int(seeds[e]), max_steps): (p, e)
                for p, e in jobs
            }
        return _gather(futures, returns, on_progress, should_stop)
    except BrokenProcessPool as error:
        _process_pool.cache_clear()
        raise ObdError("A rollout process ended unexpectedly (out of memory?); start the evaluation again.") from error


def _gather(
    futures: dict[Future[float], tuple[int, int]],
    returns: Returns,
    on_progress: Callable[[float], None] | None,
    should_stop: ShouldStop | None,
) -> Returns:
    pending = set(futures)
    try:
        while pending:
            done, pending = wait(pending, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                returns[futures[future]] = future.result()
            if on_progress is not None:
                on_progress(1 - len(pending) / len(futures))
            if should_stop is not None and should_stop():
                raise Cancelled
    finally:
        for future in pending:
            future.cancel()
    return returns


def summarize(returns: Returns, reference: tuple[float, float] | None, seconds: float = 0.0) -> Score:
    """Mean, spread over students and 95 % interval of returns ``[P, E]``."""
    values = normalized_return(returns, reference)
    students, episodes = values.shape
    samples = values.mean(axis=1) if students > 1 else values[0]
    mean = float(samples.mean())
    half = 0.0
    if len(samples) > 1:
        error = float(samples.std(ddof=1)) / math.sqrt(len(samples))
        half = error * float(stdtrit(len(samples) - 1, 0.975))  # Student's t
    spread = float(values.mean(axis=1).std(ddof=1)) if students > 1 else 0.0
    raw_mean = float((returns.mean(axis=1) if students > 1 else returns[0]).mean())  # as above, to the last bit
    return Score(mean, spread, (mean - half, mean + half), raw_mean, students, episodes, seconds)


def evaluate(
    env_id: str,
    policies: Sequence[Policy],
    reference: tuple[float, float] | None,
    *,
    episodes: int = 10,
    seed: int = 0,
    on_progress: Callable[[float], None] | None = None,
    should_stop: ShouldStop | None = None,
) -> Score:
    """Roll out and summarise; see :func:`rollout_returns` for what it raises."""
    start = time.perf_counter()
    returns = rollout_returns(env_id, policies, episodes, seed, on_progress=on_progress, should_stop=should_stop)
    return summarize(returns, reference, round(time.perf_counter() - start, 2))
