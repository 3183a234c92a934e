"""Images as strips of some rows of outputs, a few strips at a time, in memory that is used again.

Channels lie last, so that a row of pixels is one stretch of numbers, whatever is done to all of its columns.

Shapes: B images, C channels, H × W pixels, P × Q outputs; in a block, n images of s strips each, of h rows.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from scratchnet.windows import channels_last

__all__ = ["Block", "Margins", "Rows", "Scratch", "blocks_of"]

BLOCK_BYTES = 1 << 23

Margins = Sequence[tuple[int, int]]


class Block(NamedTuple):
    """What is under way at a time: some images, or some strips of one.

    Attributes:
        images: which of the batch.
        first: the first strip.
        shape: n and s.
        height: rows of a strip.
    """

    images: slice
    first: int
    shape: tuple[int, int]
    height: int

    @property
    def rows(self) -> slice:
        """The rows of outputs that the strips cover."""
        return slice(self.height * self.first, self.height * (self.first + self.shape[1]))


def blocks_of(batch: int, outputs: int, height: int, bytes_of_strip: int) -> Iterator[Block]:
    """Blocks that cover so many rows of outputs of a batch, of as many strips as stay in the cache."""
    strips = -(-outputs // height)
    room = max(1, BLOCK_BYTES // bytes_of_strip)
    count, most = max(1, room // strips), min(strips, room)
    for start in range(0, batch, count):
        stop = min(start + count, batch)
        for first in range(0, strips, most):
            yield Block(slice(start, stop), first, (stop - start, min(most, strips - first)), height)


class _Held(threading.local):
    """What a thread keeps from one op to the next: with new memory each time, a convolution takes a fifth longer."""

    def __init__(self) -> None:
        self.tensors: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}


_held = _Held()


class Scratch:
    """Memory by name: what a name held before is there again, to be overwritten."""

    def __init__(self, like: Tensor) -> None:
        self._dtype, self._device = like.dtype, like.device

    def __call__(self, name: str, *shape: int) -> Tensor:
        """A tensor in the memory of that name; what it holds is left over."""
        count, key = math.prod(shape), (name, self._dtype, self._device)
        held = _held.tensors.get(key)
        if held is None or len(held) < count:
            with torch.inference_mode(False):  # or later ops could not write to it
                held = _held.tensors[key] = torch.empty(count, dtype=self._dtype, device=self._device)
        return held[:count].view(shape)


class Rows:
    """The rows of images ``(B, C, H, W)``, in any layout, within margins of zeros."""

    def __init__(self, x: Tensor, margins: Margins) -> None:
        self._x = x.movedim(1, -1)
        (self._above, _), (self._left, self._right) = margins
        self._in_place = channels_last(x) and self._left == self._right == 0
        self.bytes = x.element_size()
        self.width = self._left + x.shape[3] + self._right

    def read(self, block: Block, scratch: Scratch, name: str, beyond: int) -> Tensor:
        """The rows that belong to a block's strips, and so many beyond: ``(n, s h + beyond, W, C)``, with margins."""
        (n, strips), (_, height, width, channels) = block.shape, self._x.shape
        count, top = block.height * strips + beyond, block.rows.start - self._above
        inside = slice(max(0, -top), max(0, min(count, height - top)))
        seen = self._x[block.images, top + inside.start : top + inside.stop]
        if self._in_place and seen.shape[1] == count:
            return seen
        rows = scratch(name, n, count, self.width, channels)
        rows[:, : inside.start] = 0
        rows[:, inside.stop :] = 0
        rows[:, inside, : self._left] = 0
        rows[:, inside, self._left + width :] = 0
        rows[:, inside, self._left : self._left + width] = seen
        return rows
