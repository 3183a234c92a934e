"""Which element of each window is the largest, and how the gradient comes back to it.

It is the first where several are equal, as in PyTorch, and the last NaN where there is one. Where nothing records the
operations, windows are gone through a block of images at a time and in place.

Shapes: B samples, C channels, H × W pixels, R × S kernel, P × Q outputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from scratchnet.function import readable, recorded
from scratchnet.layout import is_channels_last
from scratchnet.tiling.recorder import BITS
from scratchnet.windows import Geometry, padded

__all__ = ["gather_at_argmax", "scatter_to_argmax", "flat_indices", "max_and_argmax"]

BLOCK = 2**19  # elements of an image block, which with its windows stays in the cache


def max_and_argmax(x: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """The largest element of each window, and its number in the window."""
    if not recorded() and readable(x) and x.is_floating_point() and not geometry.pads:
        y, which = _largest_unpadded(x, geometry)
        if not bool(y.sum().isnan()):
            return y, which
    return _place_by_place(x, geometry)


def scatter_to_argmax(grad: Tensor, which: Tensor, geometry: Geometry, size: tuple[int, ...]) -> Tensor:
    """The gradients added up at the places that won, of images of that size."""
    if not recorded() and grad.dtype in BITS and not geometry.pads and not _overlap(geometry):
        return _masked(grad, which, geometry, size)
    if _beside(geometry, size):
        grad = grad.masked_fill(which == geometry.positions, 0)
    total = grad.new_zeros((*grad.shape[:2], math.prod(size)))
    if recorded():
        shape = (*grad.shape[:2], math.prod(grad.shape[2:]))
        indices, each = _existing(which, geometry, size).reshape(shape), grad.reshape(shape)
        return total.scatter_add(2, indices, each).reshape(*grad.shape[:2], *size)
    for out, g, places in _blocks(total, grad, which):
        out.scatter_add_(2, _existing(places, geometry, size).flatten(2), g.flatten(2))
    return total.view(*grad.shape[:2], *size)


def flat_indices(which: Tensor, geometry: Geometry, size: Sequence[int]) -> Tensor:
    """The place in the window as an index into the flattened image, as PyTorch gives it; -1 where there is none."""
    within = start = torch.zeros((), dtype=torch.int64, device=which.device)
    for n, k, s, d, (before, _), outputs in zip(
        size, geometry.kernel, geometry.stride, geometry.dilation, geometry.padding, which.shape[2:], strict=True
    ):
        within = within.unsqueeze(-1) * n + torch.arange(k, device=which.device) * d
        start = start.unsqueeze(-1) * n + (torch.arange(outputs, device=which.device) * s - before)
    table = torch.cat([within.flatten(), within.new_zeros(1)])
    indices = table[which.long()] + start
    return indices.masked_fill(which == geometry.positions, -1) if _beside(geometry, size) else indices


def gather_at_argmax(x: Tensor, which: Tensor, geometry: Geometry) -> Tensor:
    """What images hold at the places that won: the adjoint of handing back."""
    size = x.shape[2:]
    indices = _existing(which, geometry, size)
    found = x.flatten(2).gather(2, indices.flatten(2)).reshape(indices.shape)
    return found.masked_fill(which == geometry.positions, 0) if _beside(geometry, size) else found


def _existing(which: Tensor, geometry: Geometry, size: Sequence[int]) -> Tensor:
    """The same indices, but that of some element for a window that sees none."""
    indices = flat_indices(which, geometry, size)
    return indices.clamp(min=0) if _beside(geometry, size) else indices


def _beside(geometry: Geometry, size: Sequence[int]) -> bool:
    """Whether a window may see padding alone: dilation can lead it from one margin over the image to the other."""
    return any(
        before and d > n for (before, _), d, n in zip(geometry.padding, geometry.dilation, size, strict=True)
    )


def _blocks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Tensors, cut alike along the batch into blocks of which those of the first fit into the cache."""
    rows = max(1, BLOCK // max(1, math.prod(tensors[0].shape[1:])))
    return zip(*(t.split(rows) for t in tensors), strict=True)


def _overlap(geometry: Geometry) -> bool:
    """Whether an element may lie in several windows."""
    spans = [(kernel - 1) * dilation for kernel, dilation in zip(geometry.kernel, geometry.dilation, strict=True)]
    return any(span >= stride for span, stride in zip(spans, geometry.stride, strict=True))


def _place_by_place(x: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """Goes through the places of a window, and keeps the largest element so far of all windows at once."""
    lowest = float("-inf") if x.is_floating_point() else torch.iinfo(x.dtype).min
    wide = padded(x, geometry, lowest)
    places = geometry.slices(geometry.outputs(x.shape[2:]))
    first = wide[places[0]]
    y, which = torch.full_like(first, lowest), _first_inside(x, geometry).expand(first.shape)
    for i, place in enumerate(places):
        seen = wide[place]
        better = (seen > y) | (seen != seen)
        y, which = torch.where(better, seen, y), which.masked_fill(better, i)
    return y, which


def _largest_unpadded(x: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """The same in blocks and in place, for windows without padding and elements without NaN.

    A later place wins only if it is larger than all before it, so the winner is the last place that was better.
    """
    first, *others = geometry.slices(geometry.outputs(x.shape[2:]))
    y = torch.empty_like(x[first])
    which = torch.zeros_like(y, dtype=_kind(geometry))
    together = x.stride(1) == 1  # channels last, so that what a place sees are stretches as it stands
    for image, best, winner in _blocks(x, y, which):
        best.copy_(image[first])
        seen, better = torch.empty_like(best), torch.empty_like(winner, dtype=torch.bool)
        for i, place in enumerate(others, 1):
            seen = image[place] if together else seen.copy_(image[place])
            torch.gt(seen, best, out=better)
            if winner.dtype is torch.uint8:
                torch.maximum(winner, better.view(torch.uint8).mul_(i), out=winner)
            else:
                winner.masked_fill_(better, i)
            torch.maximum(best, seen, out=best)
    return y, which


def _masked(grad: Tensor, which: Tensor, geometry: Geometry, size: Sequence[int]) -> Tensor:
    """The gradients at the places that won, in blocks, where windows have no padding and share no element.

    Each place gets the gradient of all windows, masked bit by bit (see `scratchnet.tiling.recorder`) by who won.
    """
    kind, places = BITS[grad.dtype], geometry.slices(which.shape[2:])
    make = (
        grad.new_empty if which.numel() * len(places) == math.prod((*which.shape[:2], *size)) else grad.new_zeros
    )
    channels_last = is_channels_last(which)
    batch, channels = which.shape[:2]
    total = make((batch, *size, channels)).movedim(-1, 1) if channels_last else make((batch, channels, *size))
    for out, g, winner in _blocks(total, grad, which):
        bits = torch.empty_like(winner, dtype=g.dtype).copy_(g).view(kind)
        won = torch.empty_like(bits)
        for i, place in enumerate(places):
            torch.eq(winner, i, out=won).neg_()
            torch.bitwise_and(won, bits, out=out.view(kind)[place])
    return total


def _first_inside(x: Tensor, geometry: Geometry) -> Tensor:
    """The first place of each window that is not padding, shape `(P, Q)`: the winner where all are -inf.

    For a window that sees padding alone it is the number of places, which is none of them.
    """
    first, none = torch.zeros((), dtype=torch.int64, device=x.device), None
    for k, n, s, (before, _), d, size in zip(
        geometry.kernel, geometry.outputs(x.shape[2:]), geometry.stride, geometry.padding, geometry.dilation,
        x.shape[2:], strict=True,
    ):  # fmt: skip
        start = torch.arange(n, device=x.device) * s - before
        place = (d - 1 - start).clamp(min=0) // d
        beyond = start + place * d >= size
        none = beyond if none is None else none.unsqueeze(-1) | beyond
        first = first.unsqueeze(-1) * k + place
    assert none is not None
    return first.masked_fill(none, geometry.positions).to(_kind(geometry))


def _kind(geometry: Geometry) -> torch.dtype:
    """The smallest dtype that can number the places of a window."""
    return torch.uint8 if geometry.positions <= torch.iinfo(torch.uint8).max else torch.int64
