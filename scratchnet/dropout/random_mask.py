r"""Random masks: booleans that are true with a probability, the same that PyTorch draws.

A number u below :math:`2^{53}`, all equally likely, makes :math:`u \, 2^{-53} < q` true with probability q, up to
rounding. That is how PyTorch draws on a CPU, but it calls its generator for one element after the other through layers
that take longer than the drawing. Drawing the integers in blocks and comparing them takes half the time, and makes the
same mask from the same state of the generator. Where PyTorch draws otherwise, which it does on some processors and
devices, it is asked for the mask.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from scratchnet.function import readable

__all__ = ["random_mask"]

BITS = 53
BLOCK = 2**15  # integers, which stay in the cache
LEAST = 2**12


def random_mask(x: Tensor, shape: Sequence[int] | None, q: float) -> Tensor:
    """A mask, true with probability q: contiguous, or of the shape and layout of x where no shape is given."""
    mask = torch.empty_like(x, dtype=torch.bool) if shape is None else x.new_empty(shape, dtype=torch.bool)
    if not readable(mask) or mask.numel() < LEAST or not _compares_integers():
        return mask.bernoulli_(q)
    _draw(mask.as_strided((mask.numel(),), (1,)), q)
    return mask


def _draw(flat: Tensor, q: float, generator: torch.Generator | None = None) -> None:
    """Fills a mask in the order of its memory."""
    drawn, bound = flat.new_empty(min(BLOCK, len(flat)), dtype=torch.int64), math.ceil(q * 2**BITS)
    for part in flat.split(BLOCK):
        torch.lt(drawn[: len(part)].random_(0, 2**BITS, generator=generator), bound, out=part)


@cache
def _compares_integers() -> bool:
    """Whether PyTorch draws so on this processor: one that it has a library for may draw otherwise."""
    ours, theirs = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
    got, expected = torch.empty(64, dtype=torch.bool), torch.empty(64, dtype=torch.bool)
    _draw(got, 0.3, ours)
    expected.bernoulli_(0.3, generator=theirs)
    return torch.equal(got, expected) and torch.equal(ours.get_state(), theirs.get_state())
