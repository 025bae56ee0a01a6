"""Inner training and its exact hypergradient, written by hand and batched over replicas.

Inner problem (Lei et al. 2024, arXiv 2410.22728, eq. 1): behaviour cloning of N synthetic pairs (s_i, a_i),

    L(theta) = 1/N sum_i || tanh(f_theta(s_i)) - a_i ||^2,

by T steps of heavy-ball SGD with one step size eta_l per layer and an optional linear decay d_t = 1 - t/T; a step may
look at one block of the pairs only, the blocks taken in turn (then N is the block's size),

    v_{t+1} = mu v_t + grad L(theta_t),      theta_{t+1} = theta_t - eta_l d_t v_{t+1}.

The adjoint runs backwards in time.  With lambda = dH/dtheta_{t+1} and u_t = mu u_{t+1} - eta_l d_t lambda,

    dH/dtheta_t += (Hessian of L) u_t,   dH/ds += d<u_t, grad L>/ds,   dH/da += d<u_t, grad L>/da,
    dH/dlog(eta_l) += <u_t, grad L> over the parameters of layer l

(the last line is the sum over t of <lambda, theta_{t+1} - theta_t>, with v written out and the sums exchanged).  The
products with u_t come from one forward-over-reverse sweep (Pearlmutter, "Fast exact multiplication by the Hessian",
1994) over the activations stored on the way forward, so a step costs what the arithmetic needs: 3 matrix products per
layer forward, 6 in the adjoint, and nothing is recomputed or allocated.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from obd.engine.network import Parameters, Shape, bits, relu_grad_


def typed(tensor: Tensor, copy: Tensor) -> Tensor:
    """``tensor``, or where ``copy`` has another type, that, filled with it: faster than arithmetic on mixed types."""
    return tensor if tensor.dtype == copy.dtype else copy.copy_(tensor)


def train_loop(
    path: list[Tensor],
    working: list[Tensor],
    weights: list[list[Tensor]],
    biases: list[list[Tensor]],
    observations: list[Tensor],
    actions: list[Tensor],
    activations: list[list[Tensor]],
    activation_bits: list[list[Tensor]],
    deltas: list[list[Tensor]],
    delta_bits: list[list[Tensor]],
    mask_bits: list[Tensor],
    velocity: Tensor,
    product: Tensor,
    product_weights: list[Tensor],
    product_biases: list[Tensor],
    rates: Tensor,
    exact: Tensor,
    error: Tensor,
    momentum: float,
    decays: list[float],
) -> None:
    """The way forward of :class:`Unroll`, whose attributes these are; per step, then per layer."""
    for step in range(len(decays)):
        working[step].copy_(path[step])
        hidden = observations[step]
        last = len(product_weights) - 1
        for layer in range(last + 1):
            below, hidden = hidden, activations[step][layer]
            torch.bmm(below, weights[step][layer], out=hidden)
            hidden.add_(biases[step][layer])
            if layer == last:
                hidden.tanh_()
            else:
                hidden.relu_()
        delta = deltas[step][last]
        torch.sub(hidden, actions[step], out=error)
        torch.mul(hidden, hidden, out=delta)
        delta.neg_().add_(1.0).mul_(error).mul_(2.0 / hidden.shape[1])
        for layer in range(last, -1, -1):
            delta = deltas[step][layer]
            below = observations[step] if layer == 0 else activations[step][layer - 1]
            torch.bmm(below.mT, delta, out=product_weights[layer])
            torch.sum(delta, [1], keepdim=True, out=product_biases[layer])
            if layer > 0:
                torch.bmm(delta, weights[step][layer].mT, out=deltas[step][layer - 1])
                relu_grad_(delta_bits[step][layer - 1], activation_bits[step][layer - 1], mask_bits[layer - 1])
        torch.add(typed(product, exact), velocity, alpha=momentum, out=velocity)
        torch.addcmul(path[step], velocity, rates, value=-decays[step], out=path[step + 1])


def adjoint_loop(
    weights: list[list[Tensor]],
    observations: list[Tensor],
    actions: list[Tensor],
    activations: list[list[Tensor]],
    activation_bits: list[list[Tensor]],
    deltas: list[list[Tensor]],
    direction: Tensor,
    working_direction: Tensor,
    direction_weights: list[Tensor],
    direction_biases: list[Tensor],
    slope: Tensor,
    product: Tensor,
    product_weights: list[Tensor],
    product_biases: list[Tensor],
    tangents: list[Tensor],
    tangent_bits: list[Tensor],
    tangent_deltas: list[Tensor],
    tangent_delta_bits: list[Tensor],
    mask_bits: list[Tensor],
    rates: Tensor,
    exact: Tensor,
    scratch: list[Tensor],
    gains: Tensor,
    momentum: float,
    decays: list[float],
    observation_gradients: list[Tensor],
    action_gradients: list[Tensor],
) -> None:
    """The way back of :class:`Unroll`; ``direction`` is u_t, ``slope`` dH/dtheta, both flat with views per layer."""
    last = len(product_weights) - 1
    for step in range(len(decays) - 1, -1, -1):
        direction.mul_(momentum).addcmul_(slope, rates, value=-decays[step])
        working_direction.copy_(direction)

        # Directional derivative of every activation (before the tanh in the last layer) along u_t.
        for layer in range(last + 1):
            below = observations[step] if layer == 0 else activations[step][layer - 1]
            tangent = tangents[layer]
            torch.bmm(below, direction_weights[layer], out=tangent)
            tangent.add_(direction_biases[layer])
            if layer > 0:
                tangent.baddbmm_(tangents[layer - 1], weights[step][layer])
            if layer < last:
                relu_grad_(tangent_bits[layer], activation_bits[step][layer], mask_bits[layer])

        # Directional derivative of dL/dz from the top down, and everything that follows from it.
        output = activations[step][last]
        scale = 2.0 / output.shape[1]
        flat = 1.0 - output * output
        tangent_output = flat * tangents[last]
        action_gradients[step].sub_(tangent_output, alpha=scale)
        curvature = flat.addcmul_(output - actions[step], output, value=-2.0)
        tangent_delta = tangent_output.mul_(curvature).mul_(scale)
        for layer in range(last, -1, -1):
            delta = deltas[step][layer]
            below = observations[step] if layer == 0 else activations[step][layer - 1]
            torch.bmm(below.mT, tangent_delta, out=product_weights[layer])
            torch.sum(tangent_delta, [1], keepdim=True, out=product_biases[layer])
            if layer > 0:
                product_weights[layer].baddbmm_(tangents[layer - 1].mT, delta)
            # <u_t, grad L> over all layers up to this one.
            torch.mul(tangents[layer], delta, out=scratch[layer])
            along = torch.sum(scratch[layer], [1, 2])
            gains[layer].add_(along)
            if layer < last:
                gains[layer + 1].sub_(along)
            entering = tangent_deltas[layer]
            torch.bmm(tangent_delta, weights[step][layer].mT, out=entering)
            entering.baddbmm_(delta, direction_weights[layer].mT)
            if layer == 0:
                observation_gradients[step].add_(entering)
            else:
                relu_grad_(tangent_delta_bits[layer], activation_bits[step][layer - 1], mask_bits[layer - 1])
                tangent_delta = entering
        slope.add_(typed(product, exact))


def without_interpreter(function: Callable[..., None]) -> Callable[..., None]:
    """``function`` as TorchScript: thousands of small operations run without Python and without its global lock.

    So two worker threads don't wait for each other (1.6 times the steps of plain Python on two cores) and a page's
    thread is free to answer.  PyTorch calls TorchScript deprecated; where it is gone, the function itself will do.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(function) if hasattr(torch.jit, "script") else function


scripted_train_loop = without_interpreter(train_loop)
scripted_adjoint_loop = without_interpreter(adjoint_loop)


class Unroll:
    """T steps of inner training and the way back, with all memory and all views allocated once.

    The parameters of all layers lie in one flat vector ``[R, P]`` per step, so what concerns parameters alone is one
    operation; the layers' weights and biases are views of it.

    Args:
        shape: sizes; ``R = shape.replicas`` is the leading dimension of every tensor.
        momentum: mu above.
        decay: whether the step size falls linearly to zero inside the inner loop.
        keep: store the trajectory for :meth:`adjoint`; without it every step overwrites the one before.
        dtype: of parameters, velocities and all sums over steps.
        compute: of weights and activations inside matrix products; default ``dtype``.  bfloat16 halves the time of a
            step where the processor multiplies it in hardware (AVX512-BF16, AMX).
    """

    def __init__(
        self,
        shape: Shape,
        *,
        momentum: float,
        decay: bool,
        keep: bool = True,
        dtype: torch.dtype = torch.float32,
        compute: torch.dtype | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.shape, self.momentum, self.decay = shape, momentum, decay
        self.compute = compute or dtype

        def exact(*sizes: int) -> Tensor:
            return torch.empty(sizes, dtype=dtype, device=device)

        def empty(*sizes: int) -> Tensor:
            return torch.empty(sizes, dtype=self.compute, device=device)

        r, n, steps = shape.replicas, shape.rows, shape.steps
        layers = list(itertools.pairwise(shape.widths))
        count = sum(i * o + o for i, o in layers)
        kept, again = (steps, 1) if keep else (1, steps)
        every = keep and self.compute == dtype  # else the products see rounded copies, and only those are kept
        self.path = list(exact(steps + 1, r, count).unbind()) if every else [exact(r, count)] * (steps + 1)
        self.velocity, self.slope, self.rates, self.exact_product = (exact(r, count) for _ in range(4))
        self.gains = exact(len(layers), r)
        self.path_layers = [self.layers_of(flat) for flat in self.path]
        # What the matrix products see: the parameters themselves, or rounded copies of them.
        self.working, self.working_direction, self.product = self.path[:steps], self.velocity, empty(r, count)
        if self.compute != dtype:
            self.working = list(empty(kept, r, count).unbind()) * again
            self.working_direction = empty(r, count)
        layers_of_step = [self.layers_of(flat) for flat in self.working]
        self.weights = [[weight for weight, _ in of_step] for of_step in layers_of_step]
        self.biases = [[bias for _, bias in of_step] for of_step in layers_of_step]
        self.activations = [[empty(r, n, o) for _, o in layers] for _ in range(kept)] * again  # ReLU; last: tanh(z)
        self.deltas = [[empty(r, n, o) for _, o in layers] for _ in range(kept)] * again  # dL/dz of every layer
        self.tangents = [empty(r, n, o) for _, o in layers]  # directional derivatives of the activations
        self.scratch = [empty(r, n, o) for _, o in layers]
        self.tangent_deltas = [empty(r, n, i) for i, _ in layers]  # ... of dL/dx, entering each layer from above
        self.error = empty(r, n, shape.action_dim)
        self.activation_bits = [[bits(tensor) for tensor in of_step] for of_step in self.activations]
        self.delta_bits = [[bits(tensor) for tensor in of_step] for of_step in self.deltas]
        self.tangent_bits = [bits(tensor) for tensor in self.tangents]
        self.tangent_delta_bits = [bits(tensor) for tensor in self.tangent_deltas]
        self.mask_bits = [torch.empty_like(tensor) for tensor in self.tangent_bits[:-1]]
        self.decays = [1.0 - step / steps if decay else 1.0 for step in range(steps)]
        self.blocks = [shape.block(step) for step in range(steps)]

    def layers_of(self, flat: Tensor) -> Parameters:
        """Views of a flat vector ``[R, P]`` as weights ``[R, in, out]`` and biases ``[R, 1, out]``."""
        views, start = [], 0
        for i, o in itertools.pairwise(self.shape.widths):
            middle, end = start + i * o, start + i * o + o
            views.append((flat[:, start:middle].view(-1, i, o), flat[:, middle:end].view(-1, 1, o)))
            start = end
        return views

    def train(
        self,
        start: Parameters,
        observations: Tensor,
        actions: Tensor,
        step_sizes: Tensor,
        steps: int | None = None,
    ) -> Parameters:
        """Run the inner training.

        Args:
            start: initial parameters.
            observations: normalised synthetic observations ``[R, N, obs_dim]``.
            actions: synthetic actions ``[R, N, act_dim]``.
            step_sizes: eta per replica and layer, ``[R, L]``.
            steps: stop after so many; :meth:`adjoint` needs all of them.

        Returns:
            The final parameters, as views that the next call overwrites.
        """
        observations, actions = observations.to(self.compute), actions.to(self.compute)
        self.observations = [observations[:, block] for block in self.blocks]
        self.actions = [actions[:, block] for block in self.blocks]
        for layer, tensors in enumerate(start):
            for tensor, view, rate in zip(
                tensors, self.path_layers[0][layer], self.layers_of(self.rates)[layer], strict=True
            ):
                view.copy_(tensor)
                rate.copy_(step_sizes[:, layer, None, None].expand_as(rate))
        self.velocity.zero_()
        product_weights, product_biases = zip(*self.layers_of(self.product), strict=True)
        scripted_train_loop(
            self.path,
            self.working,
            self.weights,
            self.biases,
            self.observations,
            self.actions,
            self.activations,
            self.activation_bits,
            self.deltas,
            self.delta_bits,
            self.mask_bits,
            self.velocity,
            self.product,
            list(product_weights),
            list(product_biases),
            self.rates,
            self.exact_product,
            self.error,
            self.momentum,
            self.decays[:steps],
        )
        return self.path_layers[len(self.decays[:steps])]

    def adjoint(self, gradient: Parameters) -> tuple[Tensor, Tensor, Tensor]:
        """Pull dH/dtheta_T back through the last call of :meth:`train`.

        Args:
            gradient: dH/dtheta_T.

        Returns:
            dH/dobservations ``[R, N, obs_dim]``, dH/dactions ``[R, N, act_dim]`` and dH/dlog(step sizes) ``[R, L]``.
        """
        r, size = self.shape.replicas, self.shape.size
        observation_gradient = self.path[0].new_zeros(r, size, self.shape.observation_dim)
        action_gradient = self.path[0].new_zeros(r, size, self.shape.action_dim)
        for source, target in zip(gradient, self.layers_of(self.slope), strict=True):
            for tensor, view in zip(source, target, strict=True):
                view.copy_(tensor)
        self.velocity.zero_()  # the velocities are not needed any more; their memory now holds u_t
        self.gains.zero_()
        direction_weights, direction_biases = zip(*self.layers_of(self.working_direction), strict=True)
        product_weights, product_biases = zip(*self.layers_of(self.product), strict=True)
        scripted_adjoint_loop(
            self.weights,
            self.observations,
            self.actions,
            self.activations,
            self.activation_bits,
            self.deltas,
            self.velocity,
            self.working_direction,
            list(direction_weights),
            list(direction_biases),
            self.slope,
            self.product,
            list(product_weights),
            list(product_biases),
            self.tangents,
            self.tangent_bits,
            self.tangent_deltas,
            self.tangent_delta_bits,
            self.mask_bits,
            self.rates,
            self.exact_product,
            self.scratch,
            self.gains,
            self.momentum,
            self.decays,
            [observation_gradient[:, block] for block in self.blocks],
            [action_gradient[:, block] for block in self.blocks],
        )
        return observation_gradient, action_gradient, self.gains.mT.clone()
