"""Small networks made for one CPU core: several copies in one ``bmm``, all parameters in one flat tensor.

At these sizes (256 rows, width 256) half of an ordinary update is not arithmetic: every pass allocates its activations
anew and every layer has its own optimiser and moving-average call.  Here the activations live in buffers that are
allocated once, and Adam and the moving average are one call over one vector.  Gradients are exact (see the tests).
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from obd.teachers.teacher import NORM_EPSILON, Layers


class Networks:
    """``copies`` multilayer perceptrons of equal shape with ReLU between their layers.

    With ``layer_norm`` every hidden activation is brought to mean 0 and variance 1 after the ReLU (without gain and
    offset: the next linear layer contains them).

    ``loss.backward()`` *replaces* the gradient of the last backward pass, so there is no zeroing.  One forward pass
    may wait for its backward pass at a time; passes without gradients do not count.

    Attributes:
        flat: all parameters in one vector.
        weights, biases: views into it, ``[copies, in, out]`` and ``[copies, 1, out]`` per layer.
    """

    def __init__(self, sizes: list[int], copies: int, generator: torch.Generator, *, layer_norm: bool = False) -> None:
        self.sizes, self.copies, self.layer_norm = sizes, copies, layer_norm
        shapes = [
            shape
            for inputs, outputs in itertools.pairwise(sizes)
            for shape in ((copies, inputs, outputs), (copies, 1, outputs))
        ]
        self.flat = torch.empty(sum(math.prod(shape) for shape in shapes))
        self.gradient = torch.zeros_like(self.flat)
        views, slopes = _views(self.flat, shapes), _views(self.gradient, shapes)
        self.weights, self.biases = views[::2], views[1::2]
        self.weight_gradients, self.bias_gradients = slopes[::2], slopes[1::2]
        for inputs, weight, bias in zip(sizes, self.weights, self.biases, strict=False):
            for tensor in (weight, bias):  # PyTorch's own start: uniform within 1 / sqrt(in)
                torch.rand(tensor.shape, generator=generator, out=tensor).mul_(2).sub_(1).mul_(inputs**-0.5)
        self.flat.requires_grad_().grad = self.gradient
        self._buffers: dict[tuple[str, int], Tensor] = {}
        self._passes = 0

    def __call__(self, inputs: Tensor) -> Tensor:
        """Outputs ``[copies, B, out]`` for ``[B, in]``, differentiable in the inputs and the parameters."""
        if not torch.is_grad_enabled():
            return self._forward(inputs, "free")[-1]
        result: Tensor = _Pass.apply(inputs, self.flat, self)  # type: ignore[no-untyped-call]
        return result

    def frozen(self, inputs: Tensor) -> Tensor:
        """The same, differentiable in the inputs alone: what an actor needs of its critic."""
        result: Tensor = _Pass.apply(inputs, self.flat.detach(), self)  # type: ignore[no-untyped-call]
        return result

    def target(self) -> Networks:
        """A copy that follows this one; see :meth:`follow`."""
        other = Networks(self.sizes, self.copies, torch.Generator(), layer_norm=self.layer_norm)
        with torch.no_grad():
            other.flat.copy_(self.flat)
        return other

    @torch.no_grad()
    def follow(self, source: Networks, rate: float) -> None:
        """parameters <- (1 - rate) parameters + rate * source."""
        self.flat.lerp_(source.flat, rate)

    def adam(self, rate: float) -> torch.optim.Adam:
        return torch.optim.Adam([self.flat], lr=rate, fused=True)

    @torch.no_grad()
    def layers(self, copy: int = 0, scale: float = 1.0) -> Layers:
        """One copy as (weight ``[out, in]``, bias ``[out]``) per layer, its output multiplied by ``scale``."""
        last = len(self.weights) - 1
        factors = [scale if index == last else 1.0 for index in range(last + 1)]
        return tuple(
            ((weight[copy].t() * factor).contiguous(), bias[copy, 0] * factor)
            for weight, bias, factor in zip(self.weights, self.biases, factors, strict=True)
        )

    def _buffer(self, name: str, rows: int, width: int) -> Tensor:
        key = (name, rows)
        if key not in self._buffers:
            self._buffers[key] = torch.empty(self.copies, rows, width)
        return self._buffers[key]

    def _forward(self, inputs: Tensor, name: str) -> list[Tensor]:
        """Activations of every layer, the inputs first; all but the outputs live in buffers called ``name``."""
        rows, last = inputs.shape[0], len(self.weights) - 1
        below = inputs.expand(self.copies, -1, -1)
        kept = [below]
        with torch.no_grad():
            for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
                if index == last:
                    kept.append(torch.baddbmm(bias, below, weight))
                    break
                hidden = self._buffer(f"{name} {index}", rows, weight.shape[-1])
                below = torch.baddbmm(bias, below, weight, out=hidden).relu_()
                if self.layer_norm:
                    below, mean, scale = torch.native_layer_norm(hidden, hidden.shape[-1:], None, None, NORM_EPSILON)
                    kept += [mean, scale]
                kept.append(below)
        return kept

    def _backward(self, kept: list[Tensor], above: Tensor, parameters: bool, inputs: bool) -> Tensor | None:
        """Write the parameters' gradients and return that of the inputs, each if wanted."""
        stride = 3 if self.layer_norm else 1
        for index in reversed(range(len(self.weights))):
            below = kept[index * stride]
            if parameters:
                torch.bmm(below.transpose(1, 2), above, out=self.weight_gradients[index])
                torch.sum(above, 1, keepdim=True, out=self.bias_gradients[index])
            if index == 0:
                break
            rows, width = below.shape[1], below.shape[2]
            hidden = self._buffer(f"kept {index - 1}", rows, width)
            slope = self._buffer(f"slope {index % 2}", rows, width)
            above = torch.bmm(above, self.weights[index].transpose(1, 2), out=slope)
            if self.layer_norm:
                mean, scale = kept[index * stride - 2 : index * stride]
                above, _, _ = torch.ops.aten.native_layer_norm_backward(
                    above, hidden, hidden.shape[-1:], mean, scale, None, None, [True, False, False]
                )
            torch.ops.aten.threshold_backward.grad_input(above, hidden, 0, grad_input=above)
        return torch.bmm(above, self.weights[0].transpose(1, 2)).sum(0) if inputs else None


class _Pass(torch.autograd.Function):
    """Forward and backward of :class:`Networks` as one node of the graph."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, flat: Tensor, networks: Networks) -> Tensor:
        networks._passes += 1
        ctx.networks, ctx.number = networks, networks._passes
        ctx.kept = networks._forward(inputs, "kept")
        output: Tensor = ctx.kept.pop()
        return output

    @staticmethod
    @torch.no_grad()
    def backward(ctx: FunctionCtx, *above: Tensor) -> tuple[Tensor | None, None, None]:
        networks: Networks = ctx.networks  # type: ignore[attr-defined]
        if ctx.number != networks._passes:  # type: ignore[attr-defined]
            raise RuntimeError("another forward pass has overwritten the activations of this one")
        wanted: tuple[bool, ...] = ctx.needs_input_grad  # type: ignore[attr-defined]
        slope = networks._backward(ctx.kept, above[0].contiguous(), wanted[1], wanted[0])  # type: ignore[attr-defined]
        return slope, None, None


def set_precision(name: str) -> None:
    """Set the process-wide precision of matrix products; ``auto``: medium where the processor has bfloat16 tiles."""
    if name == "auto":
        name = "medium" if torch.cpu.get_capabilities().get("amx_bf16", False) else "highest"
    torch.set_float32_matmul_precision(name)


def descend(loss: Tensor, optimizer: torch.optim.Adam, rate: float) -> Tensor:
    """One step of Adam with this learning rate down ``loss``; returns its value."""
    torch.autograd.backward(loss)
    optimizer.param_groups[0]["lr"] = rate
    optimizer.step()
    return loss.detach()


def _views(flat: Tensor, shapes: list[tuple[int, int, int]]) -> list[Tensor]:
    pieces = torch.split(flat, [math.prod(shape) for shape in shapes])
    return [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
