"""Pooling in place, on tiles of images that stay in the cache: the fast forms of `argmax` and `average_pooling`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from scratchnet.function import readable
from scratchnet.layout import empty_images, is_channels_last
from scratchnet.pooling.positions import first_unpadded, index_dtype, padding_fills_windows, valid_indices
from scratchnet.pooling.windows import Counts, divisor
from scratchnet.tiling.recorder import BITS
from scratchnet.windows import Geometry, padded, slices

__all__ = ["average", "average_adjoint", "max_and_argmax", "scatter_to_argmax"]

TILE = 2**19  # elements of a tile of images, which stays in the cache with its windows
BY_STAGE = 1.5  # the time of a maximum of maxima, whose positions are read and added, over that of one of elements


def _tiles(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Splits tensors along the batch into tiles, so that those of the first one fit into the cache."""
    images = max(1, TILE // max(1, math.prod(tensors[0].shape[1:])))
    return zip(*(t.split(images) for t in tensors), strict=True)


def max_and_argmax(x: Tensor, geometry: Geometry, channels_last: bool) -> tuple[Tensor, Tensor]:
    """Serves elements without NaN.

    The argmax is the last position that is larger than all earlier ones. The maximum of a large window is that of the
    maxima of its rows, which overlapping windows share.
    """
    if not readable(x) or not x.is_floating_point():
        return NotImplemented
    outputs = geometry.outputs(x.shape[2:])
    y = empty_images(x, len(x), x.shape[1], outputs, x.stride(1) == 1)
    argmax = torch.zeros_like(y, dtype=index_dtype(geometry))
    if geometry.pads:
        argmax.copy_(first_unpadded(x, geometry))
    stages = _stages(geometry, geometry.extent(x.shape[2:]))
    for images, best, best_position in _tiles(x, y, argmax):
        wide, positions, step = padded(images, geometry.padding, float("-inf")), None, 1
        for along in stages[:-1]:
            batch, channels, *size = wide.shape
            rows = empty_images(wide, batch, channels, along.outputs(size), x.stride(1) == 1)
            row_positions = torch.zeros_like(rows, dtype=argmax.dtype)
            _maximize(rows, row_positions, wide, along, positions, step)
            wide, positions, step = rows, row_positions, step * along.positions
        _maximize(best, best_position, wide, stages[-1], positions, step)
    return NotImplemented if bool(y.sum().isnan()) else (y, argmax)


def _stages(geometry: Geometry, size: Sequence[int]) -> list[Geometry]:
    """Returns windows along each dimension, the last one first, or all at once if that takes fewer maxima."""
    shape, maxima, stages = tuple(size), 0, []
    for dim in reversed(range(len(size))):
        ones = [1] * len(size)
        kernel, stride, dilation = (
            (*ones[:dim], numbers[dim], *ones[dim + 1 :])
            for numbers in (geometry.kernel, geometry.stride, geometry.dilation)
        )
        along = Geometry(kernel, stride, ((0, 0),) * len(size), dilation)
        shape = along.outputs(shape)
        maxima += math.prod(shape) * along.positions
        stages.append(along)
    return stages if maxima * BY_STAGE < math.prod(shape) * geometry.positions else [geometry]


def _maximize(
    best: Tensor, best_position: Tensor, x: Tensor, geometry: Geometry, positions: Tensor | None, step: int
) -> None:
    """Writes the maxima of windows and their positions: ``step`` times those in the window, plus ``positions``."""
    first, *others = slices(geometry, best.shape[2:])
    best.copy_(x[first])
    if positions is not None:
        torch.where(best > float("-inf"), positions[first], best_position, out=best_position)
    seen, larger = torch.empty_like(best), torch.empty_like(best_position, dtype=torch.bool)
    for i, position in enumerate(others, 1):
        seen = x[position] if x.stride(1) == 1 else seen.copy_(x[position])
        torch.gt(seen, best, out=larger)
        here: Any = i * step if positions is None else positions[position] + i * step
        if best_position.dtype is torch.uint8:
            torch.maximum(best_position, larger.view(torch.uint8).mul_(here), out=best_position)
        elif positions is None:
            best_position.masked_fill_(larger, here)
        else:
            torch.where(larger, here, best_position, out=best_position)
        torch.maximum(best, seen, out=best)


def scatter_to_argmax(grad: Tensor, argmax: Tensor, geometry: Geometry, size: tuple[int, ...]) -> Tensor:
    """Writes each position of all windows at once if they do not overlap; otherwise adds up index by index."""
    if grad.dtype in BITS and not geometry.pads and not _windows_overlap(geometry):
        return _masked(grad, argmax, geometry, size)
    if padding_fills_windows(geometry, size):
        grad = grad.masked_fill(argmax == geometry.positions, 0)
    total = grad.new_zeros((*grad.shape[:2], math.prod(size)))
    for out, g, positions in _tiles(total, grad, argmax):
        out.scatter_add_(2, valid_indices(positions, geometry, size).flatten(2), g.flatten(2))
    return total.view(*grad.shape[:2], *size)


def _windows_overlap(geometry: Geometry) -> bool:
    spans = [(kernel - 1) * dilation for kernel, dilation in zip(geometry.kernel, geometry.dilation, strict=True)]
    return any(span >= stride for span, stride in zip(spans, geometry.stride, strict=True))


def _masked(grad: Tensor, argmax: Tensor, geometry: Geometry, size: Sequence[int]) -> Tensor:
    """Masks the gradient bit by bit (see `scratchnet.tiling.recorder`) at each position."""
    bits_dtype, places = BITS[grad.dtype], slices(geometry, argmax.shape[2:])
    total = empty_images(grad, len(argmax), argmax.shape[1], size, is_channels_last(argmax))
    if argmax.numel() * geometry.positions != total.numel():
        total.zero_()
    for out, g, positions in _tiles(total, grad, argmax):
        bits = torch.empty_like(positions, dtype=g.dtype).copy_(g).view(bits_dtype)
        mask = torch.empty_like(bits)
        for i, position in enumerate(places):
            torch.eq(positions, i, out=mask).neg_()
            torch.bitwise_and(mask, bits, out=out.view(bits_dtype)[position])
    return total


def average(x: Tensor, geometry: Geometry, counts: Counts) -> Tensor:
    """Adds up in the memory of the output."""
    wide = padded(x, geometry.padding, 0.0) if geometry.pads else x
    first, *others = slices(geometry, geometry.outputs(x.shape[2:]))
    total = wide[first].clone(memory_format=torch.contiguous_format)
    for position in others:
        total.add_(wide[position])
    return total.div_(divisor(counts, x))


def average_adjoint(grad: Tensor, geometry: Geometry, size: Sequence[int], counts: Counts) -> Tensor:
    """Adds the same share to each position, without the windows that `col2im` takes."""
    share = grad / divisor(counts, grad)
    total = share.new_zeros((*grad.shape[:2], *geometry.extent(size)))
    for position in slices(geometry, grad.shape[2:]):
        total[position].add_(share)
    return total[geometry.inside(size)] if geometry.pads else total
