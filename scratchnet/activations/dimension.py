"""Checks the dimension that softmax and its relatives run along."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from scratchnet.arguments import floating, tensor

__all__ = ["along_dimension"]


def along_dimension(
    op: str, input: Tensor, dim: int | None, stacklevel: int, dtype: torch.dtype | None
) -> tuple[Tensor, int]:
    """Returns the input, known to be floating point, and the dimension that an op normalizes along.

    Without a dimension there is a warning, which points ``stacklevel`` calls up.
    """
    x = tensor(op, input)
    if dim is None:
        dim = 0 if x.dim() in (0, 1, 3) else 1
        warnings.warn(f"{op}: expected a dim, got none; taking dim={dim}, write it out", stacklevel=stacklevel + 1)
    rank = max(x.dim(), 1)
    if not -rank <= dim < rank:
        raise IndexError(
            f"{op}: expected dim between {-rank} and {rank - 1}, got {dim} for a tensor of shape {tuple(x.shape)}"
        )
    return floating(op, x if dtype is None else x.to(dtype)), dim
