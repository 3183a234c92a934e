"""Bags of indices: where each begins, which one an index lies in, and all that lie in each.

Shapes: N indices, B bags, M indices at most in one of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scratchnet.arguments import describe
from scratchnet.function import readable

__all__ = ["bags_of", "indices_and_offsets", "members_of"]


def indices_and_offsets(
    op: str, input: Tensor, offsets: Tensor | None, include_last: bool
) -> tuple[Tensor, Tensor, int]:
    """The indices in one dimension, where their bags start, and how many bags there are."""
    if input.dim() == 2:
        if offsets is not None:
            raise ValueError(f"{op}: expected no offsets with two-dimensional input, got {describe(offsets)}")
        count, length = input.shape
        return input.reshape(-1), torch.arange(count, device=input.device) * length, count
    if input.dim() != 1:
        raise ValueError(f"{op}: expected input of shape (N,) or (B, N / B), got {describe(input)}")
    if not isinstance(offsets, Tensor) or offsets.dim() != 1:
        raise ValueError(
            f"{op}: expected offsets of shape (B,) with one-dimensional input, got {describe(offsets)}"
        )
    if include_last and offsets.shape[0] < 1:
        raise RuntimeError(f"{op}: expected an offset at least, since the last one is the end, got none")
    if not offsets.shape[0] and input.shape[0]:
        raise RuntimeError(f"{op}: expected an offset for {input.shape[0]} indices, got none")
    if readable(offsets) and offsets.numel():
        first, last = int(offsets[0]), int(offsets[-1])
        if first != 0 or last > input.shape[0]:
            raise RuntimeError(
                f"{op}: expected offsets from 0 to {input.shape[0]}, the number of indices, got {first} to {last}"
            )
        if offsets.shape[0] > 2 and bool((offsets[1:] < offsets[:-1]).any()):
            raise RuntimeError(f"{op}: expected offsets that do not decrease, got {describe(offsets.tolist())}")
        if include_last:
            input = input[:last]
    return input, offsets, offsets.shape[0] - int(include_last)


def bags_of(offsets: Tensor, indices: Tensor, count: int) -> Tensor:
    """The bag of each index: how many bags start at or before it, less one."""
    starts = indices.new_zeros(indices.shape[0] + 1, dtype=torch.int64)
    marks = starts.index_add(0, offsets[:count].long(), torch.ones_like(offsets[:count], dtype=torch.int64))
    return marks[:-1].cumsum(0) - 1


def members_of(indices: Tensor, offsets: Tensor, count: int, padding_idx: int | None) -> tuple[Tensor, Tensor]:
    """The indices of each bag side by side, ``(B, M)``, and which of them are there."""
    total = indices.shape[0]
    ends = torch.cat([offsets.long(), offsets.new_full((1,), total, dtype=torch.int64)])
    starts, lengths = ends[:count], ends[1 : count + 1] - ends[:count]
    known = readable(lengths) and count > 0
    longest = max(int(lengths.max()), 1) if known else max(total, 1)
    slots = torch.arange(longest, device=indices.device)
    present = slots < lengths.unsqueeze(1)
    places = (starts.unsqueeze(1) + slots).masked_fill(~present, 0)
    padded = indices if total else indices.new_zeros(1)
    members = padded.long().index_select(0, places.reshape(-1)).view(places.shape)
    return members, present if padding_idx is None else present & (members != padding_idx)
