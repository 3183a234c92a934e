r"""Resampling of bytes: the linear maps of `scratchnet.resampling.resampling` in integers.

.. math::
    y_o = \operatorname{clamp}\Big( \Big\lfloor 2^{-b} \Big( 2^{b - 1} + \sum_t v_{ot}\, x_{i(o,t)} \Big) \Big\rfloor,
        0, 255 \Big), \qquad
    v_{ot} = \lfloor 2^b w_{ot} \rceil

with as many bits b as let the largest weight fit 16 of them. The last dimension comes first, and is rounded to bytes
before the next: so does PyTorch, which has it from Pillow, and any other order gives other bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.resampling.resampling import Taps, applied

__all__ = ["resampled_bytes"]

MOST_BITS = 22


def resampled_bytes(x: Tensor, maps: Sequence[tuple[int, Taps, Taps]]) -> Tensor:
    """Each map in turn, from the last dimension to the first, rounded to bytes after each."""
    for dim, taps, _ in reversed(maps):
        integers, bits = _in_integers(taps)
        total = applied(x.to(torch.int32), dim, integers)
        whole = torch.div(total + (1 << (bits - 1)), 1 << bits, rounding_mode="floor")
        x = whole.clamp(0, 255).to(torch.uint8)
    return x


def _in_integers(taps: Taps) -> tuple[Taps, int]:
    """The weights shifted by some bits and rounded, halves away from zero, and how many bits these are.

    Beyond an edge several weights fall on one place, and are rounded as one. What must fit is each on the way there.
    """
    merged, largest = [], 0.0
    for each in taps:
        weights: dict[int, float] = {}
        for place, weight in each:
            weights[place] = weights.get(place, 0.0) + weight
            largest = max(largest, weights[place])
        merged.append(weights)
    too_many = (bits for bits in range(MOST_BITS) if int(0.5 + largest * (1 << (bits + 1))) >= 1 << 15)
    bits = next(too_many, MOST_BITS)

    def rounded(weight: float) -> float:
        return math.copysign(math.floor(abs(weight) * (1 << bits) + 0.5), weight)

    return tuple(tuple((place, rounded(w)) for place, w in each.items()) for each in merged), bits
