r"""Scaled dot-product attention.

.. math::
    S = s\, Q K^\top + M, \qquad
    m_i = \max_j S_{ij}, \qquad
    t_i = \sum_j e^{S_{ij} - m_i}, \qquad
    P_{ij} = e^{S_{ij} - m_i} / t_i, \qquad
    O = (P \odot Z)\, V

Each query takes the mean of the values, weighed by how well it matches their keys. M is 0 or a bias where a query may
look and -∞ where it may not; Z is the dropout mask, 0 or 1 / (1 - p), and 1 without dropout. With
:math:`G = \partial L / \partial O`,

.. math::
    \bar V = (P \odot Z)^\top G, \qquad
    \bar P = Z \odot G V^\top, \qquad
    \bar S_{ij} = P_{ij} \Big( \bar P_{ij} - \sum_k P_{ik} \bar P_{ik} \Big), \qquad
    \bar Q = s\, \bar S K, \qquad
    \bar K = s\, \bar S^\top Q, \qquad
    \bar M = \bar S

The L × S matrix of probabilities is not kept: two numbers a query, m and t, are enough to compute it again, a few
heads at a time, while it is in the cache. Flash attention keeps one, :math:`\ell = m + \log t`, and reads the sum over
k off the output, as :math:`\langle G_i, O_i \rangle`. Both cost digits: a rounding of ℓ is larger the larger the
scores are, and the probabilities then sum to anything but 1, whose part of :math:`\bar P` the difference does not
take away; and the output may have been rounded to 8 bits. A query that may look nowhere has m = 0, t = 1, P = 0 and
output 0.

Shapes: L queries, S keys and values, E features of queries and keys, F of values, any leading batch dimensions.

Sources: A. Vaswani et al., "Attention is all you need", 2017; for the backward, T. Dao, D. Y. Fu, S. Ermon, A. Rudra
and C. Ré, "FlashAttention: fast and memory-efficient exact attention with IO-awareness", 2022.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from scratchnet.arguments import autocasts, describe, floating, overridable
from scratchnet.attention.attention_weights import default_scale, largest_scores, later_keys, masked_scores
from scratchnet.dropout.random_mask import random_mask
from scratchnet.function import Function, recorded
from scratchnet.layout import strided_beside

__all__ = ["AttentionFunction", "scaled_dot_product_attention"]

CACHED = 2**18  # elements of scores that are at work at a time: 1 MiB in float32

Maybe = Tensor | None


class AttentionFunction(Function):
    """Attention of B heads at a time. Keeps its inputs, and the largest and the sum of each query."""

    autocast = "low_precision"

    @staticmethod
    def forward(
        q: Tensor, k: Tensor, v: Tensor, mask: Maybe, kept: Maybe, *, scale: float, causal: bool, p: float
    ) -> tuple[Tensor, tuple[Maybe, ...]]:
        """Scores, their exponentials and sum, and the mean of the values."""
        if not recorded():
            y, largest, total = _blocked_forward(q, k, v, mask, kept, scale, causal, p)
        else:
            scores = masked_scores(q, k, mask, scale, causal)
            largest, nowhere = largest_scores(scores)
            weights = torch.exp(scores - largest)
            total = weights.sum(-1, keepdim=True).masked_fill(nowhere, 1)
            y = _dropped(weights, kept, p) @ v / total
        return y, (q, k, v, mask, kept, largest, total)

    @staticmethod
    def backward(
        grad: Tensor,
        saved: Sequence[Any],
        needs: Sequence[bool],
        *,
        scale: float,
        causal: bool,
        p: float,
    ) -> tuple[Maybe, ...]:
        """The probabilities once more, and three products with them."""
        q, k, v, mask, kept, largest, total = saved
        if not recorded():
            return _blocked_backward(grad, q, k, v, mask, kept, largest, total, needs, scale, causal, p)
        probabilities = torch.exp(masked_scores(q, k, mask, scale, causal) - largest) / total
        weighed = probabilities * _dropped(grad @ v.mT, kept, p)
        grad_scores = weighed - probabilities * weighed.sum(-1, keepdim=True)
        grad_q = scale * (grad_scores @ k) if needs[0] else None
        grad_k = scale * (grad_scores.mT @ q) if needs[1] else None
        grad_v = _dropped(probabilities, kept, p).mT @ grad if needs[2] else None
        grad_mask = grad_scores.sum_to_size(mask.shape) if mask is not None and needs[3] else None
        return grad_q, grad_k, grad_v, grad_mask, None

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Any], *, scale: float, causal: bool, p: float) -> Tensor:
        """Product rule: of the scores, of the probabilities, of their mean of the values."""
        q, k, v, mask, kept, largest, total = saved
        probabilities = torch.exp(masked_scores(q, k, mask, scale, causal) - largest) / total
        change = scale * (tangents[0] @ k.mT + q @ tangents[1].mT)
        if mask is not None and mask.is_floating_point():
            change = change + tangents[3]
        weighed = probabilities * change
        moved = weighed - probabilities * weighed.sum(-1, keepdim=True)
        return _dropped(moved, kept, p) @ v + _dropped(probabilities, kept, p) @ tangents[2]


def _dropped(weights: Tensor, kept: Maybe, p: float) -> Tensor:
    return weights if kept is None else weights * (kept.to(weights.dtype) * (1 / (1 - p)))


def _blocks(q: Tensor, k: Tensor) -> Iterator[slice]:
    """Splits the heads into chunks whose scores stay in the cache."""
    heads = max(1, CACHED // max(1, q.shape[1] * k.shape[1]))
    return (slice(start, start + heads) for start in range(0, q.shape[0], heads))


def _at(block: slice, x: Maybe) -> Maybe:
    """A block of a mask, which may be the same for all heads."""
    return x if x is None or x.shape[0] == 1 else x[block]


def _block_scores(q: Tensor, k: Tensor, mask: Maybe, scale: float, later: Maybe) -> Tensor:
    """`masked_scores` of a block, in place."""
    scores = torch.bmm(q, k.mT).mul_(scale)
    if later is not None:
        scores.masked_fill_(later, float("-inf"))
    if mask is None:
        return scores
    return scores.add_(mask) if mask.is_floating_point() else scores.masked_fill_(~mask, float("-inf"))


def _blocked_forward(
    q: Tensor, k: Tensor, v: Tensor, mask: Maybe, kept: Maybe, scale: float, causal: bool, p: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The output, the largest scores and the sums, a block of heads at a time."""
    y = q.new_empty(*q.shape[:2], v.shape[2])
    largest, total = (q.new_empty(*q.shape[:2], 1) for _ in range(2))
    later = later_keys(q.shape[1], k.shape[1], q.device) if causal else None
    for block in _blocks(q, k):
        weights = _block_scores(q[block], k[block], _at(block, mask), scale, later)
        largest[block], nowhere = largest_scores(weights)
        weights.sub_(largest[block]).exp_()
        torch.sum(weights, -1, keepdim=True, out=total[block]).masked_fill_(nowhere, 1)
        if kept is not None:
            weights.mul_(kept[block]).mul_(1 / (1 - p))
        torch.bmm(weights, v[block], out=y[block])
        y[block].div_(total[block])
    return y, largest, total


def _blocked_backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Maybe,
    kept: Maybe,
    largest: Tensor,
    total: Tensor,
    needs: Sequence[bool],
    scale: float,
    causal: bool,
    p: float,
) -> tuple[Maybe, ...]:
    """All gradients, a block of heads at a time."""
    grad_q = q.new_empty(q.shape) if needs[0] else None
    grad_k = k.new_empty(k.shape) if needs[1] else None
    grad_v = v.new_empty(v.shape) if needs[2] else None
    grad_mask = mask.new_zeros(mask.shape) if mask is not None and needs[3] else None
    later = later_keys(q.shape[1], k.shape[1], q.device) if causal else None
    for block in _blocks(q, k):
        weights = _block_scores(q[block], k[block], _at(block, mask), scale, later)
        weights.sub_(largest[block]).exp_().div_(total[block])
        push = torch.bmm(grad[block], v[block].mT)
        if kept is not None:
            factor = kept[block].to(push.dtype).mul_(1 / (1 - p))
            push.mul_(factor)
        if grad_v is not None:
            torch.bmm((weights if kept is None else weights * factor).mT, grad[block], out=grad_v[block])
        push.mul_(weights).addcmul_(weights, push.sum(-1, keepdim=True), value=-1)
        if grad_q is not None:
            torch.bmm(push, k[block], out=grad_q[block])
        if grad_k is not None:
            torch.bmm(push.mT, q[block], out=grad_k[block])
        if grad_mask is not None:
            part = grad_mask if grad_mask.shape[0] == 1 else grad_mask[block]
            part.add_(push.sum_to_size(part.shape))
    for result in (grad_q, grad_k):
        if result is not None:
            result.mul_(scale)
    return grad_q, grad_k, grad_v, grad_mask, None


@overridable
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Maybe = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Softmax attention of queries to keys, applied to values.

    Args:
        query: floating-point tensor of shape ``(*, L, E)``.
        key: tensor of shape ``(*, S, E)``.
        value: tensor of shape ``(*, S, F)``.
        attn_mask: true where a query may look at a key, or numbers that are added to the scores; of a shape that
            broadcasts to ``(*, L, S)``.
        dropout_p: probability of a weight to be dropped; there is no evaluation mode to turn it off.
        is_causal: whether query i may look only at keys up to i; not together with ``attn_mask``.
        scale: of the products of queries and keys, 1 / √E by default.
        enable_gqa: whether several heads of queries, dimension -3, may share one head of keys and values.

    Returns:
        A tensor of shape ``(*, L, F)``; zeros for a query that may look nowhere.

    Raises:
        TypeError: if an argument is no tensor, or an option no number.
        RuntimeError: if shapes, dtypes or options do not fit together.
    """
    op = "scaled_dot_product_attention"
    _check(op, query, key, value, attn_mask, is_causal)
    if not 0 <= dropout_p <= 1:
        raise RuntimeError(f"{op}: expected dropout_p between 0 and 1, got {dropout_p}")
    if enable_gqa:
        key, value = _shared_heads(op, query, key), _shared_heads(op, query, value)
    lead = torch.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    shape = (*lead, query.shape[-2], key.shape[-2])
    q, k, v = (x.expand(*lead, *x.shape[-2:]).reshape(math.prod(lead), *x.shape[-2:]) for x in (query, key, value))
    mask = None if attn_mask is None else _flat_mask(op, attn_mask, shape)
    kept = None
    if dropout_p > 0:
        # Drawn here, not in the Function, whose forward may run a second time; in the order of the scores, not of q.
        kept = random_mask(q.new_empty(0), (q.shape[0], *shape[-2:]), 1 - dropout_p)
    scale = default_scale(q) if scale is None else scale
    y = AttentionFunction.apply(q, k, v, mask, kept, scale, is_causal, dropout_p if dropout_p < 1 else 0.0)
    y = y.reshape(*lead, *y.shape[-2:])
    # The built-in's fused kernel returns the layout of the queries, which a later dropout or reshape depends on.
    fused = y.shape == query.shape and y.dim() == 4 and dropout_p == 0 and query.stride(-1) == 1
    return strided_beside([query], y) if fused and not (mask is not None and mask.requires_grad) else y


def _check(op: str, query: Tensor, key: Tensor, value: Tensor, mask: Maybe, is_causal: bool) -> None:
    for name, x in (("query", query), ("key", key), ("value", value)):
        if floating(op, x, name, error=RuntimeError).dim() < 2:
            raise RuntimeError(f"{op}: expected {name} of shape (*, length, features), got {describe(x)}")
    wanted = None
    if len({query.dtype, key.dtype, value.dtype}) > 1 and not autocasts(query):
        wanted = "query, key and value of one dtype"
    elif query.shape[-1] != key.shape[-1]:
        wanted = "query and key of as many features"
    elif key.shape[-2] != value.shape[-2]:
        wanted = "as many keys as values"
    if wanted:
        raise RuntimeError(f"{op}: expected {wanted}, got {', '.join(map(describe, (query, key, value)))}")
    if mask is None:
        return
    if is_causal:
        raise RuntimeError(f"{op}: expected either attn_mask or is_causal=True, got both; put one into the other")
    if mask.dtype is not torch.bool and not mask.is_floating_point():
        raise RuntimeError(f"{op}: expected attn_mask to be boolean or floating point, got {describe(mask)}")


def _shared_heads(op: str, query: Tensor, shared: Tensor) -> Tensor:
    """Heads of keys or values, each repeated for the heads of queries that share it."""
    if min(query.dim(), shared.dim()) < 3 or query.shape[-3] % max(shared.shape[-3], 1):
        raise RuntimeError(
            f"{op}: expected with enable_gqa=True a number of query heads (dimension -3) that the heads of keys "
            f"and values divide, got {describe(query)} and {describe(shared)}"
        )
    times = query.shape[-3] // max(shared.shape[-3], 1)
    wide = shared.unsqueeze(-3).expand(*shared.shape[:-2], times, *shared.shape[-2:])
    return wide.reshape(*shared.shape[:-3], query.shape[-3], *shared.shape[-2:])


def _flat_mask(op: str, mask: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The mask for all leading dimensions as one, which it keeps at 1 where it is the same for all."""
    try:
        fits = torch.broadcast_shapes(mask.shape, shape) == torch.Size(shape)
    except RuntimeError:
        fits = False
    if not fits:
        raise RuntimeError(f"{op}: expected attn_mask of a shape that broadcasts to {shape}, got {describe(mask)}")
    full = mask.reshape(*(1,) * (len(shape) - mask.dim()), *mask.shape)
    if all(n == 1 for n in full.shape[:-2]):
        return full.reshape(1, *full.shape[-2:])
    return full.expand(*shape[:-2], *full.shape[-2:]).reshape(math.prod(shape[:-2]), *full.shape[-2:])
