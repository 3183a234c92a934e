"""When two tensors count as equal for the one who looks for a cause: coarser than a comparison."""

from __future__ import annotations

import torch
from torch import Tensor

from scratchnet.testing.board import Noted

__all__ = ["apart", "close"]


def apart(noted: Noted) -> bool:
    """Whether the two sides differ by more than roundings."""
    assert noted.got is not None
    assert noted.expected is not None
    wanted = (noted.expected if noted.truth is None else noted.truth).double()
    digits = 1e-9 if noted.got.dtype is torch.float64 else 8 * torch.finfo(noted.got.dtype).eps
    return not close(noted.got.double(), wanted, digits)


def close(a: Tensor, b: Tensor, digits: float = 1e-5) -> bool:
    """Whether two tensors are equal to some digits of the largest element."""
    finite = b[b.isfinite()]
    scale = max(float(finite.abs().max()), 1e-300) if finite.numel() else 1.0
    return a.shape == b.shape and torch.allclose(a, b, rtol=digits, atol=digits / 10 * scale, equal_nan=True)
