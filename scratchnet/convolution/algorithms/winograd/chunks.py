"""Chunks of Winograd's 2 × 2 tiles that stay in the cache, and scratch memory that chunks reuse.

A chunk can hold one part per thread, outermost in memory. PyTorch gives each thread an equal share of an operation's
elements in memory order, so each thread continues with the data in its own cache.

Shapes: B images, P × Q outputs; in a chunk, p threads, each with n images of h × w tiles, T = n·h·w.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

__all__ = ["Chunk", "Scratch", "chunks_of"]

CHUNK_BYTES = 1 << 23

T = TypeVar("T")


class Chunk(NamedTuple):
    """Some images, or some rows of tiles of one image.

    Attributes:
        images: the slice of the batch.
        first: the first row of tiles.
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

    def by_thread(self, batch: Tensor) -> Tensor:
        """Views the chunk's images of a batch as (p, n, …)."""
        return batch[self.images].unflatten(0, self.shape[:2])


def chunks_of(batch: int, outputs: Sequence[int], tile_bytes: int, threads: int) -> Iterator[Chunk]:
    """Yields chunks that cover the outputs of a batch, as large as the cache allows.

    Chunks are split among ``threads`` if each thread gets whole images, and not split otherwise.
    """
    rows, columns = (-(-n // 2) for n in outputs)
    limit = max(1, CHUNK_BYTES // (tile_bytes * columns))  # in rows of tiles
    threads = threads if limit >= threads * rows and batch >= threads else 1
    count, height = threads * max(1, limit // (threads * rows)), min(rows, limit)
    if batch:
        count = threads * -(-batch // (threads * -(-batch // count)))  # chunks of nearly equal size
    start = 0
    while start < batch:
        images = min(count, batch - start)
        if images > threads:
            images -= images % threads
        p = threads if images % threads == 0 else 1
        for first in range(0, rows, height):
            shape = p, images // p, min(height, rows - first), columns
            yield Chunk(slice(start, start + images), first, shape)
        start += images


class _Memory(threading.local):
    """Memory that a thread reuses from op to op: touching new pages takes longer than the arithmetic."""

    def __init__(self) -> None:
        self.tensors: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}


_memory = _Memory()


class Scratch:
    """Named scratch memory for one op. A name returns the same memory each time, to be overwritten."""

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._zeroed: set[str] = set()
        self._plans: dict[tuple[object, ...], Any] = {}

    def __call__(self, name: str, *shape: int, zero: bool = False) -> Tensor:
        """Returns a tensor in the memory of that name; ``zero`` fills it before its first use in this op."""
        count, key = math.prod(shape), (name, self._like.dtype, self._like.device)
        memory = _memory.tensors.get(key)
        if memory is None or len(memory) < count:
            with torch.inference_mode(False):  # an inference tensor could not be written to in later ops
                memory = torch.empty(count, dtype=self._like.dtype, device=self._like.device)
            _memory.tensors[key] = memory
            self._zeroed.discard(name)
        if zero and name not in self._zeroed:
            memory.zero_()
            self._zeroed.add(name)
        return memory[:count].view(shape)

    def plan(self, make: Callable[..., T], *sizes: int) -> T:
        """Returns ``make(self, *sizes)``, called once for all chunks of those sizes.

        A plan may hold views of this memory only if it reads no data that another plan left there, since a larger
        request moves a name to new memory. Zeros stay in place because all chunks of an op have rows of one length.
        """
        key = (make, *sizes)
        if key not in self._plans:
            self._plans[key] = make(self, *sizes)
        plan: T = self._plans[key]
        return plan
