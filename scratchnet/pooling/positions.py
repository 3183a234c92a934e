"""Positions in windows, as an argmax holds them, and the indices into flattened images that they stand for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.windows import Geometry

__all__ = ["first_unpadded", "flat_indices", "index_dtype", "padding_fills_windows", "valid_indices"]


def flat_indices(argmax: Tensor, geometry: Geometry, size: Sequence[int]) -> Tensor:
    """Converts positions in windows to indices into flattened images, as PyTorch returns them; -1 for padding."""
    within = start = torch.zeros((), dtype=torch.int64, device=argmax.device)
    for n, k, s, d, (before, _), outputs in zip(
        size, geometry.kernel, geometry.stride, geometry.dilation, geometry.padding, argmax.shape[2:], strict=True
    ):
        within = within.unsqueeze(-1) * n + torch.arange(k, device=argmax.device) * d
        start = start.unsqueeze(-1) * n + (torch.arange(outputs, device=argmax.device) * s - before)
    table = torch.cat([within.flatten(), within.new_zeros(1)])
    indices = table[argmax.long()] + start
    return (
        indices.masked_fill(argmax == geometry.positions, -1) if padding_fills_windows(geometry, size) else indices
    )


def valid_indices(argmax: Tensor, geometry: Geometry, size: Sequence[int]) -> Tensor:
    """Returns `flat_indices`, with 0 in place of -1."""
    indices = flat_indices(argmax, geometry, size)
    return indices.clamp(min=0) if padding_fills_windows(geometry, size) else indices


def padding_fills_windows(geometry: Geometry, size: Sequence[int]) -> bool:
    """Returns whether a window may see only padding: dilation can step from one margin over the image to the other."""
    return any(
        before and d > n for (before, _), d, n in zip(geometry.padding, geometry.dilation, size, strict=True)
    )


def index_dtype(geometry: Geometry) -> torch.dtype:
    """Returns the smallest dtype for positions, of which there is one more for padding."""
    return next(t for t in (torch.uint8, torch.int16, torch.int64) if geometry.positions <= torch.iinfo(t).max)


def first_unpadded(x: Tensor, geometry: Geometry) -> Tensor:
    """Returns the first position of each window that is not padding, (P, Q): the argmax if all elements are -inf."""
    first, none = torch.zeros((), dtype=torch.int64, device=x.device), None
    for k, n, s, (before, _), d, size in zip(
        geometry.kernel, geometry.outputs(x.shape[2:]), geometry.stride, geometry.padding, geometry.dilation,
        x.shape[2:], strict=True,
    ):  # fmt: skip
        start = torch.arange(n, device=x.device) * s - before
        position = (d - 1 - start).clamp(min=0) // d
        beyond = start + position * d >= size
        none = beyond if none is None else none.unsqueeze(-1) | beyond
        first = first.unsqueeze(-1) * k + position
    assert none is not None
    return first.masked_fill(none, geometry.positions).to(index_dtype(geometry))
