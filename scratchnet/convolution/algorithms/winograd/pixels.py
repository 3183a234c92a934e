"""Reading and writing the pixels of Winograd's tiles.

Tiles store channels last and even and odd columns apart, so that transforms add long contiguous rows of neighboring
tiles.

Shapes: B images, C channels, H × W pixels; in a chunk, N images of h × w tiles.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.convolution.algorithms.winograd.chunks import Chunk

__all__ = ["Margins", "Pixels"]

Margins = Sequence[tuple[int, int]]


class Pixels:
    """Images (B, C, H, W) in any memory format, with the margins at which the first tiles begin.

    The pixels of a chunk's tiles have shape (N, h, 2, 2, w, C): row of tiles, row within the tile, column within the
    tile, column of tiles. Where tiles overlap with the next ones, there is one more row and column of tiles.
    """

    def __init__(self, x: Tensor, margins: Margins) -> None:
        self._x = x.movedim(1, -1)
        self._before = [before for before, _ in margins]
        self.channels, self.size = x.shape[1], x.shape[2:]

    def __len__(self) -> int:
        return len(self._x)

    def read(self, chunk: Chunk, tiles: Tensor) -> None:
        """Copies pixels to the tiles and zeros the rows of the margins; their columns must be zero already."""
        inside, overlaps = self._overlaps(chunk, tiles)
        rows = tiles.flatten(1, 2)
        if inside.start > 0:
            rows[:, : inside.start] = 0
        if inside.stop < rows.shape[1]:
            rows[:, inside.stop :] = 0
        for pixels, of_tiles in overlaps:
            of_tiles.copy_(pixels)

    def write(self, chunk: Chunk, tiles: Tensor, bias: Tensor | None) -> None:
        """Copies tiles to the pixels and adds a bias; adds the first two rows to those of the chunk above."""
        written = 2 if chunk.first else 0
        for pixels, of_tiles in self._overlaps(chunk, tiles)[1]:
            if written:
                pixels[:, :written].add_(of_tiles[:, :written])
            if bias is None:
                pixels[:, written:] = of_tiles[:, written:]
            else:
                torch.add(of_tiles[:, written:], bias, out=pixels[:, written:])

    def _overlaps(self, chunk: Chunk, tiles: Tensor) -> tuple[slice, list[tuple[Tensor, Tensor]]]:
        """Returns which rows of the tiles lie in the images, and views of the pixels both share, by column parity."""
        (above, left), (height, width) = self._before, self._x.shape[1:3]
        images, h, _, _, columns, channels = tiles.shape
        top = 2 * chunk.first - above  # the chunk's first row, in the image
        inside = slice(max(0, -top), max(0, min(2 * h, height - top)))
        x = self._x[chunk.images, top + inside.start : top + inside.stop]
        of_tiles = tiles.view(images, 2 * h, 2, columns, channels)[:, inside]
        if left % 2 == width % 2 == 0:  # both parities at once
            return inside, [(x.unflatten(2, (-1, 2)).movedim(3, 2), of_tiles.narrow(3, left // 2, width // 2))]
        overlaps = []
        for parity in (0, 1):
            first = max(0, -((parity - left) // 2))
            pixels = x[:, :, 2 * first + parity - left :: 2][:, :, : columns - first]
            overlaps.append((pixels, of_tiles[:, :, parity, first : first + pixels.shape[2]]))
        return inside, overlaps
