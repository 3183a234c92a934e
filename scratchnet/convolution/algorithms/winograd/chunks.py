"""Tiles of 2 × 2 pixels, some at a time, and memory for them that is used again.

What is under way can have as many parts as there are threads, outermost in memory. Each thread gets an equal share of
an operation's numbers in the order of memory, and so it goes on with what it made itself and has in its own cache.

Shapes: B images, P × Q outputs; in a block, p parts, each of T tiles, of n images in h rows and w columns.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

__all__ = ["Block", "Scratch", "blocks_of"]

BLOCK_BYTES = 1 << 23

Made = TypeVar("Made")


class Block(NamedTuple):
    """What is under way at a time: some images, or some rows of tiles of one.

    Attributes:
        images: which of the batch.
        first: row of tiles.
        shape: p, n, h and w.
    """

    images: slice
    first: int
    shape: tuple[int, int, int, int]

    @property
    def rows(self) -> slice:
        """The rows of tiles."""
        return slice(self.first, self.first + self.shape[2])

    @property
    def pixels(self) -> slice:
        """The rows of pixels that the tiles cover."""
        return slice(2 * self.rows.start, 2 * self.rows.stop)

    def parts(self, batch: Tensor) -> Tensor:
        """The block's images of a batch, ``(p, n, …)``."""
        return batch[self.images].unflatten(0, self.shape[:2])


def blocks_of(batch: int, outputs: Sequence[int], bytes_of_tile: int, parts: int) -> Iterator[Block]:
    """Blocks that cover the outputs of a batch, of as many tiles as stay in the cache.

    Each has so many parts where all of them get whole images; else one.
    """
    rows, columns = (-(-n // 2) for n in outputs)
    room = max(1, BLOCK_BYTES // (bytes_of_tile * columns))  # rows of tiles
    parts = parts if room >= parts * rows and batch >= parts else 1
    count, height = parts * max(1, room // (parts * rows)), min(rows, room)
    if batch:
        count = parts * -(-batch // (parts * -(-batch // count)))  # so that blocks are as alike as can be
    start = 0
    while start < batch:
        images = min(count, batch - start)
        if images > parts:
            images -= images % parts
        p = parts if images % parts == 0 else 1
        for first in range(0, rows, height):
            shape = p, images // p, min(height, rows - first), columns
            yield Block(slice(start, start + images), first, shape)
        start += images


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
        self._prepared: dict[tuple[object, ...], Any] = {}

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

    def prepared(self, prepare: Callable[..., Made], *sizes: int) -> Made:
        """``prepare(self, *sizes)``, once for all blocks of those sizes.

        What is prepared may hold views of this memory, as long as it hands on what lies there itself: a name may get
        other memory later, for more numbers. Zeros stay where they are as all blocks of an op have rows of one length.
        """
        key = (prepare, *sizes)
        if key not in self._prepared:
            self._prepared[key] = prepare(self, *sizes)
        made: Made = self._prepared[key]
        return made
