"""The numbers behind "which states does distillation pick": measures of a distilled set beside those of its data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obd.data.dataset import OfflineDataset
from obd.insight.coverage import cover_radius, covered, density_percentile, nearest, neighbour_distance
from obd.insight.criticality import UsualPosture, criticality, imbalance, sensitivity, value_scale, visited
from obd.insight.effects import Effect, Interval, compare, mean_interval, median_interval
from obd.insight.pose import has_torso
from obd.insight.transition import restores_balance
from obd.teachers.teacher import Teacher

SAMPLE = 2000  # states of the data that stand for all of it, and that the map shows
MEASURES = ("criticality", "noisy", "sensitivity", "imbalance")

Array = NDArray[np.floating[Any]]
OnProgress = Callable[[float], None]
ShouldStop = Callable[[], bool]


def ignore(_fraction: float) -> None:
    """No progress wanted."""


def never() -> bool:
    """Do not stop."""
    return False


@dataclass(frozen=True)
class Reference:
    """A uniform sample of a dataset's states with everything measured on it.

    Attributes:
        observations: ``[M, obs_dim]`` raw units; ``normalized``: the same in standard deviations.
        values: by name of the measure (:data:`MEASURES`, "density"), ``[M]`` each; without a teacher only "density".
        distances: ``[M]`` to the tenth nearest other state.
        scale: standard deviation of q* over the data (1 without a teacher).
        usual: the teacher's usual posture, where the robot has a torso in a plane.
    """

    env_id: str
    observations: Array
    mean: Array
    std: Array
    teacher: Teacher | None
    scale: float
    usual: UsualPosture | None
    distances: Array
    values: dict[str, Array]

    @property
    def normalized(self) -> Array:
        return self.normalize(self.observations)

    def normalize(self, observations: Array) -> Array:
        result: Array = (observations - self.mean) / self.std
        return result


@dataclass(frozen=True)
class SetReport:
    """A distilled set of N states compared with its data, with random selection and with its own start.

    Attributes:
        values, start_values, random_values: ``[N]`` by measure ("density" included).
        effects: by measure, then by what it is compared with: "data", "random" or (paired) "start".
        radius: at which N random states cover half of the data.
        coverage, start_coverage: share of the data within that radius.
        density, start_density: median density percentile (50 is typical of the data).
        off_balance: share of the states outside the teacher's usual posture; None where that is unknown.
        start_off_balance, data_off_balance: the same share at the start and of the data.
        restored: how often the distilled action brings those nearer to it than a random one.
    """

    values: dict[str, Array]
    start_values: dict[str, Array]
    random_values: dict[str, Array]
    effects: dict[str, dict[str, Effect]]
    radius: float
    coverage: Interval
    start_coverage: Interval
    density: Interval
    start_density: Interval
    off_balance: float | None
    start_off_balance: float | None
    data_off_balance: float | None
    restored: Interval | None


def sample_index(dataset: OfflineDataset, count: int = SAMPLE, seed: int = 0) -> NDArray[np.int64]:
    """``[min(count, M)]`` distinct transitions, every one equally likely, in random order."""
    chosen: NDArray[np.int64] = np.random.default_rng(seed).permutation(len(dataset))[:count]
    return chosen


def measure_reference(
    dataset: OfflineDataset,
    teacher: Teacher | None,
    *,
    on_progress: OnProgress = ignore,
    should_stop: ShouldStop = never,
) -> Reference:
    """Measure the data once; takes seconds.  Raises ObdError if teacher and dataset do not match, or Cancelled."""
    index = sample_index(dataset)
    observations, scale, usual = dataset.observations[index], 1.0, None
    if teacher is not None:
        teacher.check_matches(dataset)
        scale = value_scale(teacher, observations, dataset.actions[index])
        if has_torso(dataset.env_id):
            own = visited(dataset.env_id, teacher.to_policy(), should_stop=should_stop)
            usual = UsualPosture.of(dataset.env_id, own)
    on_progress(0.1)
    normalized = dataset.normalize(observations)
    reference = Reference(
        env_id=dataset.env_id,
        observations=observations,
        mean=dataset.observation_mean,
        std=dataset.observation_std,
        teacher=teacher,
        scale=scale,
        usual=usual,
        distances=neighbour_distance(normalized, normalized),
        values={},
    )
    reference.values.update(measure_states(reference, observations, lambda f: on_progress(0.1 + 0.9 * f), should_stop))
    return reference


def measure_states(
    reference: Reference, observations: Array, on_progress: OnProgress = ignore, should_stop: ShouldStop = never
) -> dict[str, Array]:
    """All measures of raw states ``[B, obs_dim]``: those of :data:`MEASURES` that can be had, and "density"."""
    distances = neighbour_distance(reference.normalize(observations), reference.normalized)
    values: dict[str, Array] = {"density": density_percentile(distances, reference.distances)}
    teacher = reference.teacher
    if teacher is not None:
        for part, name in enumerate(("criticality", "noisy")):
            values[name] = criticality(
                teacher,
                observations,
                reference.scale,
                noisy=name == "noisy",
                on_progress=lambda f, part=part: on_progress((part + f) / 2),  # type: ignore[misc]
                should_stop=should_stop,
            )
        values["sensitivity"] = sensitivity(teacher, observations)
    if reference.usual is not None:
        values["imbalance"] = imbalance(reference.env_id, observations, reference.usual)
    return values


def measure_set(
    reference: Reference,
    observations: Array,
    actions: Array,
    start: Array,
    random: Array,
    *,
    on_progress: OnProgress = ignore,
    should_stop: ShouldStop = never,
) -> SetReport:
    """Compare distilled pairs with the data, with where they started and with random selection.

    Args:
        reference: of the set's dataset.
        observations, actions: ``[N, ...]``, raw units and in [-1, 1].
        start: ``[N, obs_dim]`` the same states at snapshot 0, row by row.
        random: ``[N, obs_dim]`` as many states drawn at random from the data.
    """
    groups = []
    for part, states in enumerate((observations, start, random)):
        report = lambda f, part=part: on_progress((part + f) / 4)  # noqa: E731
        groups.append(measure_states(reference, states, report, should_stop))
    values, start_values, random_values = groups
    effects = {
        name: {
            "data": compare(values[name], reference.values[name]),
            "random": compare(values[name], random_values[name]),
            "start": compare(values[name], start_values[name], paired=True),
        }
        for name in MEASURES
        if name in values
    }
    shares: list[float | None] = [None, None, None]
    restored = None
    if reference.usual is not None:
        shares = [float((group["imbalance"] > 0).mean()) for group in (values, start_values, reference.values)]
        restored = restores_balance(reference.env_id, observations, actions, reference.usual, should_stop=should_stop)
    on_progress(0.95)
    data = reference.normalized
    radius = cover_radius(data, len(observations))
    result = SetReport(
        values=values,
        start_values=start_values,
        random_values=random_values,
        effects=effects,
        radius=radius,
        coverage=_share(covered(reference.normalize(observations), data, radius)),
        start_coverage=_share(covered(reference.normalize(start), data, radius)),
        density=median_interval(values["density"]),
        start_density=median_interval(start_values["density"]),
        off_balance=shares[0],
        start_off_balance=shares[1],
        data_off_balance=shares[2],
        restored=restored,
    )
    on_progress(1.0)
    return result


def nearest_originals(
    dataset: OfflineDataset, observation: Array, count: int = 3
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The transitions whose states are nearest to one raw ``observation [obs_dim]``, over the whole dataset.

    Returns indices and distances in standard deviations per dimension (root mean square), ``[count]`` each.
    """
    data = dataset.observations / dataset.observation_std
    indices, distances = nearest(observation[None] / dataset.observation_std, data, count)
    return indices[0], distances[0]


def _share(members: NDArray[np.bool_]) -> Interval:
    return mean_interval(members.astype(np.float64))
