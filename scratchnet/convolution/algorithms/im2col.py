r"""Convolution as one matrix product with the columns of im2col.

With the windows as columns X of C·R·S numbers (see `scratchnet.windows`) and the weight as a matrix W of O × C·R·S, the
products of `scratchnet.convolution.algorithms` are

.. math::
    Y = W X \qquad
    \bar X = W^\top \bar Y \qquad
    \bar W = \sum_\text{images} \bar Y X^\top

and col2im adds the columns of :math:`\bar X` up into images. All operations are differentiable, and the only zeros that
enter products are those of the padding. These make NaN where the other factor is infinite or NaN; `convolve_unpadded`
and `correlate_unpadded` then loop over the kernel positions and multiply only pixels inside the images.

Shapes: B images, C input and O output channels, G groups, H × W pixels, R × S kernel, P × Q outputs.

Source: K. Chellapilla, S. Puri and P. Simard, "High performance convolutional neural networks for document processing",
2006.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from scratchnet.convolution.algorithms.polyphase import per_channel
from scratchnet.windows import Geometry, col2im, im2col, padded

__all__ = ["convolve", "convolve_unpadded", "correlate", "correlate_unpadded", "backward_input"]


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, groups: int, outputs: Sequence[int]
) -> Tensor:
    """Convolves images (B, C, H, W) with a weight (O, C/G, R, S) and adds a bias; returns (B, O, P, Q)."""
    cols = _grouped(im2col(x, geometry, outputs), len(outputs), groups)
    y = torch.matmul(_matrix(weight, groups), cols).reshape(x.shape[0], weight.shape[0], *outputs)
    return _with_bias(y, bias)


def backward_input(
    y: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, groups: int, size: Sequence[int]
) -> Tensor:
    """Multiplies outputs (B, O, P, Q) by the adjoint of `convolve` and adds a bias; returns images (B, C, H, W)."""
    outputs = y.shape[2:]
    grads = torch.matmul(_matrix(weight, groups).transpose(1, 2), _grouped(y, len(outputs), groups))
    grads = grads.reshape(y.shape[0], weight.shape[1] * groups, geometry.positions, *outputs)
    return _with_bias(col2im(grads, size, geometry), bias)


def correlate(y: Tensor, x: Tensor, geometry: Geometry, groups: int) -> Tensor:
    """Correlates outputs (B, O, P, Q) with images (B, C, H, W); returns a weight (O, C/G, R, S)."""
    outputs = y.shape[2:]
    cols = _grouped(im2col(x, geometry, outputs), len(outputs), groups)
    total = torch.matmul(_grouped(y, len(outputs), groups), cols.transpose(2, 3)).sum(0)
    return total.reshape(y.shape[1], x.shape[1] // groups, *geometry.kernel)


def convolve_unpadded(
    x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, groups: int, outputs: Sequence[int]
) -> Tensor:
    """Computes `convolve` without multiplying by padding."""
    y = x.new_zeros((x.shape[0], weight.shape[0], *outputs))
    slices = _unpadded_slices(geometry, x.shape[2:], outputs)
    for matrix, (windows, pixels) in zip(weight.flatten(2).unbind(2), slices, strict=True):
        seen = x[pixels]
        product = torch.matmul(_matrix(matrix, groups), _grouped(seen, len(outputs), groups))
        product = product.reshape(x.shape[0], weight.shape[0], *seen.shape[2:])
        margins = tuple((at.start, n - at.stop) for at, n in zip(windows[2:], outputs, strict=True))
        y = y + padded(product, margins, 0.0)
    return _with_bias(y, bias)


def correlate_unpadded(y: Tensor, x: Tensor, geometry: Geometry, groups: int) -> Tensor:
    """Computes `correlate` without multiplying by padding."""
    dims = x.dim() - 2
    weight = [
        torch.matmul(_grouped(y[windows], dims, groups), _grouped(x[pixels], dims, groups).mT).sum(0)
        for windows, pixels in _unpadded_slices(geometry, x.shape[2:], y.shape[2:])
    ]
    return torch.stack(weight, -1).reshape(y.shape[1], x.shape[1] // groups, *geometry.kernel)


def _unpadded_slices(
    geometry: Geometry, size: Sequence[int], outputs: Sequence[int]
) -> list[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Returns for each kernel position the index of the windows that read a pixel there, and of these pixels."""
    along = []
    for k, s, (before, _), d, n, count in zip(*geometry, size, outputs, strict=True):
        dim = []
        for start in range(-before, k * d - before, d):
            first = min(max(0, -(start // s)), count)
            last = max(first, min(count, -((start - n) // s)))
            pixels = slice(start + first * s, start + last * s, s) if last > first else slice(0, 0)
            dim.append((slice(first, last), pixels))
        along.append(dim)
    every = (slice(None), slice(None))
    slices = [tuple(zip(*position, strict=True)) for position in product(*along)]
    return [((*every, *windows), (*every, *pixels)) for windows, pixels in slices]


def _with_bias(y: Tensor, bias: Tensor | None) -> Tensor:
    return y if bias is None else y + per_channel(bias, y)


def _matrix(weight: Tensor, groups: int) -> Tensor:
    """Views a weight (O, C/G, R, S) as one matrix per group, (G, O/G, C/G·R·S)."""
    return weight.reshape(groups, weight.shape[0] // groups, math.prod(weight.shape[1:]))


def _grouped(x: Tensor, dims: int, groups: int) -> Tensor:
    """Views columns (B, C, R·S, P, Q) or outputs (B, O, P, Q) as one matrix per group, (B, G, …, P·Q)."""
    pixels = math.prod(x.shape[-dims:])
    return x.reshape(x.shape[0], groups, math.prod(x.shape[1:-dims]) // groups, pixels)
