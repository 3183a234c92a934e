r"""Back-propagation through a fully connected network, written out line by line, and two other ways to the same end.

Layer l takes the activations of the layer before it to its own, and the last one's are held against the targets:

.. math::
    z^l = W^l a^{l-1} + b^l, \qquad a^l = \sigma(z^l), \qquad E = \tfrac{1}{N n_L} \sum \lVert a^L - y \rVert^2

The delta of a layer is the slope of E along its weighted sums, and each follows from the one after it:

.. math::
    \delta^L = \tfrac{2}{N n_L} (a^L - y) \odot \sigma'(z^L), \qquad
    \delta^l = (W^{l+1\top} \delta^{l+1}) \odot \sigma'(z^l), \qquad
    \frac{\partial E}{\partial W^l} = \delta^{l\top} a^{l-1}, \quad
    \frac{\partial E}{\partial b^l} = \textstyle\sum \delta^l

Shapes: N examples; layer l has weights (n_l, n_{l-1}), and z, a and delta of shape (N, n_l).

Sources: S. Linnainmaa, master's thesis, Helsinki 1970, for the algorithm; P. Werbos, 1974, for networks; D. Rumelhart,
G. Hinton and R. Williams, "Learning representations by back-propagating errors", Nature 1986.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = [
    "Layer",
    "Trace",
    "back_propagate",
    "differences",
    "error_of",
    "forward",
    "gradients_of",
    "layers_of",
]


@dataclass(frozen=True)
class Layer:
    """The weights, shape (n, n of the layer before), and the biases, shape (n,), of a layer of sigmoid units."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Trace:
    """What a layer saw on the way there and back: its input, sums, activations, slopes, deltas and gradients."""

    input: Tensor
    sums: Tensor
    activations: Tensor
    slopes: Tensor
    deltas: Tensor
    weight_gradient: Tensor
    bias_gradient: Tensor


def layers_of(model: nn.Module) -> list[Layer]:
    """The weights of a network of linear layers and sigmoids, in the same memory."""
    linear: list[Any] = [part for part in model.children() if hasattr(part, "weight")]
    return [Layer(part.weight.detach(), part.bias.detach()) for part in linear]


def gradients_of(traces: Sequence[Trace]) -> list[Tensor]:
    """In the order of a network's parameters."""
    return [gradient for trace in traces for gradient in (trace.weight_gradient, trace.bias_gradient)]


def sigmoid(z: Tensor) -> Tensor:
    """1 / (1 + exp(-z))."""
    return 1 / (1 + torch.exp(-z))


def forward(layers: Sequence[Layer], x: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The weighted sums and the activations of each layer, first to last."""
    passed, a = [], x
    for layer in layers:
        z = a @ layer.weight.T + layer.bias
        a = sigmoid(z)
        passed.append((z, a))
    return passed


def error_of(layers: Sequence[Layer], x: Tensor, y: Tensor) -> Tensor:
    """The mean squared error."""
    _, output = forward(layers, x)[-1]
    return ((output - y) ** 2).mean()


def back_propagate(layers: Sequence[Layer], x: Tensor, y: Tensor) -> list[Trace]:
    """What each layer saw, first to last: one pass there, one back, whatever the number of weights."""
    passed = forward(layers, x)
    inputs = [x, *(a for _, a in passed[:-1])]
    traces: list[Trace] = []
    upstream = 2 * (passed[-1][1] - y) / y.numel()  # the slope of the error along the last activations
    for layer, a_before, (z, a) in reversed(list(zip(layers, inputs, passed, strict=True))):
        slope = a * (1 - a)
        delta = upstream * slope
        traces.append(Trace(a_before, z, a, slope, delta, delta.T @ a_before, delta.sum(0)))
        upstream = delta @ layer.weight  # what each unit of the layer before is to blame for
    return traces[::-1]


def differences(layers: Sequence[Layer], x: Tensor, y: Tensor, step: float) -> list[Tensor]:
    """The gradients of every weight and bias by central differences: two passes for each single number."""
    gradients = []
    for tensor in (tensor for layer in layers for tensor in (layer.weight, layer.bias)):
        gradient, flat = torch.empty_like(tensor), tensor.view(-1)
        for i in range(flat.numel()):
            kept = flat[i].item()
            flat[i] = kept + step
            above = error_of(layers, x, y)
            flat[i] = kept - step
            below = error_of(layers, x, y)
            flat[i] = kept
            gradient.view(-1)[i] = (above - below) / (2 * step)
        gradients.append(gradient)
    return gradients
