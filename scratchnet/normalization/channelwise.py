"""Arithmetic by channel: sums over each channel, and affine maps with one scale and one shift for each.

A tensor of shape ``(N, C, …)`` is seen as planes of shape ``(B, C, L)``. In the default layout B counts samples
and L positions; in channels-last memory B counts samples and positions together and L is 1. Both are views, so
one piece of code serves all layouts and dimensions. A vector of C numbers meets the planes as a column.

Where nothing records the operations, they run block by block along B, with temporaries that stay in cache;
otherwise the same formulas are written plainly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from scratchnet.function import readable, recorded

__all__ = [
    "Planes",
    "affine",
    "blocks",
    "centred_sums",
    "column",
    "fresh",
    "moments",
    "standardized",
]

# Elements of one block: in float32 this makes 2 MiB for each tensor that takes part, which a last-level cache
# holds, while the calls on a block still cost little beside its arithmetic.
BLOCK = 2**19


class Planes:
    """How tensors of one shape and memory layout are seen as planes, and planes as such a tensor again."""

    def __init__(self, x: Tensor) -> None:
        self.shape = x.shape
        self.channels_last = not recorded() and _is_channels_last(x)

    @property
    def count(self) -> int:
        """How many values each channel has; 1 where it has none, which spares an empty batch 0 / 0."""
        return max(1, self.shape[0] * math.prod(self.shape[2:]))

    def of(self, x: Tensor) -> Tensor:
        """The tensor as planes; one of another memory layout is copied."""
        if self.channels_last:
            return x.movedim(1, -1).reshape(-1, self.shape[1], 1)
        return x.reshape(*self.shape[:2], math.prod(self.shape[2:]))

    def back(self, planes: Tensor) -> Tensor:
        """Planes in the original shape."""
        if self.channels_last:
            samples, channels, *space = self.shape
            return planes.view(samples, *space, channels).movedim(-1, 1)
        return planes.reshape(self.shape)


def _is_channels_last(x: Tensor) -> bool:
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    if x.dim() not in formats or x.numel() == 0 or x.is_contiguous():
        return False
    return x.is_contiguous(memory_format=formats[x.dim()])


def moments(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel of some planes.

    The variance is the mean square distance from the mean, not the difference of two large numbers. In blocks
    the rounding error of the mean is found on the way, as the mean distance from it, and taken off the variance. The
    mean keeps it: where it is small, what is found is how the differences were rounded, all of them alike.
    """
    mean = channel_sum(x) / count
    if recorded():
        # Rounding made the mean of what is left; it has no derivative.
        mean = mean + (channel_sum(x - mean[:, None]) / count).detach()
        centred = x - mean[:, None]
        return mean, channel_sum(centred * centred) / count
    var, error = _spread(x, mean, count)
    lost = _drowned(mean, var)
    if bool(lost.any()):
        mean = torch.where(lost, mean + error, mean)
        var = _spread(x, mean, count)[0]
    return mean, var


def _spread(x: Tensor, mean: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The variance of each channel, and the rounding error of its mean."""
    sums = [(channel_sum(centred), channel_sum(centred.square_())) for centred in _centred(x, mean)]
    error, square = (_total(parts).div_(count) for parts in zip(*sums, strict=True))
    return square.addcmul_(error, error, value=-1), error


def _drowned(mean: Tensor, var: Tensor) -> Tensor:
    """Where values differ so little that the rounding of their mean may be all that the variance holds."""
    rounding = mean * (16 * torch.finfo(mean.dtype).eps)
    return (var <= rounding * rounding) & (mean != 0) if readable(mean) else torch.zeros(())


def centred_sums(grad: Tensor, x: Tensor, mean: Tensor, rstd: Tensor) -> tuple[Tensor, Tensor]:
    """Σ g and Σ g (x - mean) over each channel of some planes.

    Less the mean, all values of a binade are rounded alike, and the second sum adds that up. So in blocks it is taken
    less a number nearby, of so few digits that hardly any difference is rounded, and corrected by the first.
    """
    if recorded():
        return channel_sum(grad), channel_sum(grad * (x - mean[:, None]))
    grid = torch.exp2(-20 - torch.log2(rstd).ceil_())
    near = torch.round(mean / grid).mul_(grid)
    near = torch.where(near.isfinite(), near, mean)  # of a variance that is 0 or infinite there is no grid
    pairs = zip(blocks(grad), _centred(x, near), strict=True)
    sums = [(channel_sum(g), channel_sum(centred.mul_(g))) for (g,), centred in pairs]
    total, aligned = (_total(parts) for parts in zip(*sums, strict=True))
    return total, aligned.addcmul_(total, near.sub_(mean))


def channel_sum(x: Tensor) -> Tensor:
    """Σ x over each channel; in two steps, which is faster than one, and adds up rounded sums in float64."""
    return x.sum((0, 2)) if x.shape[2] == 1 else x.sum(2).sum(0, dtype=torch.float64).to(x.dtype)


def _total(parts: tuple[Tensor, ...]) -> Tensor:
    """The sum over all blocks."""
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0, dtype=torch.float64).to(parts[0].dtype)


def standardized(x: Tensor, mean: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    """(x - mean) · scale + bias of some planes, by channel."""
    if recorded():
        y = (x - mean[:, None]) * scale[:, None]
        return y if bias is None else y + bias[:, None]
    y = fresh(x)
    factor, shift = column(scale, x), None if bias is None else column(bias, x)
    for out, block in blocks(y, x):
        torch.sub(block, mean[:, None], out=out)
        out.mul_(factor) if shift is None else torch.addcmul(shift, out, factor, out=out)
    return y


def affine(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """x · scale + shift of some planes, by channel, in one pass."""
    columns = (column(shift, x), x, column(scale, x))
    return torch.addcmul(*columns) if recorded() else torch.addcmul(*columns, out=fresh(x))


def fresh(x: Tensor) -> Tensor:
    """Unwritten memory for planes of the shape of x."""
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def column(vector: Tensor, x: Tensor) -> Tensor:
    """A vector as a column along the planes; written out along L, without which `addcmul` is not vectorised."""
    channels, length = x.shape[1:]
    return vector[:, None] if length == 1 else vector[:, None].expand(channels, length).contiguous()


def blocks(*planes: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Tensors, cut alike along B into blocks of which those of the first fit into the cache."""
    if planes[0].numel() <= BLOCK:
        return iter([planes])
    rows = _rows(planes[0])
    return zip(*(p.split(rows) for p in planes), strict=True)


def _rows(x: Tensor) -> int:
    return max(1, BLOCK // math.prod(x.shape[1:]))


def _centred(x: Tensor, mean: Tensor) -> Iterator[Tensor]:
    """x - mean, block by block, in memory that the next block overwrites."""
    centre = mean[:, None]
    if x.numel() <= BLOCK:
        yield x - centre
        return
    scratch = fresh(x[: _rows(x)])
    for (block,) in blocks(x):
        yield torch.sub(block, centre, out=scratch[: len(block)])
