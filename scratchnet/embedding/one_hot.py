"""Class indices as one-hot rows: 1 at the index, 0 elsewhere. Integers throughout, so nothing to differentiate."""

from __future__ import annotations

import torch
from torch import Tensor

from scratchnet.arguments import describe, overridable
from scratchnet.function import readable

__all__ = ["one_hot"]


@overridable
def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """One-hot rows of class indices.

    Args:
        tensor: int64 indices of any shape.
        num_classes: the length of a row; by default as long as the largest index needs.

    Returns:
        An int64 tensor of shape ``(*tensor.shape, num_classes)``.

    Raises:
        TypeError: if the input is no tensor.
        RuntimeError: if it is not int64, an index is out of range, or an empty input leaves ``num_classes`` open.
    """
    if tensor.dtype is not torch.int64:
        raise RuntimeError(f"one_hot: expected int64 indices, got {describe(tensor)}; use .long()")
    if num_classes < -1 or (num_classes < 1 and tensor.numel() == 0):
        raise RuntimeError(
            f"one_hot: expected num_classes of at least 1, or -1 for indices that tell it, got {num_classes} for "
            f"{describe(tensor)}"
        )
    if num_classes == -1:
        num_classes = int(tensor.max()) + 1
    if readable(tensor) and tensor.numel():
        lowest, highest = int(tensor.min()), int(tensor.max())
        if lowest < 0 or highest >= num_classes:
            raise RuntimeError(
                f"one_hot: expected indices from 0 to {num_classes - 1}, got indices from {lowest} to {highest}"
            )
    rows = tensor.new_zeros(*tensor.shape, num_classes)
    return rows.scatter(-1, tensor.unsqueeze(-1), 1)
