"""Argmax of windows, and its use as an index: gather, and scatter with addition.

The argmax is the first of equal elements, and the last NaN if there is one, as in PyTorch. Images are processed in
tiles that stay in the cache, unless autograd or a transform records the operations.

Shapes: B samples, C channels, H × W pixels, R × S kernel, P × Q outputs. An argmax (B, C, P, Q) holds positions in the
window, from 0 to R·S - 1, or R·S for a window that sees only padding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from scratchnet.function import readable, recorded
from scratchnet.layout import empty_images, is_channels_last
from scratchnet.tiling.recorder import BITS
from scratchnet.windows import Geometry, padded

__all__ = ["flat_indices", "gather_at_argmax", "max_and_argmax", "scatter_to_argmax"]

TILE = 2**19  # elements of a tile of images, which stays in the cache with its windows


def max_and_argmax(x: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """Returns the maximum of each window and its position in the window."""
    if not recorded() and readable(x) and x.is_floating_point() and not geometry.pads:
        y, argmax = _max_in_tiles(x, geometry)
        if not bool(y.sum().isnan()):
            return y, argmax
    return _max_of_padded(x, geometry)


def scatter_to_argmax(grad: Tensor, argmax: Tensor, geometry: Geometry, size: tuple[int, ...]) -> Tensor:
    """Adds gradients (B, C, P, Q) up at the argmax positions of images of H × W pixels."""
    if not recorded() and grad.dtype in BITS and not geometry.pads and not _windows_overlap(geometry):
        return _scatter_in_tiles(grad, argmax, geometry, size)
    if _padding_fills_windows(geometry, size):
        grad = grad.masked_fill(argmax == geometry.positions, 0)
    total = grad.new_zeros((*grad.shape[:2], math.prod(size)))
    if recorded():
        shape = (*grad.shape[:2], math.prod(grad.shape[2:]))
        indices, flat = _valid_indices(argmax, geometry, size).reshape(shape), grad.reshape(shape)
        return total.scatter_add(2, indices, flat).reshape(*grad.shape[:2], *size)
    for out, g, positions in _tiles(total, grad, argmax):
        out.scatter_add_(2, _valid_indices(positions, geometry, size).flatten(2), g.flatten(2))
    return total.view(*grad.shape[:2], *size)


def flat_indices(argmax: Tensor, geometry: Geometry, size: Sequence[int]) -> Tensor:
    """Converts positions in windows to indices into flattened images, as PyTorch returns them; -1 for padding."""
    within = start = torch.zeros((), dtype=torch.int64, device=argmax.device)
    for n, k, s, d, (before, _), outputs in zip(
        size, geometry.kernel, geometry.stride, geometry.dilation, geometry.padding, argmax.shape[2:], strict=True
    ):
        within = within.unsqueeze(-1) * n + torch.arange(k, device=argmax.device) * d
        start = start.unsqueeze(-1) * n + (torch.arange(outputs, device=argmax.device) * s - before)
    table = torch.cat([within.flatten(), within.new_zeros(1)])
    indices = table[argmax.long()] + start
    return (
        indices.masked_fill(argmax == geometry.positions, -1)
        if _padding_fills_windows(geometry, size)
        else indices
    )


def gather_at_argmax(x: Tensor, argmax: Tensor, geometry: Geometry) -> Tensor:
    """Returns the elements of images at the argmax positions: the adjoint of `scatter_to_argmax`."""
    size = x.shape[2:]
    indices = _valid_indices(argmax, geometry, size)
    y = x.flatten(2).gather(2, indices.flatten(2)).reshape(indices.shape)
    return y.masked_fill(argmax == geometry.positions, 0) if _padding_fills_windows(geometry, size) else y


def _valid_indices(argmax: Tensor, geometry: Geometry, size: Sequence[int]) -> Tensor:
    """Returns `flat_indices`, with 0 in place of -1."""
    indices = flat_indices(argmax, geometry, size)
    return indices.clamp(min=0) if _padding_fills_windows(geometry, size) else indices


def _padding_fills_windows(geometry: Geometry, size: Sequence[int]) -> bool:
    """Returns whether a window may see only padding: dilation can step from one margin over the image to the other."""
    return any(
        before and d > n for (before, _), d, n in zip(geometry.padding, geometry.dilation, size, strict=True)
    )


def _tiles(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Splits tensors along the batch into tiles, so that those of the first one fit into the cache."""
    images = max(1, TILE // max(1, math.prod(tensors[0].shape[1:])))
    return zip(*(t.split(images) for t in tensors), strict=True)


def _windows_overlap(geometry: Geometry) -> bool:
    spans = [(kernel - 1) * dilation for kernel, dilation in zip(geometry.kernel, geometry.dilation, strict=True)]
    return any(span >= stride for span, stride in zip(spans, geometry.stride, strict=True))


def _max_of_padded(x: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """Updates the maximum of all windows, one position after the other."""
    lowest = float("-inf") if x.is_floating_point() else torch.iinfo(x.dtype).min
    wide = padded(x, geometry, lowest)
    slices = geometry.slices(geometry.outputs(x.shape[2:]))
    first = wide[slices[0]]
    y, argmax = torch.full_like(first, lowest), _first_unpadded(x, geometry).expand(first.shape)
    for i, position in enumerate(slices):
        seen = wide[position]
        larger = (seen > y) | (seen != seen)
        y, argmax = torch.where(larger, seen, y), argmax.masked_fill(larger, i)
    return y, argmax


def _max_in_tiles(x: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """Computes `max_and_argmax` for windows without padding and elements without NaN.

    The argmax is the last position that is larger than all earlier ones.
    """
    first, *others = geometry.slices(geometry.outputs(x.shape[2:]))
    y = torch.empty_like(x[first])
    argmax = torch.zeros_like(y, dtype=_index_dtype(geometry))
    contiguous_channels = x.stride(1) == 1
    for images, best, best_position in _tiles(x, y, argmax):
        best.copy_(images[first])
        seen, larger = torch.empty_like(best), torch.empty_like(best_position, dtype=torch.bool)
        for i, position in enumerate(others, 1):
            seen = images[position] if contiguous_channels else seen.copy_(images[position])
            torch.gt(seen, best, out=larger)
            if best_position.dtype is torch.uint8:
                torch.maximum(best_position, larger.view(torch.uint8).mul_(i), out=best_position)
            else:
                best_position.masked_fill_(larger, i)
            torch.maximum(best, seen, out=best)
    return y, argmax


def _scatter_in_tiles(grad: Tensor, argmax: Tensor, geometry: Geometry, size: Sequence[int]) -> Tensor:
    """Computes `scatter_to_argmax` for windows without padding that do not overlap.

    Writes each position of all windows at once: the gradient, masked bit by bit (see `scratchnet.tiling.recorder`).
    """
    bits_dtype, slices = BITS[grad.dtype], geometry.slices(argmax.shape[2:])
    total = empty_images(grad, len(argmax), argmax.shape[1], size, is_channels_last(argmax))
    if argmax.numel() * len(slices) != total.numel():
        total.zero_()
    for out, g, positions in _tiles(total, grad, argmax):
        bits = torch.empty_like(positions, dtype=g.dtype).copy_(g).view(bits_dtype)
        mask = torch.empty_like(bits)
        for i, position in enumerate(slices):
            torch.eq(positions, i, out=mask).neg_()
            torch.bitwise_and(mask, bits, out=out.view(bits_dtype)[position])
    return total


def _first_unpadded(x: Tensor, geometry: Geometry) -> Tensor:
    """Returns the first position of each window that is not padding, (P, Q): the argmax if all elements are -inf."""
    first, none = torch.zeros((), dtype=torch.int64, device=x.device), None
    for k, n, s, (before, _), d, size in zip(
        geometry.kernel, geometry.outputs(x.shape[2:]), geometry.stride, geometry.padding, geometry.dilation,
        x.shape[2:], strict=True,
    ):  # fmt: skip
        start = torch.arange(n, device=x.device) * s - before
        position = (d - 1 - start).clamp(min=0) // d
        beyond = start + position * d >= size
        none = beyond if none is None else none.unsqueeze(-1) | beyond
        first = first.unsqueeze(-1) * k + position
    assert none is not None
    return first.masked_fill(none, geometry.positions).to(_index_dtype(geometry))


def _index_dtype(geometry: Geometry) -> torch.dtype:
    return torch.uint8 if geometry.positions <= torch.iinfo(torch.uint8).max else torch.int64
