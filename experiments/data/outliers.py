"""A straight line, seen through noise, and with some measurements that are wildly wrong."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["OFFSET", "SLOPE", "line_with_outliers"]

SLOPE, OFFSET = 2.0, 1.0
NOISE = 0.1
FAR = 8.0  # how far above the line the outliers are


def line_with_outliers(count: int, share: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Measurements of y = SLOPE · x + OFFSET for x from -1 to 1, those on the right end spoiled.

    Outliers on one side of the line and at one end of it pull both its slope and its offset.

    Args:
        count: Measurements.
        share: The share of them that is spoiled, from 0 to 1: those with the largest x.
        seed: Of x and of the noise.

    Returns:
        x and y of shape (count, 1), and which of them are outliers, shape (count,).
    """
    generator = torch.Generator().manual_seed(seed)
    x = 2 * torch.rand(count, 1, generator=generator) - 1
    y = SLOPE * x + OFFSET + NOISE * torch.randn(count, 1, generator=generator)
    spoiled = torch.zeros(count, dtype=torch.bool)
    spoiled[x.squeeze(1).topk(round(share * count)).indices] = True
    return x, torch.where(spoiled[:, None], y + FAR, y), spoiled
