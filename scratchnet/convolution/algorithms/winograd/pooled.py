"""Convolution, rectifier and pooling at once, where a window of the pooling is a tile of Winograd's outputs.

What is rectified and pooled while the tile is in the cache never has to be written out: of four outputs one is left,
and which of the four it was, counted along the rows from 0. The gradient of the outputs is as large as they are, and
zero but at those places; it too is only there tile by tile.

Outputs that no window holds, in a last odd row or column, are not made at all. What only they see does not reach the
gradient of the weight, not even where it is infinite and its product with their zero gradient would be NaN.

Shapes: B images, C input and O output channels; P × Q windows, each of 2 × 2 outputs; in a block, p parts, each of n
images in h rows and w columns of tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from scratchnet.convolution.algorithms.winograd import filtering
from scratchnet.convolution.algorithms.winograd.chunks import Block, Scratch
from scratchnet.convolution.algorithms.winograd.pixels import Margins, Pixels, blank
from scratchnet.convolution.algorithms.winograd.transforms import Pass, outputs
from scratchnet.layout import is_channels_last
from scratchnet.windows import Geometry

__all__ = ["Argmax", "convolve", "gradients", "worthwhile"]

TILES = Geometry((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1))


def worthwhile(x: Tensor, weight: Tensor, geometry: Geometry, groups: int, windows: Geometry) -> bool:
    """Whether the windows of the pooling are tiles, and the convolution gains by them."""
    channels, out = x.shape[1], len(weight)
    return windows == TILES and filtering.worthwhile(x, channels, out, geometry, groups)


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, margins: Margins, size: Sequence[int], channels_last: bool
) -> tuple[Tensor, Tensor] | None:
    """Of images ``(B, C, H, W)``, what is left of each window and which it was, ``(B, O, P, Q)``.

    Where channels of what is left are to be ``channels_last``, they are so in memory. None if an output is not finite.
    """
    batch, out, windows, scratch = len(x), len(weight), [n // 2 for n in size], Scratch(weight)
    y = blank(batch, out, windows, channels_last, x)
    which = x.new_empty((batch, *windows, out), dtype=torch.uint8)
    total = x.new_zeros(())
    covered = [2 * n for n in windows]
    for block, summed in filtering.row_sums_of(Pixels(x, margins), weight, bias, covered, scratch):
        left, right = summed[:, :, 0], summed[:, :, 1]
        outputs(summed, left, right)
        total += summed[:, :, :2].sum()
        # The winner's column in each row and the winning row, in numbers of a byte.
        column = torch.gt(right, left).view(torch.uint8)
        top, bottom = torch.maximum(left, right, out=left).unbind(1)
        below = torch.gt(bottom, top).view(torch.uint8)
        torch.maximum(column[:, 0], column[:, 1].add_(2).mul_(below), out=block.parts(which[:, block.rows]))
        block.parts(y[:, block.rows]).copy_(torch.maximum(top, bottom, out=top).clamp_(min=0))
    return (y.movedim(-1, 1), which.movedim(-1, 1)) if bool(total.isfinite()) else None


def gradients(
    grad: Tensor, which: Tensor, x: Tensor, weight: Tensor, needs: Sequence[bool], margins: Margins
) -> tuple[Tensor | None, Tensor | None] | None:
    """In the images and in the weight, of those that are needed; None if one is not finite."""
    winners, channels_last = Argmax(grad, which), is_channels_last(x) or is_channels_last(weight)
    made = filtering.gradients(winners, x, weight, needs, margins, channels_last)
    return None if any(need and one is None for need, one in zip(needs, made, strict=False)) else made


class Argmax:
    """The gradient of the outputs: at the place that is left of each window the gradient of what is left.

    An upstream of Winograd's convolution, see `scratchnet.convolution.algorithms.winograd.filtering.Upstream`.
    """

    def __init__(self, grad: Tensor, which: Tensor) -> None:
        self._grad, self._which = grad.movedim(1, -1), which.movedim(1, -1)
        self.channels = grad.shape[1]

    def __len__(self) -> int:
        return len(self._grad)

    @property
    def size(self) -> Sequence[int]:
        """Of the outputs that windows hold."""
        return [2 * n for n in self._grad.shape[1:3]]

    def sums(self, block: Block, scratch: Scratch) -> Tensor:
        """Aᵀ of a block's tiles, of which one number of four is not zero."""
        made = scratch.prepared(_sums, *block.shape, self.channels)
        grad, which = made.source.unbind(1)
        grad.copy_(block.parts(self._grad[:, block.rows]))
        which.copy_(block.parts(self._which[:, block.rows]))
        return made.run()


def _sums(scratch: Scratch, p: int, n: int, h: int, w: int, channels: int) -> Pass:
    """The `sums` of an upstream of winners ``(p, 2, n, h, w, O)``, gradient and place: ``(p·16, T, O)``."""
    rows = scratch("winners along rows", p, 5, n, h, w, channels)
    only_upper, grad, difference, only_lower, which = rows.unbind(1)
    lower = scratch("lower", p, n, h, w, channels)
    both = scratch("sums", p, 4, 4, n, h, w, channels)
    only_left, either, across, only_right = both.unbind(2)
    steps = [
        partial(torch.ge, which, 2, out=lower),
        partial(which.sub_, lower, alpha=2),  # which is now the column
        partial(torch.mul, grad, lower, out=only_lower),
        partial(torch.sub, grad, only_lower, out=only_upper),
        partial(torch.sub, only_upper, only_lower, out=difference),
        partial(either.copy_, rows[:, :4]),
        partial(torch.mul, rows[:, :4], which.unsqueeze(1), out=only_right),
        partial(torch.sub, rows[:, :4], only_right, out=only_left),
        partial(torch.sub, only_left, only_right, out=across),
    ]
    return Pass(rows[:, 1::3], both.view(p * 16, -1, channels), steps)
