r"""The products of convolution by columns: each window of the images written out.

With the windows as columns X of C·R·S numbers (see `scratchnet.windows`) and the weight as a matrix W of O × C·R·S,
`scratchnet.convolution.algorithms` are

.. math::
    Y = W X \qquad
    \bar X = W^\top \bar Y \qquad
    \bar W = \sum_\text{images} \bar Y X^\top

and images are what the windows' adjoint makes of columns. All operations can be differentiated, and no number is
multiplied by a zero that is not padding. Where a factor is infinite or NaN, even a zero of the padding would make NaN;
`convolve_inside` and `correlate_inside` then go through the places of the kernel, and multiply only what lies inside
the images.

Shapes: B images, C input and O output channels, G groups, H × W pixels, R × S kernel, P × Q outputs.

Source: as a matrix product, Chellapilla, Puri and Simard, "High Performance Convolutional Neural Networks for
Document Processing", 2006.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from scratchnet.convolution.algorithms.polyphase import of_each
from scratchnet.windows import Geometry, col2im, im2col, padded

__all__ = ["convolve", "convolve_inside", "correlate", "correlate_inside", "backward_input"]


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, groups: int, outputs: Sequence[int]
) -> Tensor:
    """Of images ``(B, C, H, W)`` and a weight ``(O, C/G, R, S)``, the outputs ``(B, O, P, Q)``, and a bias added."""
    cols = _grouped(im2col(x, geometry, outputs), len(outputs), groups)
    y = torch.matmul(_matrix(weight, groups), cols).reshape(x.shape[0], weight.shape[0], *outputs)
    return _with_bias(y, bias)


def backward_input(
    y: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, groups: int, size: Sequence[int]
) -> Tensor:
    """Of outputs ``(B, O, P, Q)`` and a weight ``(O, C/G, R, S)``, images ``(B, C, H, W)``, and a bias added."""
    outputs = y.shape[2:]
    grads = torch.matmul(_matrix(weight, groups).transpose(1, 2), _grouped(y, len(outputs), groups))
    grads = grads.reshape(y.shape[0], weight.shape[1] * groups, geometry.positions, *outputs)
    return _with_bias(col2im(grads, size, geometry), bias)


def correlate(y: Tensor, x: Tensor, geometry: Geometry, groups: int) -> Tensor:
    """Of outputs ``(B, O, P, Q)`` and images ``(B, C, H, W)``, a weight ``(O, C/G, R, S)``."""
    outputs = y.shape[2:]
    cols = _grouped(im2col(x, geometry, outputs), len(outputs), groups)
    total = torch.matmul(_grouped(y, len(outputs), groups), cols.transpose(2, 3)).sum(0)
    return total.reshape(y.shape[1], x.shape[1] // groups, *geometry.kernel)


def convolve_inside(
    x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, groups: int, outputs: Sequence[int]
) -> Tensor:
    """Computes `convolve` without multiplying by padding."""
    y = x.new_zeros((len(x), len(weight), *outputs))
    places = _inside(geometry, x.shape[2:], outputs)
    for matrix, (windows, pixels) in zip(weight.flatten(2).unbind(2), places, strict=True):
        seen = x[pixels]
        part = torch.matmul(_matrix(matrix, groups), _grouped(seen, len(outputs), groups))
        margins = tuple((at.start, n - at.stop) for at, n in zip(windows[2:], outputs, strict=True))
        part = part.reshape(len(x), len(weight), *seen.shape[2:])
        y = y + padded(part, geometry._replace(padding=margins), 0.0)
    return _with_bias(y, bias)


def correlate_inside(y: Tensor, x: Tensor, geometry: Geometry, groups: int) -> Tensor:
    """Computes `correlate` without multiplying by padding."""
    dims = x.dim() - 2
    weight = [
        torch.matmul(_grouped(y[windows], dims, groups), _grouped(x[pixels], dims, groups).mT).sum(0)
        for windows, pixels in _inside(geometry, x.shape[2:], y.shape[2:])
    ]
    return torch.stack(weight, -1).reshape(y.shape[1], x.shape[1] // groups, *geometry.kernel)


def _inside(
    geometry: Geometry, size: Sequence[int], outputs: Sequence[int]
) -> list[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """For each place in the kernel, the index of the windows that see a pixel through it, and of these pixels."""
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
    places = [tuple(zip(*place, strict=True)) for place in product(*along)]
    return [((*every, *windows), (*every, *pixels)) for windows, pixels in places]


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
