"""Students as networks batched over replicas: their sizes, fresh starts, actions, and H with its gradient.

How they are trained, and the way back through that, is :mod:`obd.engine.unroll`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

GAIN = 2**0.5  # of orthogonal weights, made for ReLU

Parameters = list[tuple[Tensor, Tensor]]  # per layer: weight [R, in, out] and bias [R, 1, out]


@dataclass(frozen=True)
class Shape:
    """Sizes of a batch of inner problems."""

    replicas: int
    size: int
    observation_dim: int
    action_dim: int
    hidden: tuple[int, ...]
    steps: int
    batch: int = 0  # pairs per inner step; 0 means all of them

    @property
    def rows(self) -> int:
        """Pairs that one inner step looks at."""
        return min(self.batch, self.size) or self.size

    def block(self, step: int) -> slice:
        """The pairs of inner step ``step``: blocks of ``rows`` in turn; the last may overlap its neighbour."""
        blocks = -(-self.size // self.rows)
        start = min((step % blocks) * self.rows, self.size - self.rows)
        return slice(start, start + self.rows)

    @property
    def widths(self) -> tuple[int, ...]:
        return (self.observation_dim, *self.hidden, self.action_dim)

    def bytes(self, itemsize: int = 4) -> int:
        """Memory of the stored trajectory: parameters, activations and their gradients at every step.

        ``itemsize``: of a number inside matrix products.
        """
        pairs = list(zip(self.widths[:-1], self.widths[1:], strict=True))
        parameters = sum(i * o + o for i, o in pairs)
        activations = 2 * self.steps * self.rows * sum(self.widths[1:])
        return self.replicas * itemsize * (parameters * (self.steps + 6) + activations)

    def flops(self, batch_size: int = 0) -> int:
        """Floating point operations of one hypergradient: 9 products per weight matrix, inner step and pair."""
        weights = sum(i * o for i, o in zip(self.widths[:-1], self.widths[1:], strict=True))
        return self.replicas * 2 * weights * (9 * self.steps * self.rows + 3 * batch_size)


def bits(tensor: Tensor) -> Tensor:
    """The same memory as integers."""
    return tensor.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()])


def relu_grad_(gradient: Tensor, activation: Tensor, mask: Tensor) -> None:
    """Zero a gradient in place where the ReLU's output ``activation`` is zero; all three as :func:`bits`.

    Read as an integer a positive number is positive, and minus zero is not.  In bfloat16 this takes half the time of
    PyTorch's own function, in float32 the same.
    """
    torch.clamp(activation, 0, 1, out=mask)
    gradient.mul_(mask)


def forward(
    parameters: Sequence[tuple[Tensor, Tensor]], observations: Tensor, compute: torch.dtype | None = None
) -> list[Tensor]:
    """Activations of every layer for ``observations`` ``[R, B, obs_dim]``; the last is the action ``tanh(z)``.

    ``compute``: of the products and hidden activations; default and always the action's: that of ``observations``.
    """
    activations = [observations.to(compute)]
    last = len(parameters) - 1
    for layer, (weight, bias) in enumerate(parameters):
        hidden = torch.bmm(activations[-1], weight.to(compute)).add_(bias)
        activations.append(hidden.to(observations.dtype).tanh_() if layer == last else hidden.relu_())
    return activations


def outer_loss(
    parameters: Parameters,
    observations: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    compute: torch.dtype | None = None,
) -> tuple[Tensor, Parameters]:
    """The objective H = mean_b w_b ||pi(s_b) - y_b||^2 and its gradient with respect to the student.

    Args:
        parameters: student parameters.
        observations: normalised real states ``[R, B, obs_dim]``.
        targets: ``[R, B, act_dim]``.
        weights: ``[R, B]`` or None for ones.
        compute: of the matrix products and hidden activations, as in :class:`Unroll`.

    Returns:
        H per replica ``[R]`` and dH/dtheta.
    """
    activations = forward(parameters, observations, compute)
    output = activations[-1]
    error = output - targets
    scaled = error if weights is None else error * weights[..., None]
    batch = observations.shape[1]
    loss = (scaled * error).sum((1, 2)) / batch
    delta = (scaled * (1.0 - output * output) * (2.0 / batch)).to(compute)
    gradient: Parameters = []
    for layer in reversed(range(len(parameters))):
        gradient.append((torch.bmm(activations[layer].mT, delta), delta.sum(1, keepdim=True)))
        if layer:
            below = bits(activations[layer])
            delta = torch.bmm(delta, parameters[layer][0].mT.to(compute))
            relu_grad_(bits(delta), below, torch.empty_like(below))
    return loss, gradient[::-1]


def orthogonal_parameters(
    shape: Shape, generator: torch.Generator, output_gain: float = GAIN, dtype: torch.dtype = torch.float32
) -> Parameters:
    """Fresh students on the CPU: orthogonal weights, zero biases.

    The gain is sqrt(2) (Lei et al. 2024, appendix) but for the last layer, where it is ``output_gain``: a small one
    lets every student start from nearly the same, neutral action.
    """
    parameters: Parameters = []
    for inputs, outputs in zip(shape.widths[:-1], shape.widths[1:], strict=True):
        tall = torch.randn(shape.replicas, max(inputs, outputs), min(inputs, outputs), generator=generator, dtype=dtype)
        basis, upper = torch.linalg.qr(tall)
        basis = basis * torch.sign(torch.diagonal(upper, dim1=-2, dim2=-1))[:, None, :]  # uniform over the group
        weight = basis if inputs >= outputs else basis.mT
        parameters.append((weight.contiguous() * GAIN, torch.zeros(shape.replicas, 1, outputs, dtype=dtype)))
    last_weight, last_bias = parameters[-1]
    parameters[-1] = (last_weight * (output_gain / GAIN), last_bias)
    return parameters
