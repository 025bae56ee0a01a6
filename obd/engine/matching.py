"""Gradient matching: distillation without unrolling (Light, Liu, Hu 2024, arXiv 2407.20299).

The set is good when a student that learns from it is pushed the way the real data would push it.  For a student theta,

    g_syn = grad_theta 1/N sum_i || pi(s_i) - a_i ||^2        on all synthetic pairs,
    g_real = grad_theta mean_b w_b || pi(s_b) - y_b ||^2      on a batch of real states,
    H(theta) = || g_syn - g_real ||^2 / || g_real ||^2,

averaged over fresh students at all stages of the recipe's training on the set itself; theta counts as constant.  Zero
is a perfect match, 1 is what no gradient at all would give.  The paper takes the numerator alone, with one student that
goes on learning; the quotient weighs early and late students alike.  Where the paper has class labels and moves the
states only, here the actions are continuous and move too.

dH/ds and dH/da are d<u, g_syn> with u = 2 (g_syn - g_real) / || g_real ||^2: what the adjoint of a single inner step
yields (:mod:`obd.engine.unroll`).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from obd.engine.network import Parameters, Shape, outer_loss
from obd.engine.unroll import Unroll

SMALLEST = 1e-12  # of || g_real ||^2


class GradientMatching:
    """H and its gradient with respect to the synthetic pairs; the memory is allocated once.

    Args:
        shape, momentum, decay: of the students' training, as in :class:`obd.engine.unroll.Unroll`.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        momentum: float,
        decay: bool,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.student = Unroll(shape, momentum=momentum, decay=decay, keep=False, dtype=dtype, device=device)
        single = replace(shape, steps=1, batch=0)
        self.probe = Unroll(single, momentum=0.0, decay=False, dtype=dtype, device=device)

    def gradients(
        self,
        start: Parameters,
        observations: Tensor,
        actions: Tensor,
        step_sizes: Tensor,
        steps: int,
        states: Tensor,
        targets: Tensor,
        weights: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compare gradients where students are after ``steps`` steps from ``start``.

        Args:
            observations, actions: normalised synthetic pairs ``[R, N, obs_dim]`` and ``[R, N, act_dim]``.
            step_sizes: of the students' training, ``[R, L]``.
            states, targets, weights: real ones, ``[R, B, obs_dim]``, ``[R, B, act_dim]`` and ``[R, B]`` or None.

        Returns:
            H ``[R]``, dH/dobservations and dH/dactions.
        """
        student = self.student.train(start, observations, actions, step_sizes, steps)
        self.probe.train(student, observations, actions, torch.ones_like(step_sizes))
        synthetic = self.probe.velocity  # after one step without momentum: the gradient
        _, gradient = outer_loss(student, states, targets, weights)
        real = torch.cat([tensor.flatten(1) for pair in gradient for tensor in pair], dim=1)
        scale = real.square().sum(1).clamp_min(SMALLEST)
        difference = synthetic - real
        loss = difference.square().sum(1) / scale
        # The adjoint of one step of size 1 takes dH/dtheta_1 to u = -dH/dtheta_1.
        towards = self.probe.layers_of(difference.mul_(-2.0 / scale[:, None]))
        observation_gradient, action_gradient, _ = self.probe.adjoint(towards)
        return loss, observation_gradient, action_gradient
