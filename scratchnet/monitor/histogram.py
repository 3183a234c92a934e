"""Histograms of equal bins, in a few passes over the values."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["BINS", "Histogram", "histogram"]

BINS = 30  # as many as TensorBoard draws
SAMPLE = 2**15


class Histogram(NamedTuple):
    """A histogram as TensorBoard stores it: `bucket_limits` are the right edges."""

    min: float
    max: float
    num: int
    sum: float
    sum_squares: float
    bucket_limits: list[float]
    bucket_counts: list[float]


def histogram(values: Tensor) -> Histogram:
    """Counts finite values, shape `(n,)`, in equal bins between their extremes; n is at least 1.

    Of 2¹⁶ and more values every k-th is taken and counts k times; k shares no factor with n, and so no stride with
    the weight. `torch.histc` and NumPy look for the bin of each value, which takes five times as long.
    """
    count = values.numel()
    step = max(1, count // SAMPLE)
    while math.gcd(step, count) > 1:
        step += 1
    values = values[::step].float().nan_to_num() if values.dtype is torch.float64 else values[::step].contiguous()
    smallest, largest = (float(extreme) for extreme in values.aminmax())
    low, high = (smallest, largest) if smallest < largest else (smallest - 0.5, largest + 0.5)
    width = (high - low) / BINS * (1 + 1e-6)  # no value is at the right edge of the last bin
    if not 1e-30 < width < 1e30:
        values = values.double()  # float32 has no such reciprocal, or no such difference
    bins = values.sub(low).mul_(1 / width).to(torch.uint8)
    scale = count / values.numel()
    return Histogram(
        min=smallest,
        max=largest,
        num=count,
        sum=float(values.sum()) * scale,
        sum_squares=float(values.dot(values)) * scale,
        bucket_limits=[low + i * width for i in range(BINS + 1)],
        # The first bucket ends at the left edge of the first bin, so nothing is in it.
        bucket_counts=[0.0, *(n * scale for n in torch.bincount(bins, minlength=BINS).tolist())],
    )
