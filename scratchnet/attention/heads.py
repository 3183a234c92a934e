"""Arguments of attention: what fits together, all heads along one dimension, and chunks of these."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from scratchnet.arguments import autocasts, describe, floating
from scratchnet.function import chunked, rows_in_cache, sharing_threads
from scratchnet.layout import strided_beside

__all__ = [
    "bias_of",
    "check_attention",
    "flat_heads",
    "flat_mask",
    "in_chunks",
    "in_layout_of_queries",
    "shared_heads",
]

OP = "scaled_dot_product_attention"
Maybe = Tensor | None


def check_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Maybe, dropout_p: float, is_causal: bool
) -> None:
    """Raises TypeError or RuntimeError for arguments that do not fit together."""
    for name, x in (("query", query), ("key", key), ("value", value)):
        if floating(OP, x, name, error=RuntimeError).dim() < 2:
            raise RuntimeError(f"{OP}: expected {name} of shape (*, length, features), got {describe(x)}")
    wanted = None
    if len({query.dtype, key.dtype, value.dtype}) > 1 and not autocasts(query):
        wanted = "query, key and value of one dtype"
    elif query.shape[-1] != key.shape[-1]:
        wanted = "query and key of as many features"
    elif key.shape[-2] != value.shape[-2]:
        wanted = "as many keys as values"
    if wanted:
        raise RuntimeError(f"{OP}: expected {wanted}, got {', '.join(map(describe, (query, key, value)))}")
    if not 0 <= dropout_p <= 1:
        raise RuntimeError(f"{OP}: expected dropout_p between 0 and 1, got {dropout_p}")
    if mask is None:
        return
    if is_causal:
        raise RuntimeError(f"{OP}: expected either attn_mask or is_causal=True, got both; put one into the other")
    if mask.dtype not in (torch.bool, torch.float32, query.dtype) and not autocasts(query):
        raise RuntimeError(
            f"{OP}: expected attn_mask to be boolean or floating point, in float32 or the query's dtype, got "
            f"{describe(mask)}"
        )


def shared_heads(query: Tensor, shared: Tensor) -> Tensor:
    """Repeats each head of keys or values for the heads of queries that share it."""
    if min(query.dim(), shared.dim()) < 3 or not shared.shape[-3] or query.shape[-3] % shared.shape[-3]:
        raise RuntimeError(
            f"{OP}: expected with enable_gqa=True a number of query heads (dimension -3) that the heads of keys "
            f"and values divide, got {describe(query)} and {describe(shared)}"
        )
    times = query.shape[-3] // shared.shape[-3]
    wide = shared.unsqueeze(-3).expand(*shared.shape[:-2], times, *shared.shape[-2:])
    return wide.reshape(*shared.shape[:-3], query.shape[-3], *shared.shape[-2:])


def flat_heads(*tensors: Tensor) -> tuple[list[Tensor], torch.Size]:
    """Broadcasts the leading dimensions of tensors and makes them one; returns these too."""
    leads = [x.shape[:-2] for x in tensors]
    try:
        lead = leads[0] if all(lead == leads[0] for lead in leads) else torch.broadcast_shapes(*leads)
    except RuntimeError:
        given = ", ".join(map(describe, tensors))
        raise RuntimeError(f"{OP}: expected batches and heads that broadcast together, got {given}") from None
    return [x.expand(*lead, *x.shape[-2:]).reshape(math.prod(lead), *x.shape[-2:]) for x in tensors], lead


def flat_mask(mask: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Returns the mask as (B, L, S), or (1, L, S) where all heads share it; sizes of 1 in L and S stay."""
    try:
        fits = torch.broadcast_shapes(mask.shape, shape) == torch.Size(shape)
    except RuntimeError:
        fits = False
    if not fits:
        raise RuntimeError(f"{OP}: expected attn_mask of a shape that broadcasts to {shape}, got {describe(mask)}")
    full = mask.reshape(*(1,) * (len(shape) - mask.dim()), *mask.shape)
    if all(n == 1 for n in full.shape[:-2]):
        return full.reshape(1, *full.shape[-2:])
    return full.expand(*shape[:-2], *full.shape[-2:]).reshape(math.prod(shape[:-2]), *full.shape[-2:])


def bias_of(mask: Maybe, k: Tensor) -> Maybe:
    """Returns what the mask of an `AttentionFunction` adds to the scores of keys (B, S, E)."""
    if mask is None or mask.is_floating_point():
        return mask
    if mask.dtype is torch.bool:
        return torch.where(mask, k.new_zeros(()), -math.inf)
    later = (torch.arange(k.shape[1], dtype=k.dtype, device=k.device) - mask.to(k.dtype)).clamp(min=0)
    return -torch.finfo(k.dtype).max * later  # finite, since 0 times ∞ is no number


def in_chunks(
    function: Callable[..., Any],
    of_queries: Sequence[Maybe],
    k: Tensor,
    v: Tensor,
    added: Sequence[Sequence[int]] = ((), ()),
) -> Any:
    """Runs ``function(*of_queries, k=k, v=v)`` for a few heads, and a few queries of these, at a time.

    Each thread gets a head of its own where there are enough, since two that share a product read each other's memory.
    ``added`` names the outputs that are sums over all heads, and over all queries.
    """
    lengths = next(x.shape[1] for x in of_queries if x is not None), k.shape[1]
    threads = sharing_threads()
    some = max(threads, rows_in_cache(lengths[0] * lengths[1]))

    def some_heads(k: Tensor, v: Tensor, *of_queries: Maybe) -> Any:
        if lengths[0] <= (queries := threads * rows_in_cache(k.shape[0] * lengths[1])):
            return function(*of_queries, k=k, v=v)
        return chunked(function, *of_queries, dim=1, size=queries, added=added[1], k=k, v=v)

    return chunked(some_heads, k, v, *of_queries, size=some, added=added[0])


def in_layout_of_queries(y: Tensor, query: Tensor, mask: Maybe, dropout_p: float) -> Tensor:
    """Returns the output in the layout of the queries where the built-in's fused kernel does.

    A later dropout, which draws in the order of memory, and a later reshape depend on it.
    """
    fused = y.shape == query.shape and y.dim() == 4 and dropout_p == 0 and query.stride(-1) == 1
    return strided_beside([query], y) if fused and not (mask is not None and mask.requires_grad) else y
