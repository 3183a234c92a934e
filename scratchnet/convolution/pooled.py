"""Convolution, rectifier and pooling at once, where a window of the pooling is a tile of Winograd's outputs.

What is rectified and pooled while the tile is in the cache never has to be written out: of four outputs one is left,
and which of the four it was, counted along the rows from 0. The gradient of the outputs is as large as they are, and
zero but at those places; it too is only there tile by tile.

Shapes: B images, C input and O output channels; P × Q windows, each of 2 × 2 outputs; in a block, n images in h rows
and w columns of tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from scratchnet.convolution import winograd
from scratchnet.convolution.tiles import Block, Margins, Pixels, Scratch
from scratchnet.windows import Geometry, channels_last

__all__ = ["Winners", "convolve", "gradients", "pays"]

TILES = Geometry((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1))


def pays(x: Tensor, weight: Tensor, geometry: Geometry, groups: int, windows: Geometry) -> bool:
    """Whether the windows of the pooling are tiles, and the convolution gains by them."""
    channels, out = x.shape[1], len(weight)
    return windows == TILES and winograd.pays(x, channels, out, geometry, groups)


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, margins: Margins, outputs: Sequence[int]
) -> tuple[Tensor, Tensor] | None:
    """Of images ``(B, C, H, W)``, what is left of each window and which it was, ``(B, O, P, Q)``.

    None if an output is not finite.
    """
    batch, out, windows, scratch = len(x), len(weight), [n // 2 for n in outputs], Scratch(weight)
    last = channels_last(x) or channels_last(weight)
    y = x.new_empty((batch, *windows, out) if last else (batch, out, *windows))
    y = y if last else y.movedim(1, -1)
    which = x.new_empty((batch, *windows, out), dtype=torch.uint8)
    total = x.new_zeros(())
    covered = [2 * n for n in windows]
    for block, products in winograd.products_of(Pixels(x), weight, bias, margins, covered, scratch):
        rows = slice(block.first, block.first + block.shape[1])
        left, right = (write(first, second, out=first) for write, first, second in winograd.outputs_of(products))
        total += products[:2, :2].sum()
        # The winner's column in each row and the winning row, in numbers of a byte.
        column = torch.gt(right, left).view(torch.uint8)
        top, bottom = torch.maximum(left, right, out=left)
        below = torch.gt(bottom, top).view(torch.uint8)
        torch.maximum(column[0], column[1].add_(2).mul_(below), out=which[block.images, rows])
        best = torch.maximum(top, bottom, out=top).clamp_(min=0)
        y[block.images, rows] = best
    return (y.movedim(-1, 1), which.movedim(-1, 1)) if bool(total.isfinite()) else None


def gradients(
    grad: Tensor, which: Tensor, x: Tensor, weight: Tensor, needs: Sequence[bool], margins: Margins
) -> tuple[Tensor | None, Tensor | None] | None:
    """In the images and in the weight, of those that are needed; None if one is not finite."""
    winners, last = Winners(grad, which), channels_last(x) or channels_last(weight)
    grad_x = winograd.spread(winners, weight, None, margins, x.shape[2:], last) if needs[0] else None
    grad_weight = winograd.correlate(winners, Pixels(x), margins, winners.size, x) if needs[1] else None
    made = grad_x, grad_weight
    return None if any(need and one is None for need, one in zip(needs, made, strict=False)) else made


class Winners:
    """The gradient of the outputs: at the place that is left of each window the gradient of what is left."""

    def __init__(self, grad: Tensor, which: Tensor) -> None:
        self._grad, self._which = grad.movedim(1, -1), which.movedim(1, -1)
        self.channels = grad.shape[1]
        self.size = [2 * n for n in grad.shape[2:]]

    def __len__(self) -> int:
        return len(self._grad)

    def read(self, block: Block, margins: Margins, overlap: int, scratch: Scratch) -> Tensor:
        """See `scratchnet.convolution.tiles.Images`."""
        (n, h, w), (height, width), ((above, _), (left, _)) = block.shape, self._grad.shape[1:3], margins
        pixels = scratch(f"pixels {overlap}", n, h + overlap, 2, 2, w + overlap, self.channels, zero=True)
        if not block.whole:
            pixels.zero_()
        # The windows of which upper or lower outputs are among the rows of tiles: those of the lower begin earlier.
        (start, _), (_, stop) = each = [
            [min(max(0, n), height) for n in (first, first + h + overlap)]
            for first in (block.first - (above + row) // 2 for row in (1, 0))
        ]
        seen = self._grad[block.images, start:stop]
        grad = scratch("gradients", *seen.shape).copy_(seen)
        which = scratch("which", *seen.shape).copy_(self._which[block.images, start:stop])
        won = scratch("won", *seen.shape)
        for number, (row, column) in enumerate(product((0, 1), (0, 1))):
            down, right = divmod(above + row, 2), divmod(left + column, 2)
            begin, end = each[1 - row]
            at, mine = down[0] - block.first, slice(begin - start, end - start)
            to = pixels[:, begin + at : end + at, down[1], right[1], right[0] : right[0] + width]
            torch.eq(which[:, mine], number, out=won[:, mine])
            torch.mul(won[:, mine], grad[:, mine], out=to)
        return pixels
