"""What the outer loop asks of the student: a target action and a weight for every real state.

Every objective of Lei et al. 2024 (arXiv 2410.22728) is a weighted squared error over the offline states,

    H(pi) = E_{(s,a) ~ D_off} w(s) || pi(s) - y(s) ||^2,

and differs in the target y and the weight w only:

    DBC      y = a,       w = 1                 (eq. 3, data-based)
    PBC      y = pi*(s),  w = 1                 (eq. 4, policy-based)
    Av-PBC   y = pi*(s),  w = q*(s, pi*(s))     (eq. 8, action-value weighted)

Gradient matching (Light, Liu, Hu 2024, arXiv 2407.20299) has the targets and weights of PBC but compares gradients of
this error instead of the error (:mod:`obd.engine.matching`).

State-density weighting (SDW; Lei, Cheng, Tao 2025, arXiv 2512.06692) multiplies the weight of any of them by
d(s)^-tau, where d is the density of the offline states: rare states count more (:func:`density_weights`).

With a teacher and fewer than 256 pairs, states that it would visit count more (:func:`visitation_weights`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from obd.config import OBJECTIVES, DistillConfig
from obd.data.dataset import Float, OfflineDataset
from obd.data.density import state_log_density
from obd.errors import ObdError
from obd.teachers.networks import set_precision

PAPER_BETA = 0.02  # published scale of the raw action values
SHIFT_QUANTILE = 0.01
SHIFT_FLOOR = 0.1
VISITATION_STEPS = 20  # actions before a state that are compared with the teacher's
VISITATION_FLOOR = 0.1
VISITATION_SAMPLE = 100_000  # states that the scale of the comparison is found on
DENSITY_CLIP = 10.0  # a state counts at most so many times more or less than one of median density


class TargetTeacher(Protocol):
    """The near-expert as the objectives see it."""

    def act(self, observations: Tensor) -> Tensor: ...

    def q(self, observations: Tensor, actions: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class OuterTargets:
    """Targets ``[M, act_dim]`` and weights ``[M]`` (None means ones) for all states of a dataset."""

    targets: Tensor
    weights: Tensor | None


def needs_teacher(objective: str) -> bool:
    return objective != "dbc"


def needs_values(objective: str) -> bool:
    return objective == "av_pbc"


def matches_gradients(objective: str) -> bool:
    return objective == "gradient_matching"


def run_targets(config: DistillConfig, dataset: OfflineDataset, teacher: TargetTeacher | None) -> OuterTargets:
    """Targets and weights of a run: the objective's, times those of density and of visitation where they are asked for.

    Computed once, when a run starts or goes on; the same settings give the same bits.  Raises as
    :func:`outer_targets` does.
    """
    set_precision(config.precision)  # process-wide, so that whoever ran before does not matter
    outer = outer_targets(config.objective, dataset, teacher, config.q_weighting)
    weights = outer.weights
    factors = []
    if config.density_power > 0:
        factors.append(density_weights(state_log_density(dataset, config.seed), config.density_power))
    if config.share_of_states < 1:
        factors.append(visitation_weights(dataset, outer.targets.numpy(), config.share_of_states))
    for factor in map(torch.from_numpy, factors):
        weights = factor if weights is None else weights * factor
    return OuterTargets(outer.targets, weights)


def visitation_weights(dataset: OfflineDataset, teacher_actions: Float, share: float) -> Float:
    """How much each state of the data ``[M]`` is like those that the teacher would visit, scaled to mean 1.

    In Theorem 2 of Lei et al. 2024 the expectation is over the states that the student visits, and a good student
    goes where its teacher goes; the data also hold what clumsy policies came to see.  A state that the data came to
    by the teacher's own actions is one that the teacher comes to as well, so

        w(s_t) = exp(-m_t / tau),    m_t = mean over the 20 steps before t of (a - pi*(s))^2, per action dimension,

    with m = 0 at the start of an episode and 10 % of uniform weight, so that no state is ignored.  The scale tau is
    such that the effective share of the data, (sum w)^2 / (M sum w^2) (Kish, Survey Sampling, 1965), is ``share``, or
    more where the data hardly differ from the teacher.

    Args:
        teacher_actions: pi*(s) for all states, ``[M, act_dim]``.
        share: in (0, 1].
    """
    errors = np.square(dataset.actions - teacher_actions).mean(1, dtype=np.float64)
    sums = np.concatenate([[0.0], np.cumsum(errors)])
    here = np.arange(len(dataset))
    first = np.maximum(dataset.episode_starts[dataset.episode_index], here - VISITATION_STEPS)
    before = (sums[here] - sums[first]) / np.maximum(here - first, 1)

    def weights(tau: float, rows: slice = slice(None)) -> NDArray[np.float64]:
        near: NDArray[np.float64] = np.exp(-before[rows] / tau)
        mixed: NDArray[np.float64] = VISITATION_FLOOR + (1 - VISITATION_FLOOR) * near / near.mean()
        return mixed

    sample = slice(None, None, 1 + len(dataset) // VISITATION_SAMPLE)
    low, high = 1e-6, 1e6
    while high / low > 1.001:
        tau = (low * high) ** 0.5
        found = weights(tau, sample)
        low, high = (low, tau) if found.mean() ** 2 >= share * np.square(found).mean() else (tau, high)
    scaled: Float = weights(high).astype(np.float32)
    return scaled


def density_weights(log_density: Float, power: float) -> Float:
    """``d ** -power`` from log d ``[M]``, clipped to within a factor of 10 of its median, then scaled to mean 1.

    Without the clip a handful of states would take all the weight: in 17 dimensions log d spreads over 50 nats.
    """
    exponents = -power * (log_density - np.median(log_density)).astype(np.float64)
    weights = np.exp(np.clip(exponents, -np.log(DENSITY_CLIP), np.log(DENSITY_CLIP)))
    scaled: Float = (weights / weights.mean()).astype(np.float32)
    return scaled


def outer_targets(
    objective: str, dataset: OfflineDataset, teacher: TargetTeacher | None, q_weighting: str = "shifted"
) -> OuterTargets:
    """Evaluate an objective's targets and weights once for the whole dataset.

    Raises:
        ObdError: unknown objective, or the objective needs a teacher and there is none.
    """
    if objective not in OBJECTIVES:
        raise ObdError(f"Unknown objective {objective!r}; known are {', '.join(OBJECTIVES)}.")
    if not needs_teacher(objective):
        return OuterTargets(torch.from_numpy(dataset.actions), None)
    if teacher is None:
        raise ObdError(f"The objective {objective} needs a teacher; train one with `python -m obd teach`.")
    observations = torch.from_numpy(dataset.observations)
    with torch.no_grad():
        targets = teacher.act(observations)
        q = teacher.q(observations, targets) if needs_values(objective) else None
    weights = None if q is None else q_weights(q.clone(), q_weighting)
    return OuterTargets(targets.clone(), weights)


def q_weights(q: Tensor, weighting: str) -> Tensor:
    """Weights from action values ``[M]``.

    ``raw`` is the published 0.02 q (negative values push the student away from the teacher).  ``shifted`` cannot
    be negative: adding a constant c to every reward changes no policy and adds c / (1 - gamma) to every q, so q is
    only defined up to a shift; we choose the shift that puts its 1 % quantile at zero, raise what lies below to
    zero, scale to mean 1, and mix in 10 % of uniform weight so that no state is ignored.
    """
    if weighting == "raw":
        return PAPER_BETA * q
    ordered = q.sort().values
    floor = ordered[int(SHIFT_QUANTILE * (len(ordered) - 1))]
    positive = (q - floor).clamp_min(0)
    mean = positive.mean()
    if not bool(mean > 0):  # a constant critic says nothing about states
        return torch.ones_like(q)
    return SHIFT_FLOOR + (1 - SHIFT_FLOOR) * positive / mean
