"""Operations of the recurrences' in-place forms, which allocate nothing in a step.

On few units a step takes as long as its calls: an operation with a Python number takes 2 µs longer than one with a
tensor of no dimensions, and one on a buffer is faster than one that allocates its result.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from scratchnet.recurrent.gates import LIMIT
from scratchnet.recurrent.steps import Steps

__all__ = ["Numbers", "head", "tanh_of_half_", "tanh_slope_", "tile", "transposed"]

TILE = 1 << 17  # elements whose gradients' factors stay in the cache while the walk needs them


class Numbers(NamedTuple):
    """Constants as tensors of no dimensions."""

    one: Tensor
    two: Tensor
    limit: Tensor

    @classmethod
    def like(cls, x: Tensor) -> Numbers:
        """Returns the constants in the dtype and on the device of x."""
        return cls(*[x.new_full((), value) for value in (1.0, 2.0, LIMIT)])


def tanh_of_half_(x: Tensor, buffer: Tensor, out: Tensor, numbers: Numbers) -> Tensor:
    """Writes tanh(x / 2) to ``out``, which may be x."""
    u = torch.minimum(x, numbers.limit, out=buffer).expm1_()
    return torch.div(u, torch.add(u, numbers.two, out=out), out=out)


def tanh_slope_(y: Tensor, out: Tensor) -> Tensor:
    """Writes 1 - y² to ``out``, as (1 - y) + (1 - y) y, which does not cancel for y near 1."""
    torch.sub(1, y, out=out)
    return out.addcmul_(out, y)


def head(buffer: Tensor, size: int) -> Tensor:
    """Returns the first rows of a buffer, itself if that is all of them."""
    return buffer if size == buffer.shape[0] else buffer[:size]


def transposed(weight: Tensor, steps: Steps) -> Tensor:
    """Returns the transposed matrix, rearranged in memory if there are enough steps to gain from faster products."""
    return weight.t().contiguous() if len(steps.sizes) > 16 else weight.t()


def tile(steps: Steps, width: int) -> int:
    """Returns for how many times rows of so many elements fit the cache."""
    return max(1, TILE // max(1, steps.sizes[0] * width))
