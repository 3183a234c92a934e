r"""Back-propagation through a fully connected network, written out line by line, and central differences to check it.

Layer l maps the activations of the previous layer to its own; the error compares the last ones with the targets:

.. math::
    z^l = a^{l-1} W^{l\top} + b^l, \qquad a^l = \sigma(z^l), \qquad E = \tfrac{1}{N n_L} \sum (a^L - y)^2

The delta of a layer is the derivative of E with respect to its weighted sums. Each follows from the next layer's:

.. math::
    \delta^L = \tfrac{2}{N n_L} (a^L - y) \odot \sigma'(z^L), \qquad
    \delta^l = (\delta^{l+1} W^{l+1}) \odot \sigma'(z^l), \qquad
    \frac{\partial E}{\partial W^l} = \delta^{l\top} a^{l-1}, \quad
    \frac{\partial E}{\partial b^l} = \textstyle\sum_n \delta^l_n

Shapes: N examples; layer l has weights (n_l, n_{l-1}), and z, a and delta of shape (N, n_l).

Sources: S. Linnainmaa, master's thesis, Helsinki 1970, for the algorithm; P. Werbos, 1974, for networks; D.
Rumelhart, G. Hinton and R. Williams, "Learning representations by back-propagating errors", Nature 1986.
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
    """A layer of sigmoid units: weight (n, n of the previous layer) and bias (n,)."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Trace:
    """The intermediate results of a layer in one forward and backward pass."""

    input: Tensor
    sums: Tensor
    activations: Tensor
    slopes: Tensor
    deltas: Tensor
    weight_gradient: Tensor
    bias_gradient: Tensor


def layers_of(model: nn.Module) -> list[Layer]:
    """Returns the layers of a network of linear layers and sigmoids, sharing its memory."""
    linear: list[Any] = [part for part in model.children() if hasattr(part, "weight")]
    return [Layer(part.weight.detach(), part.bias.detach()) for part in linear]


def gradients_of(traces: Sequence[Trace]) -> list[Tensor]:
    """Returns the gradients in the order of the network's parameters."""
    return [gradient for trace in traces for gradient in (trace.weight_gradient, trace.bias_gradient)]


def sigmoid(z: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-z))


def forward(layers: Sequence[Layer], x: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Returns the weighted sums and activations of each layer, first layer first."""
    passed, a = [], x
    for layer in layers:
        z = a @ layer.weight.T + layer.bias
        a = sigmoid(z)
        passed.append((z, a))
    return passed


def error_of(layers: Sequence[Layer], x: Tensor, y: Tensor) -> Tensor:
    """Returns the mean squared error."""
    _, output = forward(layers, x)[-1]
    return ((output - y) ** 2).mean()


def back_propagate(layers: Sequence[Layer], x: Tensor, y: Tensor) -> list[Trace]:
    """Returns the trace of each layer, first layer first, from one forward and one backward pass."""
    passed = forward(layers, x)
    inputs = [x, *(a for _, a in passed[:-1])]
    traces: list[Trace] = []
    upstream = 2 * (passed[-1][1] - y) / y.numel()  # dE/da of the last layer
    for layer, a_previous, (z, a) in reversed(list(zip(layers, inputs, passed, strict=True))):
        slope = a * (1 - a)
        delta = upstream * slope
        traces.append(Trace(a_previous, z, a, slope, delta, delta.T @ a_previous, delta.sum(0)))
        upstream = delta @ layer.weight  # dE/da of the previous layer
    return traces[::-1]


def differences(layers: Sequence[Layer], x: Tensor, y: Tensor, step: float) -> list[Tensor]:
    """Returns the gradients by central differences, with two forward passes per weight and bias."""
    gradients = []
    for tensor in (tensor for layer in layers for tensor in (layer.weight, layer.bias)):
        gradient, flat = torch.empty_like(tensor), tensor.view(-1)
        for i in range(flat.numel()):
            original = flat[i].item()
            flat[i] = original + step
            above = error_of(layers, x, y)
            flat[i] = original - step
            below = error_of(layers, x, y)
            flat[i] = original
            gradient.view(-1)[i] = (above - below) / (2 * step)
        gradients.append(gradient)
    return gradients
