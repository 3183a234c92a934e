"""Pooling of sequences, images and volumes."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from reference.catalog import Make
from reference.speed.workloads.sized import sized

__all__ = ["WORKLOADS"]

Shape = tuple[int, ...]
INPUTS: dict[int, tuple[Shape, ...]] = {
    1: ((1, 2, 8), (128, 64, 256)),
    2: ((1, 2, 4, 4), (128, 64, 24, 24)),
    3: ((1, 2, 4, 4, 4), (8, 16, 16, 16, 16)),
}


def halved(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.normal(*shape), 2


def halved_by_norm(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.normal(*shape), 2.0, 2


def maxima(make: Make, *shape: int) -> tuple[Any, ...]:
    """Makes the values and indices of a maximum pooling, and its window."""
    pool = getattr(F, f"max_pool{len(shape) - 2}d")
    values, indices = pool(make.normal(*shape).detach(), 2, return_indices=True)
    leaf: Tensor = values.detach().requires_grad_()
    return leaf, indices, 2


WORKLOADS = (
    *(w for d in (1, 2, 3) for w in sized(f"max_pool{d}d", INPUTS[d], halved, layouts=d == 2)),
    *(w for d in (1, 2, 3) for w in sized(f"avg_pool{d}d", INPUTS[d], halved, layouts=d == 2)),
    *(w for d in (1, 2, 3) for w in sized(f"adaptive_avg_pool{d}d", INPUTS[d], halved, layouts=d == 2)),
    *(w for d in (1, 2, 3) for w in sized(f"adaptive_max_pool{d}d", INPUTS[d], halved, layouts=d == 2)),
    *(w for d in (1, 2, 3) for w in sized(f"lp_pool{d}d", INPUTS[d], halved_by_norm)),
    *(w for d in (1, 2, 3) for w in sized(f"max_unpool{d}d", INPUTS[d], maxima)),
    *(w for d in (2, 3) for w in sized(f"fractional_max_pool{d}d", INPUTS[d], halved, output_ratio=(0.6,) * d)),
    *(
        w
        for kind in ("max", "adaptive_max")
        for d in (1, 2, 3)
        for w in sized(f"{kind}_pool{d}d_with_indices", INPUTS[d][1:], halved)
    ),
    *(
        w
        for d in (2, 3)
        for w in sized(f"fractional_max_pool{d}d_with_indices", INPUTS[d][1:], halved, output_ratio=(0.6,) * d)
    ),
)
