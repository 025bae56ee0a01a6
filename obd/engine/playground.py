"""Distillation of a two-dimensional problem, small enough to watch: the same engine, tens of outer steps a second.

A synthetic point is (angle, velocity, action).  The student sees (cos, sin, velocity), normalised as everywhere; the
hypergradient that the engine returns for this observation is pulled back to the two coordinates,

    dH/dangle = -sin(angle) / std_0 * g_0 + cos(angle) / std_1 * g_1,       dH/dvelocity = g_2 / std_2,

so a point never leaves the picture and can be dragged with a hand.
"""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from obd.data.dataset import OfflineDataset
from obd.data.pendulum import MAX_SPEED, mixed_dataset, observe, returns_of
from obd.engine.drawing import generator
from obd.engine.network import Parameters, Shape, forward, orthogonal_parameters, outer_loss
from obd.engine.unroll import Unroll
from obd.errors import ObdError
from obd.objectives import outer_targets
from obd.teachers.value_iteration import PendulumTeacher, pendulum_teacher

HIDDEN = (32, 32)
MOMENTUM, OUTPUT_GAIN, STEP_SIZE = 0.9, 0.3, 0.1
BATCH, FRESH = 512, 4  # real states and students averaged per outer step
POINT_RATE, ACTION_RATE, RATE_RATE = 0.03, 0.03, 0.01  # Adam's step sizes outside
SPEED_SCALE = MAX_SPEED / np.pi  # a velocity in units in which the picture is as high as it is wide
MAX_POINTS = 64
SHOWN, MEASURED = 1_000_001, 1_000_002  # keys of initialisations that no outer step uses
CLIP, SKIP, CLIP_WINDOW = 1.5, 10.0, 50  # the hypergradient's norm, relative to its running median
HIGHEST_RATE = 0.2  # a larger step size makes the inner training of so small a student unstable

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Settings:
    """What the sliders set."""

    objective: str = "av_pbc"
    size: int = 16
    inner_steps: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MAX_POINTS:
            raise ObdError(f"The playground holds 1 to {MAX_POINTS} points, not {self.size}.")
        if not 1 <= self.inner_steps <= 100:
            raise ObdError(f"Inner steps go from 1 to 100, not {self.inner_steps}.")


@dataclass(frozen=True)
class Problem:
    """The pendulum's dataset, its teacher, and the three objectives' targets and weights of every real state."""

    dataset: OfflineDataset
    teacher: PendulumTeacher
    states: Tensor  # normalised observations [M, 3]
    targets: dict[str, Tensor]  # objective -> [M, 1]
    weights: dict[str, Tensor | None]  # objective -> [M] or None
    mean: Tensor
    std: Tensor

    @classmethod
    def build(cls, dtype: torch.dtype = torch.float32) -> Problem:
        """Seeded data of mixed quality and the teacher from value iteration; about a second."""
        dataset, teacher = mixed_dataset(), pendulum_teacher()
        aims = {key: outer_targets(key, dataset, teacher) for key in ("dbc", "pbc", "av_pbc")}
        return cls(
            dataset,
            teacher,
            torch.from_numpy(dataset.normalize(dataset.observations)).to(dtype),
            {key: aim.targets.to(dtype) for key, aim in aims.items()},
            {key: None if aim.weights is None else aim.weights.to(dtype) for key, aim in aims.items()},
            torch.from_numpy(dataset.observation_mean).to(dtype),
            torch.from_numpy(dataset.observation_std).to(dtype),
        )

    def random_pairs(self, size: int, seed: int, objective: str) -> Tensor:
        """``size`` real states as points ``[size, 3]`` with the actions of the objective's target."""
        source = np.random.default_rng((seed, 7))
        chosen = source.choice(len(self.dataset), size, replace=False)
        cosine, sine, velocity = self.dataset.observations[chosen].astype(np.float64).T
        actions = self.targets[objective][chosen, 0].numpy()
        return torch.from_numpy(np.stack([np.arctan2(sine, cosine), velocity / SPEED_SCALE, actions], 1)).to(
            self.states
        )


def observations_of(points: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Normalised observations ``[N, 3]`` of points ``[N, >=2]`` (angle, velocity / SPEED_SCALE)."""
    raw = torch.stack([points[:, 0].cos(), points[:, 0].sin(), points[:, 1] * SPEED_SCALE], dim=1)
    return (raw - mean) / std


def pull_back(points: Tensor, gradient: Tensor, std: Tensor) -> Tensor:
    """dH/d(angle, velocity / SPEED_SCALE) ``[N, 2]`` from dH/d(normalised observation) ``[N, 3]``."""
    raw = gradient / std
    angle = points[:, 0].cos() * raw[:, 1] - points[:, 0].sin() * raw[:, 0]
    return torch.stack([angle, raw[:, 2] * SPEED_SCALE], dim=1)


class _Adam:
    """Adam's direction (Kingma & Ba 2015) for rows that come and go; every row counts its own steps."""

    def __init__(self, like: Tensor) -> None:
        self.first, self.second = torch.zeros_like(like), torch.zeros_like(like)
        self.count = torch.zeros(len(like), *[1] * (like.dim() - 1), dtype=like.dtype)

    def direction(self, gradient: Tensor) -> Tensor:
        self.count += 1
        self.first.lerp_(gradient, 0.1)
        self.second.lerp_(gradient.square(), 0.01)
        return (self.first / (1 - 0.9**self.count)) / ((self.second / (1 - 0.99**self.count)).sqrt() + 1e-8)

    def keep(self, rows: list[int], new: int = 0) -> None:
        """Keep ``rows`` and append ``new`` fresh ones."""
        for name in ("first", "second", "count"):
            kept = getattr(self, name)[rows]
            setattr(self, name, torch.cat([kept, kept.new_zeros(new, *kept.shape[1:])]))

    def forget(self, row: int) -> None:
        for tensor in (self.first, self.second, self.count):
            tensor[row] = 0


class Playground:
    """The state of one small distillation.

    Attributes:
        points: ``[N, 3]``: angle, velocity / SPEED_SCALE, action in [-1, 1].
        gradient: the last hypergradient with respect to the points.
        steps, losses: outer steps taken and the loss before each.
    """

    def __init__(self, problem: Problem, settings: Settings) -> None:
        self.problem, self.settings = problem, settings
        self.points = problem.random_pairs(settings.size, settings.seed, settings.objective)
        self.log_rates = torch.full((len(HIDDEN) + 1,), float(np.log(STEP_SIZE)), dtype=self.points.dtype)
        self.steps = 0
        self.losses: list[float] = []
        self._norms: deque[float] = deque(maxlen=CLIP_WINDOW)
        self._point_adam, self._rate_adam = _Adam(self.points), _Adam(self.log_rates)
        self._resized()

    def adapt(self, settings: Settings) -> None:
        """Go on with other settings; points stay where they are, missing ones are real pairs, surplus ones go."""
        self.settings = settings
        for _ in range(len(self.points) - settings.size):
            self.delete(len(self.points) - 1)
        if len(self.points) < settings.size:
            spare = self.problem.random_pairs(settings.size, settings.seed, settings.objective)
            new = spare[len(self.points) :]
            self._point_adam.keep(list(range(len(self.points))), new=len(new))
            self.points = torch.cat([self.points, new])
        self.steps, self.losses = 0, []
        self._norms.clear()
        self._resized()

    def start_from(self, points: Array, log_rates: Array) -> None:
        """Go on from a stored set: points ``[N, 3]`` in the units of :attr:`points`, logarithms of step sizes."""
        self.points = _inside(torch.as_tensor(np.asarray(points), dtype=self.points.dtype))
        self.log_rates = torch.as_tensor(np.asarray(log_rates), dtype=self.points.dtype)
        self._point_adam = _Adam(self.points)
        self._resized()

    # -- by hand ---------------------------------------------------------------------------------------------

    def move(self, index: int, angle: float, velocity: float) -> None:
        """Drag a point; an index that is not there any more is ignored."""
        self._set(index, slice(0, 2), [angle, velocity / SPEED_SCALE])

    def turn(self, index: int, action: float) -> None:
        """Change a point's action."""
        self._set(index, slice(2, 3), [action])

    def _set(self, index: int, columns: slice, values: list[float]) -> None:
        if 0 <= index < len(self.points) and np.all(np.isfinite(values)):
            self.points[index, columns] = torch.tensor(values, dtype=self.points.dtype)
            self.points = _inside(self.points)
            self._point_adam.forget(index)

    def add(self, angle: float, velocity: float, action: float | None = None) -> None:
        """Put a point down, with the teacher's action there unless one is given; ignored when there are 64."""
        if len(self.points) >= MAX_POINTS or not (np.isfinite(angle) and np.isfinite(velocity)):
            return
        if action is None:
            action = float(self.problem.teacher.actions_at(np.array(angle), np.array(velocity)))
        row = self.points.new_tensor([[angle, velocity / SPEED_SCALE, action]])
        self._point_adam.keep(list(range(len(self.points))), new=1)
        self.points = _inside(torch.cat([self.points, row]))
        self._resized()

    def delete(self, index: int) -> None:
        """Take a point away; the last one stays."""
        if 0 <= index < len(self.points) and len(self.points) > 1:
            kept = [i for i in range(len(self.points)) if i != index]
            self._point_adam.keep(kept)
            self.points = self.points[kept]
            self._resized()

    def _resized(self) -> None:
        self.gradient = torch.zeros_like(self.points)
        self._unroll = self._new_unroll(FRESH)
        self._shown = self._new_unroll(1)

    # -- the two loops -----------------------------------------------------------------------------------------

    def students(self, count: int = 1, key: int = SHOWN, inner_steps: int | None = None) -> Parameters:
        """Students trained on the points as they are now, from initialisations that the outer loop never uses.

        Args:
            count: how many, the leading dimension of the result.
            key: which initialisations.
            inner_steps: stop after so many of the recipe's steps; the step sizes stay those of the whole recipe.
        """
        unroll = self._shown if count == 1 else self._new_unroll(count)
        self._train(unroll, key)
        last = unroll.shape.steps
        final = unroll.path_layers[last if inner_steps is None else min(max(inner_steps, 0), last)]
        return [(weight.clone(), bias.clone()) for weight, bias in final]

    def hypergradient(self, step: int) -> tuple[float, Tensor, Tensor]:
        """H, its gradient with respect to the points ``[N, 3]`` and to the logarithms of the step sizes ``[L]``.

        The step's number fixes the real states and the students' initialisations.
        """
        problem, key = self.problem, self.settings.objective
        rows = torch.randint(len(problem.states), (BATCH,), generator=generator(self.settings.seed, step, 1))
        weights = problem.weights[key]
        loss, slope = outer_loss(
            self._train(self._unroll, step),
            problem.states[rows].expand(FRESH, -1, -1),
            problem.targets[key][rows].expand(FRESH, -1, -1),
            None if weights is None else weights[rows].expand(FRESH, -1),
        )
        by_observation, by_action, by_rate = self._unroll.adjoint(slope)
        by_state = pull_back(self.points, by_observation.mean(0), problem.std)
        return float(loss.mean()), torch.cat([by_state, by_action.mean(0)], dim=1), by_rate.mean(0)

    def look(self) -> None:
        """Compute the hypergradient of the next step without taking it: where the points want to go."""
        _, self.gradient, _ = self.hypergradient(self.steps)

    def step(self) -> float:
        """One outer step (Adam on points and logarithms of step sizes); returns the loss before it."""
        loss, self.gradient, by_rate = self.hypergradient(self.steps)
        self.steps += 1
        self.losses.append(loss)
        norm = float(self.gradient.norm())
        if not np.isfinite(norm) or not bool(torch.isfinite(by_rate).all()):
            return loss
        typical = statistics.median(self._norms) if self._norms else norm
        self._norms.append(norm)
        if norm > SKIP * typical:
            return loss
        scale = min(1.0, CLIP * typical / max(norm, 1e-12))
        rates = self.points.new_tensor([POINT_RATE, POINT_RATE, ACTION_RATE])
        self.points = _inside(self.points - rates * self._point_adam.direction(self.gradient * scale))
        self.log_rates = self.log_rates - RATE_RATE * self._rate_adam.direction(by_rate * scale)
        self.log_rates.clamp_(max=float(np.log(HIGHEST_RATE)))
        return loss

    def _new_unroll(self, replicas: int) -> Unroll:
        shape = Shape(replicas, len(self.points), 3, 1, HIDDEN, self.settings.inner_steps)
        return Unroll(shape, momentum=MOMENTUM, decay=True, dtype=self.points.dtype)

    def _train(self, unroll: Unroll, key: int) -> Parameters:
        shape, dtype = unroll.shape, self.points.dtype
        start = orthogonal_parameters(shape, generator(self.settings.seed, key, 0), OUTPUT_GAIN, dtype)
        observations = observations_of(self.points, self.problem.mean, self.problem.std)
        every = (shape.replicas, -1, -1)
        return unroll.train(
            start,
            observations.expand(*every).contiguous(),
            self.points[:, 2:].expand(*every).contiguous(),
            self.log_rates.exp().expand(shape.replicas, -1),
        )


def _inside(points: Tensor) -> Tensor:
    """Wrap the angle and keep velocity and action within their bounds."""
    angle = torch.remainder(points[:, 0] + np.pi, 2 * np.pi) - np.pi
    return torch.stack([angle, points[:, 1].clamp(-np.pi, np.pi), points[:, 2].clamp(-0.99, 0.99)], dim=1)


def act(students: Parameters, problem: Problem, angle: Array, velocity: Array) -> Array:
    """Actions ``[R, B]`` of R students in states ``[R, B]`` (or ``[B]``, the same for all)."""
    raw = torch.from_numpy(np.asarray(observe(angle, velocity))).to(problem.states)
    observations = ((raw - problem.mean) / problem.std).expand(len(students[0][0]), -1, -1)
    result: Array = forward(students, observations)[-1][..., 0].numpy().astype(np.float64)
    return result


def student_returns(students: Parameters, problem: Problem, episodes: int = 24) -> NDArray[np.float64]:
    """Undiscounted returns ``[R, episodes]`` over 200 steps; every student starts from the same states."""
    count = len(students[0][0])
    return returns_of(lambda angle, velocity: act(students, problem, angle, velocity), episodes, count)
