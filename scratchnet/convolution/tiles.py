"""Images as tiles of 2 × 2 pixels, some at a time, in memory that is used again.

Channels lie last, and even and odd columns apart, so that what is added up of neighbouring tiles are long stretches
of numbers.

Shapes: B images, C channels, H × W pixels, P × Q outputs; in a block, T tiles, of n images in h rows and w columns.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

__all__ = ["Block", "Images", "Margins", "Pixels", "Scratch", "blocks_of"]

BLOCK_BYTES = 1 << 23

Margins = Sequence[tuple[int, int]]


class Block(NamedTuple):
    """What is under way at a time: some images, or some rows of tiles of one.

    Attributes:
        images: which of the batch.
        first: row of tiles.
        shape: n, h and w.
        whole: whether it holds all rows of tiles, and so do all blocks.
    """

    images: slice
    first: int
    shape: tuple[int, int, int]
    whole: bool

    @property
    def tiles(self) -> int:
        """T."""
        return math.prod(self.shape)

    @property
    def pixels(self) -> slice:
        """The rows of pixels that the tiles cover."""
        return slice(2 * self.first, 2 * (self.first + self.shape[1]))


def blocks_of(batch: int, outputs: Sequence[int], bytes_of_tile: int) -> Iterator[Block]:
    """Blocks that cover the outputs of a batch, of as many tiles as stay in the cache."""
    rows, columns = (-(-n // 2) for n in outputs)
    room = max(1, BLOCK_BYTES // (bytes_of_tile * columns))
    count, height = max(1, room // rows), min(rows, room)
    count = -(-batch // -(-batch // count)) if batch else 1  # so that all blocks are alike
    for start in range(0, batch, count):
        stop = min(start + count, batch)
        for first in range(0, rows, height):
            shape = stop - start, min(height, rows - first), columns
            yield Block(slice(start, stop), first, shape, height == rows)


class _Held(threading.local):
    """What a thread keeps from one op to the next, since new memory costs more than the arithmetic done in it."""

    def __init__(self) -> None:
        self.tensors: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}


_held = _Held()


class Scratch:
    """Memory by name for the length of one op: what a name held before is there again, to be overwritten."""

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._zeroed: set[str] = set()

    def __call__(self, name: str, *shape: int, zero: bool = False) -> Tensor:
        """A tensor in the memory of that name, which is zero at first where that is asked for."""
        count, key = math.prod(shape), (name, self._like.dtype, self._like.device)
        held = _held.tensors.get(key)
        if held is None or len(held) < count:
            with torch.inference_mode(False):  # or later ops could not write to it
                held = _held.tensors[key] = torch.empty(count, dtype=self._like.dtype, device=self._like.device)
            self._zeroed.discard(name)
        if zero and name not in self._zeroed:
            held.zero_()
            self._zeroed.add(name)
        return held[:count].view(shape)


class Images(Protocol):
    """A batch of images whose pixels can be read block by block, however it is held."""

    channels: int

    def __len__(self) -> int:
        """B."""

    def read(self, block: Block, margins: Margins, overlap: int, scratch: Scratch) -> Tensor:
        """The pixels of a block's tiles, and of ``overlap`` tiles more: ``(n, h + overlap, 2, 2, w + overlap, C)``.

        Tiles begin where the margins of zeros do. After their rows come the row within a tile, the column within, and
        the columns of tiles.
        """


class Pixels:
    """Images ``(B, C, H, W)``, in any layout."""

    def __init__(self, x: Tensor) -> None:
        self._x = x.movedim(1, -1)
        self.channels = x.shape[1]

    def __len__(self) -> int:
        return len(self._x)

    def read(self, block: Block, margins: Margins, overlap: int, scratch: Scratch) -> Tensor:
        """See `Images`."""
        n, h, w = block.shape
        height, channels, (above, left) = self._x.shape[1], self.channels, (before for before, _ in margins)
        rows, columns = 2 * (h + overlap), w + overlap
        pixels = scratch(f"pixels {overlap}", n, rows, 2, columns, channels, zero=True)
        top = 2 * block.first - above  # the image's row that comes first
        inside = slice(max(0, -top), max(0, min(rows, height - top)))
        pixels[:, : inside.start] = 0
        pixels[:, inside.stop :] = 0
        seen = self._x[block.images, top + inside.start : top + inside.stop]
        for parity in (0, 1):
            at = max(0, -((parity - left) // 2))
            found = seen[:, :, 2 * at + parity - left :: 2][:, :, : columns - at]
            pixels[:, inside, parity, at : at + found.shape[2]] = found
        return pixels.view(n, h + overlap, 2, 2, columns, channels)
