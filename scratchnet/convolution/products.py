r"""The three products of convolution, in any number of dimensions.

Convolution is linear in the image x and in the weight w. With any y of the output's shape, the number

.. math::
    T(x, w, y) = \sum_{b, o, p} y_{b, o, p} \sum_{c, r} w_{o, c, r} \, x_{b, c, p + r}

is linear in all three, and each product of convolution is its gradient in one of them:

.. math::
    \texttt{convolve}(x, w) = \frac{\partial T}{\partial y} \qquad
    \texttt{spread}(y, w) = \frac{\partial T}{\partial x} \qquad
    \texttt{correlate}(y, x) = \frac{\partial T}{\partial w}

So convolution is the first, with the other two as its gradients; transposed convolution is the second, and its
gradients are the first and the third. With the windows of x written out as columns X (see `scratchnet.windows`) and
the weight as a matrix W of O × C·R·S, they are W X, the windows' adjoint of Wᵀ Y, and the sum over images of Y Xᵀ.

The columns are R·S times as large as the image. They are what is derived here and what autograd follows; where nothing
follows, `scratchnet.convolution.choice` makes the same products without them.

Shapes: B images, C input and O output channels, G groups, H × W pixels, R × S kernel, P × Q outputs.

Source: as a matrix product, Chellapilla, Puri and Simard, "High Performance Convolutional Neural Networks for
Document Processing", 2006.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.convolution import choice
from scratchnet.convolution.lines import of_each
from scratchnet.function import unobserved
from scratchnet.windows import Geometry, columns, image

__all__ = ["convolve", "correlate", "gradients", "spread"]


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, groups: int, outputs: Sequence[int]
) -> Tensor:
    """Of images ``(B, C, H, W)`` and a weight ``(O, C/G, R, S)``, the outputs ``(B, O, P, Q)``, and a bias added."""
    if unobserved():
        return choice.convolve(x, weight, bias, geometry, groups, outputs)
    cols = _grouped(columns(x, geometry, outputs), len(outputs), groups)
    y = torch.matmul(_matrix(weight, groups), cols).reshape(len(x), len(weight), *outputs)
    return _with_bias(y, bias)


def spread(
    y: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, groups: int, size: Sequence[int]
) -> Tensor:
    """Of outputs ``(B, O, P, Q)`` and a weight ``(O, C/G, R, S)``, images ``(B, C, H, W)``, and a bias added."""
    if unobserved():
        return choice.spread(y, weight, bias, geometry, groups, size)
    outputs = y.shape[2:]
    grads = torch.matmul(_matrix(weight, groups).mT, _grouped(y, len(outputs), groups))
    grads = grads.reshape(len(y), weight.shape[1] * groups, geometry.places, *outputs)
    return _with_bias(image(grads, size, geometry), bias)


def correlate(y: Tensor, x: Tensor, geometry: Geometry, groups: int) -> Tensor:
    """Of outputs ``(B, O, P, Q)`` and images ``(B, C, H, W)``, a weight ``(O, C/G, R, S)``."""
    if unobserved():
        return choice.correlate(y, x, geometry, groups)
    outputs = y.shape[2:]
    cols = _grouped(columns(x, geometry, outputs), len(outputs), groups)
    total = torch.matmul(_grouped(y, len(outputs), groups), cols.mT).sum(0)
    return total.reshape(y.shape[1], x.shape[1] // groups, *geometry.kernel)


def gradients(
    y: Tensor, x: Tensor, weight: Tensor, needs: Sequence[bool], geometry: Geometry, groups: int
) -> tuple[Tensor | None, Tensor | None]:
    """`spread` to the images and `correlate` to the weight, of outputs ``(B, O, P, Q)``, where they are needed."""
    made = choice.gradients(y, x, weight, needs, geometry, groups) if unobserved() else None
    if made is not None:
        return made
    grad_x = spread(y, weight, None, geometry, groups, x.shape[2:]) if needs[0] else None
    return grad_x, correlate(y, x, geometry, groups) if needs[1] else None


def _with_bias(y: Tensor, bias: Tensor | None) -> Tensor:
    """A number for each channel added to it."""
    return y if bias is None else y + of_each(bias, y)


def _matrix(weight: Tensor, groups: int) -> Tensor:
    """The kernels as a matrix for each group, ``(G, O/G, C/G·R·S)``."""
    return weight.reshape(groups, len(weight) // groups, math.prod(weight.shape[1:]))


def _grouped(x: Tensor, dims: int, groups: int) -> Tensor:
    """Columns ``(B, C, R·S, P, Q)`` or outputs ``(B, O, P, Q)`` as a matrix for each group, ``(B, G, …, P·Q)``."""
    pixels = math.prod(x.shape[-dims:])
    return x.reshape(len(x), groups, math.prod(x.shape[1:-dims]) // groups, pixels)
