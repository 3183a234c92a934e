"""Argmax of windows, and its use as an index: gather, and scatter with addition.

The argmax is the first of equal elements, and the last NaN if there is one, as in PyTorch.

Shapes: B samples, C channels, H × W pixels, R × S kernel, P × Q outputs. An argmax (B, C, P, Q) holds positions in the
window, from 0 to R·S - 1, or R·S for a window that sees only padding.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scratchnet.function import dispatch, opaque
from scratchnet.layout import as_images, empty_images, is_channels_last
from scratchnet.pooling import in_place
from scratchnet.pooling.positions import first_unpadded, index_dtype, padding_fills_windows, valid_indices
from scratchnet.windows import Geometry, padded

__all__ = ["gather_at_argmax", "max_and_argmax", "scatter_to_argmax"]


def max_and_argmax(x: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """Returns the maximum of each window and its position in the window."""
    return _max_and_argmax(x, geometry, is_channels_last(as_images(x)))


def _empty_maxima(x: Tensor, geometry: Geometry, channels_last: bool) -> tuple[Tensor, Tensor]:
    images = x.shape[0], x.shape[1], geometry.outputs(x.shape[2:]), channels_last
    return empty_images(x, *images), empty_images(x, *images, index_dtype(geometry))


@opaque(_empty_maxima)
@dispatch(in_place.max_and_argmax)
def _max_and_argmax(x: Tensor, geometry: Geometry, channels_last: bool) -> tuple[Tensor, Tensor]:
    """Updates the maximum of all windows, one position after the other."""
    lowest = float("-inf") if x.is_floating_point() else torch.iinfo(x.dtype).min
    wide = padded(x, geometry.padding, lowest)
    slices = geometry.slices(geometry.outputs(x.shape[2:]))
    first = wide[slices[0]]
    y, argmax = torch.full_like(first, lowest), first_unpadded(x, geometry).expand(first.shape)
    for i, position in enumerate(slices):
        seen = wide[position]
        larger = (seen > y) | (seen != seen)
        y, argmax = torch.where(larger, seen, y), argmax.masked_fill(larger, i)
    return y, argmax


@dispatch(in_place.scatter_to_argmax)
def scatter_to_argmax(grad: Tensor, argmax: Tensor, geometry: Geometry, size: tuple[int, ...]) -> Tensor:
    """Adds gradients (B, C, P, Q) up at the argmax positions of images of H × W pixels."""
    if padding_fills_windows(geometry, size):
        grad = grad.masked_fill(argmax == geometry.positions, 0)
    batch, channels, *outputs = grad.shape
    zeros, shape = grad.new_zeros((batch, channels, math.prod(size))), (batch, channels, math.prod(outputs))
    total = zeros.scatter_add(2, valid_indices(argmax, geometry, size).reshape(shape), grad.reshape(shape))
    return total.reshape(batch, channels, *size)


def gather_at_argmax(x: Tensor, argmax: Tensor, geometry: Geometry) -> Tensor:
    """Returns the elements of images at the argmax positions: the adjoint of `scatter_to_argmax`."""
    size = x.shape[2:]
    indices = valid_indices(argmax, geometry, size)
    y = x.flatten(2).gather(2, indices.flatten(2)).reshape(indices.shape)
    return y.masked_fill(argmax == geometry.positions, 0) if padding_fills_windows(geometry, size) else y
