"""Inner training and its exact hypergradient, written by hand and batched over replicas.

Inner problem (Lei et al. 2024, arXiv 2410.22728, eq. 1): behaviour cloning of N synthetic pairs (s_i, a_i),

    L(theta) = 1/N sum_i || tanh(f_theta(s_i)) - a_i ||^2,

by T steps of heavy-ball SGD with one step size eta_l per layer and an optional linear decay d_t = 1 - t/T,

    v_{t+1} = mu v_t + grad L(theta_t),      theta_{t+1} = theta_t - eta_l d_t v_{t+1}.

The adjoint runs backwards in time.  With lambda = dH/dtheta_{t+1} and u_t = mu u_{t+1} - eta_l d_t lambda,

    dH/dtheta_t += (Hessian of L) u_t,   dH/ds += d<u_t, grad L>/ds,   dH/da += d<u_t, grad L>/da,
    dH/dlog(eta_l) += <lambda, theta_{t+1} - theta_t>.

The three products with u_t come from one forward-over-reverse sweep (Pearlmutter, "Fast exact multiplication by
the Hessian", 1994) over the activations stored on the way forward, so a step costs what the arithmetic needs:
3 matrix products per layer forward, 6 in the adjoint, and nothing is recomputed or allocated.
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

    @property
    def widths(self) -> tuple[int, ...]:
        return (self.observation_dim, *self.hidden, self.action_dim)

    def bytes(self, itemsize: int = 4) -> int:
        """Memory of the stored trajectory: parameters, activations and their gradients at every step."""
        pairs = list(zip(self.widths[:-1], self.widths[1:], strict=True))
        parameters = sum(i * o + o for i, o in pairs) * (self.steps + 3)
        activations = 2 * self.steps * self.size * sum(self.widths[1:])
        return itemsize * self.replicas * (parameters + activations)

    def flops(self, batch_size: int = 0) -> int:
        """Floating point operations of one hypergradient: 9 products per weight matrix, inner step and pair."""
        weights = sum(i * o for i, o in zip(self.widths[:-1], self.widths[1:], strict=True))
        return self.replicas * 2 * weights * (9 * self.steps * self.size + 3 * batch_size)


def relu_grad_(gradient: Tensor, activation: Tensor) -> Tensor:
    """Zero ``gradient`` in place where the ReLU's output ``activation`` is zero."""
    torch.ops.aten.threshold_backward.grad_input(gradient, activation, 0, grad_input=gradient)
    return gradient


def linear(inputs: Tensor, weight: Tensor, bias: Tensor, out: Tensor) -> Tensor:
    """``inputs @ weight + bias`` into ``out``; all batched over the leading dimension."""
    torch.bmm(inputs, weight, out=out)
    return out.add_(bias)


class Unroll:
    """T steps of inner training and the way back, with all memory allocated once.

    Args:
        shape: sizes; ``R = shape.replicas`` is the leading dimension of every tensor.
        momentum: mu above.
        decay: whether the step size falls linearly to zero inside the inner loop.
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
        self.shape, self.momentum, self.decay = shape, momentum, decay

        def empty(*sizes: int) -> Tensor:
            return torch.empty(sizes, dtype=dtype, device=device)

        r, n, steps = shape.replicas, shape.size, shape.steps
        layers = list(zip(shape.widths[:-1], shape.widths[1:], strict=True))
        self.weights = [empty(steps + 1, r, i, o) for i, o in layers]
        self.biases = [empty(steps + 1, r, 1, o) for _, o in layers]
        self.activations = [empty(steps, r, n, o) for _, o in layers]  # after ReLU; the last is tanh(z)
        self.deltas = [empty(steps, r, n, o) for _, o in layers]  # dL/dz of every layer
        self.velocity = [(empty(r, i, o), empty(r, 1, o)) for i, o in layers]
        self.tangents = [empty(r, n, o) for _, o in layers]  # directional derivatives of the activations
        self.tangent_deltas = [empty(r, n, i) for i, _ in layers]  # ... of dL/dx, entering each layer from above
        self.error = empty(r, n, shape.action_dim)

    def decay_at(self, step: int) -> float:
        return 1.0 - step / self.shape.steps if self.decay else 1.0

    def train(self, start: Parameters, observations: Tensor, actions: Tensor, step_sizes: Tensor) -> Parameters:
        """Run the inner training.

        Args:
            start: initial parameters.
            observations: normalised synthetic observations ``[R, N, obs_dim]``.
            actions: synthetic actions ``[R, N, act_dim]``.
            step_sizes: eta per replica and layer, ``[R, L]``.

        Returns:
            The final parameters, as views that the next call overwrites.
        """
        self.observations, self.actions, self.step_sizes = observations, actions, step_sizes
        for layer, (weight, bias) in enumerate(start):
            self.weights[layer][0].copy_(weight)
            self.biases[layer][0].copy_(bias)
            for velocity in self.velocity[layer]:
                velocity.zero_()
        for step in range(self.shape.steps):
            self._forward(step)
            self._descend(step)
        return [(w[-1], b[-1]) for w, b in zip(self.weights, self.biases, strict=True)]

    def _forward(self, step: int) -> None:
        """Activations of all layers and dL/dz of the last one."""
        hidden = self.observations
        last = len(self.weights) - 1
        for layer, activation in enumerate(self.activations):
            hidden = linear(hidden, self.weights[layer][step], self.biases[layer][step], activation[step])
            hidden = hidden.tanh_() if layer == last else hidden.relu_()
        torch.sub(hidden, self.actions, out=self.error)
        delta = self.deltas[last][step]
        torch.mul(hidden, hidden, out=delta).neg_().add_(1.0)
        delta.mul_(self.error).mul_(2.0 / self.shape.size)

    def _descend(self, step: int) -> None:
        """Back-propagate and take one heavy-ball step."""
        for layer in reversed(range(len(self.weights))):
            weight, delta = self.weights[layer], self.deltas[layer][step]
            below = self.activations[layer - 1][step] if layer else self.observations
            weight_velocity, bias_velocity = self.velocity[layer]
            weight_velocity.baddbmm_(below.mT, delta, beta=self.momentum)
            bias_velocity.mul_(self.momentum).add_(delta.sum(1, keepdim=True))
            if layer:
                torch.bmm(delta, weight[step].mT, out=self.deltas[layer - 1][step])
                relu_grad_(self.deltas[layer - 1][step], below)
            rate = (self.decay_at(step) * self.step_sizes[:, layer])[:, None, None]
            torch.addcmul(weight[step], weight_velocity, rate, value=-1, out=weight[step + 1])
            bias = self.biases[layer]
            torch.addcmul(bias[step], bias_velocity, rate, value=-1, out=bias[step + 1])

    def adjoint(self, gradient: Parameters) -> tuple[Tensor, Tensor, Tensor]:
        """Pull dH/dtheta_T back through the last call of :meth:`train`.

        Args:
            gradient: dH/dtheta_T; overwritten with dH/dtheta_0.

        Returns:
            dH/dobservations ``[R, N, obs_dim]``, dH/dactions ``[R, N, act_dim]`` and dH/dlog(step sizes) ``[R, L]``.
        """
        observation_gradient = torch.zeros_like(self.observations)
        action_gradient = torch.zeros_like(self.actions)
        rate_gradient = torch.zeros_like(self.step_sizes)
        directions = self.velocity  # the velocities are not needed any more; their memory now holds u_t
        for pair in directions:
            for tensor in pair:
                tensor.zero_()
        for step in reversed(range(self.shape.steps)):
            self._directions(step, gradient, directions, rate_gradient)
            self._tangent_forward(step, directions)
            self._tangent_backward(step, directions, gradient, action_gradient, observation_gradient)
        return observation_gradient, action_gradient, rate_gradient

    def _directions(self, step: int, gradient: Parameters, directions: Parameters, rate_gradient: Tensor) -> None:
        """u_t = mu u_{t+1} - eta d_t lambda, and the step sizes' own gradient."""
        for layer, (slopes, pair) in enumerate(zip(gradient, directions, strict=True)):
            rate = (self.decay_at(step) * self.step_sizes[:, layer])[:, None, None]
            for slope, direction, path in zip(slopes, pair, (self.weights[layer], self.biases[layer]), strict=True):
                moved = path[step + 1] - path[step]
                rate_gradient[:, layer] += torch.linalg.vecdot(slope.flatten(1), moved.flatten(1))
                direction.mul_(self.momentum).addcmul_(slope, rate, value=-1)

    def _tangent_forward(self, step: int, directions: Parameters) -> None:
        """Directional derivative of every activation (before the tanh in the last layer) along u_t."""
        last = len(self.weights) - 1
        for layer, (weight_direction, bias_direction) in enumerate(directions):
            below = self.activations[layer - 1][step] if layer else self.observations
            tangent = linear(below, weight_direction, bias_direction, self.tangents[layer])
            if layer:
                tangent.baddbmm_(self.tangents[layer - 1], self.weights[layer][step])
            if layer < last:
                relu_grad_(tangent, self.activations[layer][step])

    def _tangent_backward(
        self,
        step: int,
        directions: Parameters,
        gradient: Parameters,
        action_gradient: Tensor,
        observation_gradient: Tensor,
    ) -> None:
        """Directional derivative of dL/dz along u_t from the top down, and everything that follows from it."""
        last = len(self.weights) - 1
        scale = 2.0 / self.shape.size
        output = self.activations[last][step]
        slope = 1.0 - output * output
        tangent_output = slope * self.tangents[last]
        action_gradient.sub_(tangent_output, alpha=scale)
        curvature = slope.addcmul_(output - self.actions, output, value=-2.0)
        tangent_delta = tangent_output.mul_(curvature).mul_(scale)
        for layer in reversed(range(len(self.weights))):
            delta = self.deltas[layer][step]
            weight_slope, bias_slope = gradient[layer]
            below = self.activations[layer - 1][step] if layer else self.observations
            weight_slope.baddbmm_(below.mT, tangent_delta)
            bias_slope.add_(tangent_delta.sum(1, keepdim=True))
            if layer:
                weight_slope.baddbmm_(self.tangents[layer - 1].mT, delta)
            entering = self.tangent_deltas[layer]
            torch.bmm(tangent_delta, self.weights[layer][step].mT, out=entering)
            entering.baddbmm_(delta, directions[layer][0].mT)
            if layer == 0:
                observation_gradient.add_(entering)
            else:
                tangent_delta = relu_grad_(entering, below)


def forward(parameters: Sequence[tuple[Tensor, Tensor]], observations: Tensor) -> list[Tensor]:
    """Activations of every layer for ``observations`` ``[R, B, obs_dim]``; the last is the action ``tanh(z)``."""
    activations = [observations]
    last = len(parameters) - 1
    for layer, (weight, bias) in enumerate(parameters):
        hidden = torch.baddbmm(bias, activations[-1], weight)
        activations.append(hidden.tanh_() if layer == last else hidden.relu_())
    return activations


def outer_loss(
    parameters: Parameters, observations: Tensor, targets: Tensor, weights: Tensor | None
) -> tuple[Tensor, Parameters]:
    """The objective H = mean_b w_b ||pi(s_b) - y_b||^2 and its gradient with respect to the student.

    Args:
        parameters: student parameters.
        observations: normalised real states ``[R, B, obs_dim]``.
        targets: ``[R, B, act_dim]``.
        weights: ``[R, B]`` or None for ones.

    Returns:
        H per replica ``[R]`` and dH/dtheta.
    """
    activations = forward(parameters, observations)
    output = activations[-1]
    error = output - targets
    scaled = error if weights is None else error * weights[..., None]
    batch = observations.shape[1]
    loss = (scaled * error).sum((1, 2)) / batch
    delta = scaled * (1.0 - output * output) * (2.0 / batch)
    gradient: Parameters = []
    for layer in reversed(range(len(parameters))):
        gradient.append((torch.bmm(activations[layer].mT, delta), delta.sum(1, keepdim=True)))
        if layer:
            delta = relu_grad_(torch.bmm(delta, parameters[layer][0].mT), activations[layer])
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
