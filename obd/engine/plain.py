"""The same hypergradient by generic automatic differentiation: slow, simple and independent of `unroll`.

It serves as the reference in the tests and as the opponent in ``python -m obd bench engine``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from obd.engine.network import Parameters


def policy(parameters: Parameters, observations: Tensor) -> Tensor:
    """tanh policy, ``[N, obs_dim] -> [N, act_dim]``; parameters without the replica dimension."""
    hidden = observations
    for weight, bias in parameters[:-1]:
        hidden = torch.relu(torch.nn.functional.linear(hidden, weight.T, bias))
    weight, bias = parameters[-1]
    return torch.tanh(torch.nn.functional.linear(hidden, weight.T, bias))


def hypergradient(
    start: Parameters,
    observations: Tensor,
    actions: Tensor,
    log_step_sizes: Tensor,
    *,
    steps: int,
    momentum: float,
    decay: bool,
    states: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    block: Callable[[int], slice] = lambda _step: slice(None),
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """H and its gradient with respect to (observations, actions, log step sizes) for one replica.

    ``block`` says which pairs an inner step uses.  The inner training is unrolled with ``create_graph=True`` and
    differentiated through (double backward).
    """
    inputs = tuple(x.detach().clone().requires_grad_() for x in (observations, actions, log_step_sizes))
    observations, actions, log_step_sizes = inputs
    flat = [tensor.detach().clone().requires_grad_() for pair in start for tensor in pair]
    velocity: list[Tensor] = [torch.zeros_like(tensor) for tensor in flat]

    def pairs(values: list[Tensor]) -> Parameters:
        return [(values[i], values[i + 1]) for i in range(0, len(values), 2)]

    for step in range(steps):
        rows = block(step)
        loss = (policy(pairs(flat), observations[rows]) - actions[rows]).square().sum(1).mean()
        gradients = torch.autograd.grad(loss, flat, create_graph=True)
        velocity = [momentum * v + g for v, g in zip(velocity, gradients, strict=True)]
        rates = log_step_sizes.exp() * (1 - step / steps if decay else 1.0)
        flat = [p - rates[index // 2] * v for index, (p, v) in enumerate(zip(flat, velocity, strict=True))]
    errors = (policy(pairs(flat), states) - targets).square().sum(1)
    objective = (errors if weights is None else errors * weights).mean()
    return objective.detach(), torch.autograd.grad(objective, inputs)
