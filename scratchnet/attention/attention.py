r"""Scaled dot-product attention.

.. math::
    S = s\, Q K^\top + M, \qquad
    m_i = \max_j S_{ij}, \qquad
    t_i = \sum_j e^{S_{ij} - m_i}, \qquad
    P_{ij} = e^{S_{ij} - m_i} / t_i, \qquad
    O = (P \odot Z)\, V

Each query takes the mean of the values, weighed by how well it matches their keys. M is 0 or a bias where a query may
look and -∞ where it may not; Z is the dropout mask, 0 or 1 / (1 - p). With :math:`G = \partial L / \partial O`,

.. math::
    \bar V = (P \odot Z)^\top G, \qquad
    \bar P = Z \odot G V^\top, \qquad
    \bar S_{ij} = P_{ij} \Big( \bar P_{ij} - \sum_k P_{ik} \bar P_{ik} \Big), \qquad
    \bar Q = s\, \bar S K, \qquad
    \bar K = s\, \bar S^\top Q, \qquad
    \bar M = \bar S

The L × S matrix of probabilities is not kept: two numbers a query, m and t, are enough to compute it again, for a few
heads, or a few queries of one head, at a time, while it is in the cache. Flash attention keeps one,
:math:`\ell = m + \log t`, and reads the sum over k off the output, as :math:`\langle G_i, O_i \rangle`. Both cost
digits: a rounding of ℓ grows with the scores, so that the probabilities no longer sum to 1; and the output may have
been rounded to 8 bits. A query that may look nowhere has m = 0, t = 1, P = 0 and output 0.

The code takes powers of 2 of :math:`S \log_2 e`: where a score is -∞, ``exp`` is ten times as slow as ``exp2``.

Shapes: B heads of all samples, L queries, S keys and values, E features of queries and keys, F of values.

Sources: A. Vaswani et al., "Attention is all you need", 2017; for the backward, T. Dao, D. Y. Fu, S. Ermon, A. Rudra
and C. Ré, "FlashAttention: fast and memory-efficient exact attention with IO-awareness", 2022.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from scratchnet.arguments import overridable
from scratchnet.attention import heads
from scratchnet.attention.attention_weights import default_scale, largest_scores
from scratchnet.dropout.random_mask import random_mask
from scratchnet.function import Function, Product, rowwise

__all__ = ["AttentionFunction", "scaled_dot_product_attention"]
LOG2_E = math.log2(math.e)
Maybe = Tensor | None


class AttentionFunction(Function):
    """Attention of B heads. Saves its inputs, and m and t of each query.

    A mask, which broadcasts to (B, L, S), is M, or true where a query may look, or the last key that it may look at.
    """

    autocast = "low_precision"

    @staticmethod
    def forward(
        q: Tensor, k: Tensor, v: Tensor, mask: Maybe, kept: Maybe, *, scale: float, p: float
    ) -> tuple[Tensor, tuple[Maybe, ...]]:
        def attend(q: Tensor, mask: Maybe, kept: Maybe, *, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            operands = (heads.bias_of(mask, k), _scores(q, k, scale), kept)
            weights, m, t = rowwise(_exponentials, *operands, overwritten=(1,), p=p)
            return torch.bmm(weights, v) / t, m, t

        y, m, t = heads.in_chunks(attend, (q, mask, kept), k, v)
        return y, (q, k, v, mask, kept, m, t)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Any], needs: Sequence[bool], *, scale: float, p: float
    ) -> tuple[Maybe, ...]:
        def gradients(
            grad: Tensor, q: Tensor, mask: Maybe, kept: Maybe, m: Tensor, t: Tensor, *, k: Tensor, v: Tensor
        ) -> tuple[Maybe | Product, ...]:
            grad = grad / t
            operands = (heads.bias_of(mask, k), _scores(q, k, scale), torch.bmm(grad, v.mT), kept, m, t)
            weights, grad_scores = rowwise(_softmax_backward, *operands, overwritten=(1, 2), p=p)
            grad_q = Product(grad_scores, k, scale) if needs[0] else None
            grad_k = Product(grad_scores.mT, q, scale) if needs[1] else None
            grad_v = Product(weights.mT, grad) if needs[2] else None
            grad_mask = grad_scores.sum_to_size(mask.shape) if mask is not None and needs[3] else None
            return grad_q, grad_k, grad_v, grad_mask

        q, k, v, mask, kept, m, t = saved
        shared = [(3,) if mask is not None and mask.shape[dim] == 1 else () for dim in (0, 1)]
        added = shared[0], (1, 2, *shared[1])  # gradients that are sums over heads, and over queries
        return *heads.in_chunks(gradients, (grad, q, mask, kept, m, t), k, v, added), None

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Any], *, scale: float, p: float) -> Tensor:
        q, k, v, mask, kept, m, t = saved
        change = scale * (tangents[0] @ k.mT + q @ tangents[1].mT)
        change = change + tangents[3] if mask is not None and mask.is_floating_point() else change
        weights = torch.exp2(_biased(_scores(q, k, scale), heads.bias_of(mask, k)) - m) / t
        change = weights * (change - (weights * change).sum(-1, keepdim=True))
        return _dropped(change, kept, p) @ v + _dropped(weights, kept, p) @ tangents[2]


def _scores(q: Tensor, k: Tensor, scale: float) -> Tensor:
    """Returns S log₂ e, without the mask."""
    return torch.bmm(scale * LOG2_E * q, k.mT)


def _biased(scores: Tensor, bias: Maybe) -> Tensor:
    return scores if bias is None else torch.add(scores, bias, alpha=LOG2_E)


def _exponentials(bias: Maybe, scores: Tensor, kept: Maybe, *, p: float) -> tuple[Tensor, Tensor, Tensor]:
    """Returns t P ⊙ Z, m and t."""
    scores = _biased(scores, bias)
    m, nowhere = largest_scores(scores)
    weights = torch.exp2(scores - m)
    t = weights.sum(-1, keepdim=True).masked_fill(nowhere, 1)
    return _dropped(weights, kept, p), m, t


def _softmax_backward(
    bias: Maybe, scores: Tensor, upstream: Tensor, kept: Maybe, m: Tensor, t: Tensor, *, p: float
) -> tuple[Tensor, Tensor]:
    """Returns t P ⊙ Z, and the gradient of the scores for an upstream that is divided by t."""
    weights = torch.exp2(_biased(scores, bias) - m)
    weighed = weights * _dropped(upstream, kept, p)
    mean = weighed.sum(-1, keepdim=True)
    return _dropped(weights, kept, p), torch.addcmul(weighed, weights, mean / t, value=-1)


def _dropped(weights: Tensor, kept: Maybe, p: float) -> Tensor:
    return weights if kept is None else weights * (kept.to(weights.dtype) * (1 / (1 - p)))


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
    heads.check_attention(query, key, value, attn_mask, dropout_p, is_causal)
    if enable_gqa:
        key, value = heads.shared_heads(query, key), heads.shared_heads(query, value)
    (q, k, v), lead = heads.flat_heads(query, key, value)
    shape = (*lead, q.shape[1], k.shape[1])
    last = torch.arange(q.shape[1], device=q.device).view(1, -1, 1) if is_causal else None
    mask = last if attn_mask is None else heads.flat_mask(attn_mask, shape)
    # Drawn here, not in the Function, whose forward may run a second time; in the order of the scores, not of q.
    kept = random_mask(q, (q.shape[0], *shape[-2:]), 1 - dropout_p) if dropout_p > 0 else None
    scale = default_scale(q) if scale is None else scale
    y = AttentionFunction.apply(q, k, v, mask, kept, scale, dropout_p if dropout_p < 1 else 0.0)
    return heads.in_layout_of_queries(y.reshape(*lead, *y.shape[1:]), query, mask, dropout_p)
