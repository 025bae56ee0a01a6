"""Small networks made for one CPU core: forward and backward by hand, several copies in one ``bmm``.

At these sizes (256 rows, width 256) half of an ordinary update is not arithmetic: autograd builds and walks its graph,
every pass allocates its activations anew, and every layer has its own optimiser and moving-average call.  Here the
activations live in buffers that are allocated once, and all parameters lie in one vector, so that Adam and the moving
average are one operation each.  Gradients are exact (see the tests).
"""

from __future__ import annotations

import copy
import itertools
import math

import torch
from torch import Tensor

from obd.teachers.teacher import NORM_EPSILON, Layers


class Networks:
    """``copies`` multilayer perceptrons of equal shape with ReLU between their layers, in PyTorch's default precision.

    With ``layer_norm`` every hidden activation is brought to mean 0 and variance 1 after the ReLU (without gain and
    offset: the next linear layer contains them).

    One training step is ``forward``, ``backward``, ``step``; there is no autograd graph and no zeroing of gradients.

    Attributes:
        flat: all parameters in one vector; ``gradient`` the same for their gradients.
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
        self._moments = torch.zeros(2, len(self.flat))
        self._steps = torch.zeros(())
        self._buffers: dict[tuple[str, int], list[Tensor]] = {}
        self._kept: list[Tensor] = []

    def __call__(self, inputs: Tensor) -> Tensor:
        """Outputs ``[copies, B, out]`` for ``[B, in]``, without a way back."""
        return self._forward(inputs, "free")[-1]

    def forward(self, inputs: Tensor) -> Tensor:
        """The same; :meth:`backward` and :meth:`input_slope` go back along the last such call."""
        self._kept = self._forward(inputs, "kept")
        return self._kept[-1]

    def backward(self, slope: Tensor) -> None:
        """Write ``gradient`` of a loss from its slope ``[copies, B, out]`` in the outputs."""
        buffers = self._buffer("slope", slope.shape[1])
        gradients = (self.weight_gradients, self.bias_gradients)
        backward_pass(slope, self._kept, self.weights, *gradients, buffers, self.layer_norm, False)

    def input_slope(self, slope: Tensor) -> Tensor:
        """The slope ``[B, in]`` of a loss in the inputs; the parameters' gradients are left alone."""
        buffers = self._buffer("slope", slope.shape[1])
        return backward_pass(slope, self._kept, self.weights, [], [], buffers, self.layer_norm, True)

    def step(self, rate: float) -> None:
        """One step of Adam (Kingma and Ba 2015, its usual constants) with this learning rate."""
        self._steps += 1
        mean, variance = self._moments.unbind()
        torch._fused_adam_(
            [self.flat], [self.gradient], [mean], [variance], [], [self._steps],
            lr=rate, beta1=0.9, beta2=0.999, weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False,
        )  # fmt: skip

    def target(self) -> Networks:
        """A copy that follows this one; see :meth:`follow`."""
        other = Networks(self.sizes, self.copies, torch.Generator(), layer_norm=self.layer_norm)
        other.flat.copy_(self.flat)
        return other

    def only(self, copies: int) -> Networks:
        """The first so many copies, of the same parameters: for what needs no more of an ensemble."""
        part = copy.copy(self)
        part.copies, part._buffers, part._kept = copies, {}, []
        part.weights = [weight[:copies] for weight in self.weights]
        part.biases = [bias[:copies] for bias in self.biases]
        part.weight_gradients = [slope[:copies] for slope in self.weight_gradients]
        part.bias_gradients = [slope[:copies] for slope in self.bias_gradients]
        return part

    def follow(self, source: Networks, rate: float) -> None:
        """parameters <- (1 - rate) parameters + rate * source."""
        self.flat.lerp_(source.flat, rate)

    def layers(self, copy: int = 0, scale: float = 1.0) -> Layers:
        """One copy as (weight ``[out, in]``, bias ``[out]``) per layer, its output multiplied by ``scale``."""
        last = len(self.weights) - 1
        factors = [scale if index == last else 1.0 for index in range(last + 1)]
        return tuple(
            ((weight[copy].t() * factor).contiguous(), bias[copy, 0] * factor)
            for weight, bias, factor in zip(self.weights, self.biases, factors, strict=True)
        )

    def _forward(self, inputs: Tensor, name: str) -> list[Tensor]:
        buffers = self._buffer(name, len(inputs))
        return forward_pass(inputs, self.weights, self.biases, buffers, self.layer_norm, NORM_EPSILON)

    def _buffer(self, name: str, rows: int) -> list[Tensor]:
        """One tensor ``[copies, rows, width]`` per hidden layer."""
        key = (name, rows)
        if key not in self._buffers:
            self._buffers[key] = [torch.empty(self.copies, rows, width) for width in self.sizes[1:-1]]
        return self._buffers[key]


def forward_pass(
    inputs: Tensor, weights: list[Tensor], biases: list[Tensor], hidden: list[Tensor], layer_norm: bool, epsilon: float
) -> list[Tensor]:
    """What the way back needs: the inputs of every layer (each with the norm's mean and scale), and the outputs.

    ``hidden`` are filled with the activations after the ReLU, before the norm.
    """
    below = inputs.expand(weights[0].shape[0], -1, -1)
    kept = [below]
    for layer in range(len(hidden)):
        torch.bmm(below, weights[layer], out=hidden[layer])  # with the bias in one call would copy it first
        below = hidden[layer].add_(biases[layer]).relu_()
        if layer_norm:
            below, mean, scale = torch.native_layer_norm(below, [below.shape[2]], None, None, epsilon)
            kept.extend([hidden[layer], mean, scale])
        kept.append(below)
    kept.append(torch.bmm(below, weights[-1]).add_(biases[-1]))
    return kept


def backward_pass(
    slope: Tensor,
    kept: list[Tensor],
    weights: list[Tensor],
    weight_gradients: list[Tensor],
    bias_gradients: list[Tensor],
    buffers: list[Tensor],
    layer_norm: bool,
    inputs: bool,
) -> Tensor:
    """The way back from ``slope`` in the outputs; ``kept`` is from :func:`forward_pass`.

    Gradients of parameters are written where there is room for them; returns the slope in the inputs, summed over
    copies, if wanted.
    """
    above = slope
    stride = 4 if layer_norm else 1
    for layer in range(len(weights) - 1, -1, -1):
        below = kept[layer * stride]
        if len(weight_gradients) > 0:
            torch.bmm(below.mT, above, out=weight_gradients[layer])
            torch.sum(above, [1], keepdim=True, out=bias_gradients[layer])
        if layer > 0:
            entering = buffers[layer - 1]
            if above.shape[2] == 1:
                torch.mul(above, weights[layer].mT, out=entering)
            else:
                torch.bmm(above, weights[layer].mT, out=entering)
            hidden = below
            if layer_norm:
                hidden, mean, scale = kept[layer * stride - 3], kept[layer * stride - 2], kept[layer * stride - 1]
                entering = torch.ops.aten.native_layer_norm_backward(
                    entering, hidden, [hidden.shape[2]], mean, scale, None, None, [True, False, False]
                )[0]
            torch.ops.aten.threshold_backward(entering, hidden, 0, grad_input=entering)
            above = entering
    return torch.bmm(above, weights[0].mT).sum(0) if inputs else above


def regress(networks: Networks, inputs: Tensor, targets: Tensor, rate: float) -> tuple[Tensor, Tensor]:
    """One step towards ``targets`` ``[B, out]``: the outputs before it, and the squared error summed over copies."""
    outputs = networks.forward(inputs)
    error = outputs - targets
    networks.backward(error * (2 / targets.numel()))
    networks.step(rate)
    return outputs, error.square().mean((1, 2)).sum()


def set_precision(name: str) -> None:
    """Set the process-wide precision of fp32 matrix products.

    ``auto`` and ``bfloat16`` (a choice of the distillation alone): medium where the processor has bfloat16 tiles.
    """
    if name in ("auto", "bfloat16"):
        name = "medium" if torch.cpu.get_capabilities().get("amx_bf16", False) else "highest"
    torch.set_float32_matmul_precision(name)


def _views(flat: Tensor, shapes: list[tuple[int, int, int]]) -> list[Tensor]:
    pieces = torch.split(flat, [math.prod(shape) for shape in shapes])
    return [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
