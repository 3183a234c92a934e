"""Tensors cut into slabs, within which one dimension stays whole: for mathematics that reduces along it.

Several passes over a slab find it in the cache, where several over the tensor would each go to memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

__all__ = ["slabs"]

# Elements of a slab for each thread: in float32 a quarter MiB for each tensor that takes part.
PER_THREAD = 2**16


def slabs(tensors: Sequence[Tensor], dim: int) -> Iterator[Sequence[Tensor]]:
    """Tensors cut alike along a dimension other than ``dim``, the first one that has several elements.

    The tensors have the shape of the first one, or 1 in place of the size of ``dim``.
    """
    first = tensors[0]
    size = PER_THREAD * torch.get_num_threads()
    if first.numel() <= size:
        return iter([tensors])
    dim %= first.dim()
    across = next((d for d in range(first.dim()) if d != dim and first.shape[d] > 1), dim)
    if across == dim:
        return iter([tensors])
    rows = max(1, size * first.shape[across] // first.numel())
    return zip(*(t.split(rows, across) for t in tensors), strict=True)
