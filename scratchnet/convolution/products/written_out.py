r"""The products of convolution by columns: each window of the images written out.

With the windows as columns X of C·R·S numbers (see `scratchnet.windows`) and the weight as a matrix W of O × C·R·S,
`scratchnet.convolution.products` are

.. math::
    Y = W X \qquad
    \bar X = W^\top \bar Y \qquad
    \bar W = \sum_\text{images} \bar Y X^\top

and images are what the windows' adjoint makes of columns. All operations can be differentiated, and no number meets
a zero that is not of the images' margins.

Shapes: B images, C input and O output channels, G groups, H × W pixels, R × S kernel, P × Q outputs.

Source: as a matrix product, Chellapilla, Puri and Simard, "High Performance Convolutional Neural Networks for
Document Processing", 2006.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.convolution.products.lines import of_each
from scratchnet.windows import Geometry, columns, image

__all__ = ["convolve", "correlate", "spread"]


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, groups: int, outputs: Sequence[int]
) -> Tensor:
    """Of images ``(B, C, H, W)`` and a weight ``(O, C/G, R, S)``, the outputs ``(B, O, P, Q)``, and a bias added."""
    cols = _grouped(columns(x, geometry, outputs), len(outputs), groups)
    y = torch.matmul(_matrix(weight, groups), cols).reshape(x.shape[0], weight.shape[0], *outputs)
    return _with_bias(y, bias)


def spread(
    y: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, groups: int, size: Sequence[int]
) -> Tensor:
    """Of outputs ``(B, O, P, Q)`` and a weight ``(O, C/G, R, S)``, images ``(B, C, H, W)``, and a bias added."""
    outputs = y.shape[2:]
    grads = torch.matmul(_matrix(weight, groups).transpose(1, 2), _grouped(y, len(outputs), groups))
    grads = grads.reshape(y.shape[0], weight.shape[1] * groups, geometry.places, *outputs)
    return _with_bias(image(grads, size, geometry), bias)


def correlate(y: Tensor, x: Tensor, geometry: Geometry, groups: int) -> Tensor:
    """Of outputs ``(B, O, P, Q)`` and images ``(B, C, H, W)``, a weight ``(O, C/G, R, S)``."""
    outputs = y.shape[2:]
    cols = _grouped(columns(x, geometry, outputs), len(outputs), groups)
    total = torch.matmul(_grouped(y, len(outputs), groups), cols.transpose(2, 3)).sum(0)
    return total.reshape(y.shape[1], x.shape[1] // groups, *geometry.kernel)


def _with_bias(y: Tensor, bias: Tensor | None) -> Tensor:
    """A number for each channel added to it."""
    return y if bias is None else y + of_each(bias, y)


def _matrix(weight: Tensor, groups: int) -> Tensor:
    """The kernels as a matrix for each group, ``(G, O/G, C/G·R·S)``."""
    return weight.reshape(groups, weight.shape[0] // groups, math.prod(weight.shape[1:]))


def _grouped(x: Tensor, dims: int, groups: int) -> Tensor:
    """Columns ``(B, C, R·S, P, Q)`` or outputs ``(B, O, P, Q)`` as a matrix for each group, ``(B, G, …, P·Q)``."""
    pixels = math.prod(x.shape[-dims:])
    return x.reshape(x.shape[0], groups, math.prod(x.shape[1:-dims]) // groups, pixels)
