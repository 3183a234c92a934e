"""Images read and written tile by tile.

Channels lie last, and even and odd columns apart, so that what is added up of neighbouring tiles are long stretches
of numbers.

Shapes: B images, C channels, H × W pixels; in a block, N images in h rows and w columns of tiles.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.convolution.algorithms.winograd.chunks import Block

__all__ = ["Margins", "Pixels", "blank"]

Margins = Sequence[tuple[int, int]]


def blank(batch: int, channels: int, size: Sequence[int], channels_last: bool, like: Tensor) -> Tensor:
    """Allocates images, seen as ``(B, H, W, C)``; in memory channels are last too if ``channels_last``."""
    if channels_last:
        return like.new_empty((batch, *size, channels))
    return like.new_empty((batch, channels, *size)).movedim(1, -1)


class Pixels:
    """Images ``(B, C, H, W)``, in any layout, within margins, where the first tiles begin.

    The pixels of a block's tiles are ``(N, h, 2, 2, w, C)``: after the rows of tiles the row within a tile, the column
    within, and the columns of tiles; with one row and column of tiles more where tiles overlap with the next.
    """

    def __init__(self, x: Tensor, margins: Margins) -> None:
        self._x = x.movedim(1, -1)
        self._before = [before for before, _ in margins]
        self.channels, self.size = x.shape[1], x.shape[2:]

    def __len__(self) -> int:
        return len(self._x)

    def read(self, block: Block, to: Tensor) -> None:
        """Pixels of the tiles, and zeros for those of the margins; the margins' columns have to be zero before."""
        inside, both = self._in_common(block, to)
        rows = to.flatten(1, 2)
        if inside.start > 0:
            rows[:, : inside.start] = 0
        if inside.stop < rows.shape[1]:
            rows[:, inside.stop :] = 0
        for mine, theirs in both:
            theirs.copy_(mine)

    def write(self, block: Block, made: Tensor, bias: Tensor | None) -> None:
        """What overlapping tiles made, added to what those above them made of the first two rows; and a bias."""
        begun = 2 if block.first else 0
        for mine, theirs in self._in_common(block, made)[1]:
            if begun:
                mine[:, :begun].add_(theirs[:, :begun])
            if bias is None:
                mine[:, begun:] = theirs[:, begun:]
            else:
                torch.add(theirs[:, begun:], bias, out=mine[:, begun:])

    def _in_common(self, block: Block, tiles: Tensor) -> tuple[slice, list[tuple[Tensor, Tensor]]]:
        """Which of the tiles' rows of pixels lie in the images; and views of both there, of even and odd columns."""
        (above, left), (height, width) = self._before, self._x.shape[1:3]
        images, h, _, _, columns, channels = tiles.shape
        top = 2 * block.first - above  # the image's row that comes first
        inside = slice(max(0, -top), max(0, min(2 * h, height - top)))
        mine = self._x[block.images, top + inside.start : top + inside.stop]
        theirs = tiles.view(images, 2 * h, 2, columns, channels)[:, inside]
        if left % 2 == width % 2 == 0:  # both at once
            return inside, [(mine.unflatten(2, (-1, 2)).movedim(3, 2), theirs.narrow(3, left // 2, width // 2))]
        both = []
        for parity in (0, 1):
            at = max(0, -((parity - left) // 2))
            found = mine[:, :, 2 * at + parity - left :: 2][:, :, : columns - at]
            both.append((found, theirs[:, :, parity, at : at + found.shape[2]]))
        return inside, both
