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

The columns are R·S times as large as the image, and are not kept.

Shapes: B images, C input and O output channels, G groups, H × W pixels, R × S kernel, P × Q outputs.

Source: as a matrix product, Chellapilla, Puri and Simard, "High Performance Convolutional Neural Networks for
Document Processing", 2006.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from scratchnet.function import unobserved
from scratchnet.windows import Geometry, columns, image, read_columns, write_padded

__all__ = ["convolve", "correlate", "spread"]

CACHE_BYTES = 1 << 20


def convolve(x: Tensor, weight: Tensor, geometry: Geometry, groups: int, outputs: Sequence[int]) -> Tensor:
    """Of images ``(B, C, H, W)`` and a weight ``(O, C/G, R, S)``, the outputs ``(B, O, P, Q)``."""
    batch, out = len(x), len(weight)
    matrix = _matrix(weight, groups)
    if not unobserved():
        cols = _grouped(columns(x, geometry, outputs), len(outputs), groups)
        return torch.matmul(matrix, cols).reshape(batch, out, *outputs)
    y = x.new_empty((batch, out, *outputs))
    for block, cols in _blocks(x, geometry, groups, outputs):
        torch.matmul(matrix, cols, out=y[block].view(-1, groups, out // groups, math.prod(outputs)))
    return y


def spread(y: Tensor, weight: Tensor, geometry: Geometry, groups: int, size: Sequence[int]) -> Tensor:
    """Of outputs ``(B, O, P, Q)`` and a weight ``(O, C/G, R, S)``, images ``(B, C, H, W)``."""
    batch, channels, outputs = len(y), weight.shape[1] * groups, y.shape[2:]
    matrix = _matrix(weight, groups).mT
    if not unobserved():
        grads = torch.matmul(matrix, _grouped(y, len(outputs), groups))
        return image(grads.reshape(batch, channels, geometry.places, *outputs), size, geometry)
    total = y.new_zeros((batch, channels, *geometry.extent(size)))
    step = _images_at_once(channels, geometry, outputs, y)
    places = geometry.slices(outputs)
    for start in range(0, batch, step):
        part = y[start : start + step]
        grads = torch.matmul(matrix, _grouped(part, len(outputs), groups))
        grads = grads.view(len(part), channels, geometry.places, *outputs)
        for i, place in enumerate(places):
            total[start : start + step][place].add_(grads[:, :, i])
    return total[geometry.inside(size)].contiguous()


def correlate(y: Tensor, x: Tensor, geometry: Geometry, groups: int) -> Tensor:
    """Of outputs ``(B, O, P, Q)`` and images ``(B, C, H, W)``, a weight ``(O, C/G, R, S)``."""
    outputs = y.shape[2:]
    shape = (y.shape[1], x.shape[1] // groups, *geometry.kernel)
    if not unobserved():
        cols = _grouped(columns(x, geometry, outputs), len(outputs), groups)
        return torch.matmul(_grouped(y, len(outputs), groups), cols.mT).sum(0).reshape(shape)
    total = y.new_zeros(shape)
    matrix = _matrix(total, groups)
    for block, cols in _blocks(x, geometry, groups, outputs):
        for one, col in zip(_grouped(y[block], len(outputs), groups), cols, strict=True):
            matrix.baddbmm_(one, col.mT)
    return total


def _images_at_once(channels: int, geometry: Geometry, outputs: Sequence[int], like: Tensor) -> int:
    """So many images that their columns stay in the cache."""
    column_bytes = channels * geometry.places * math.prod(outputs) * like.element_size()
    return max(1, CACHE_BYTES // max(column_bytes, 1))


def _blocks(x: Tensor, geometry: Geometry, groups: int, outputs: Sequence[int]) -> Iterator[tuple[slice, Tensor]]:
    """A few images at a time: which they are, and their columns ``(images, G, C/G·R·S, P·Q)`` in one buffer."""
    batch, channels, *size = x.shape
    step = min(_images_at_once(channels, geometry, outputs, x), max(batch, 1))
    extent = geometry.extent(size)
    wide = x if extent == tuple(size) else x.new_zeros((step, channels, *extent))
    buffer = x.new_empty((step, channels, *geometry.kernel, *outputs))
    for start in range(0, batch, step):
        part = write_padded(x[start : start + step], geometry, wide)
        cols = read_columns(part, geometry, outputs, buffer)
        yield slice(start, start + step), _grouped(cols, len(outputs), groups)


def _matrix(weight: Tensor, groups: int) -> Tensor:
    """The kernels as a matrix for each group, ``(G, O/G, C/G·R·S)``."""
    return weight.reshape(groups, len(weight) // groups, math.prod(weight.shape[1:]))


def _grouped(x: Tensor, dims: int, groups: int) -> Tensor:
    """Columns ``(B, C, R·S, P, Q)`` or outputs ``(B, O, P, Q)`` as a matrix for each group, ``(B, G, …, P·Q)``."""
    pixels = math.prod(x.shape[-dims:])
    return x.reshape(len(x), groups, math.prod(x.shape[1:-dims]) // groups, pixels)
