"""When two tensors count as equal for the one who looks for a cause: coarser than a comparison."""

from __future__ import annotations

import torch
from torch import Tensor

from scratchnet.testing.comparison import Finding

__all__ = ["apart", "close"]


def apart(finding: Finding) -> bool:
    """Whether the two sides differ by more than roundings."""
    assert finding.got is not None
    assert finding.expected is not None
    wanted = (finding.expected if finding.truth is None else finding.truth).double()
    digits = 1e-9 if finding.got.dtype is torch.float64 else 8 * torch.finfo(finding.got.dtype).eps
    return not close(finding.got.double(), wanted, digits)


def close(a: Tensor, b: Tensor, digits: float = 1e-5) -> bool:
    """Whether two tensors are equal to some digits of the largest element."""
    finite = b[b.isfinite()]
    scale = max(float(finite.abs().max()), 1e-300) if finite.numel() else 1.0
    return a.shape == b.shape and torch.allclose(a, b, rtol=digits, atol=digits / 10 * scale, equal_nan=True)
