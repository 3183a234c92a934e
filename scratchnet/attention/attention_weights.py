r"""Attention weights: how much each query looks at each key.

.. math::
    S = s\, Q K^\top + M, \qquad
    P_{ij} = \frac{e^{S_{ij}}}{\sum_k e^{S_{ik}}}, \qquad
    \bar S_{ij} = P_{ij} \Big( \bar P_{ij} - \sum_k P_{ik} \bar P_{ik} \Big), \qquad
    \bar Q = s\, \bar S K, \qquad
    \bar K = s\, \bar S^\top Q, \qquad
    \bar M = \bar S

`scaled_dot_product_attention` does not keep the weights, and is faster.

Shapes: L queries, S keys, E features, B heads.

Source: A. Vaswani et al., "Attention is all you need", 2017.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from scratchnet.function import Function

__all__ = [
    "AttentionWeightsFunction",
    "attention_weights",
    "default_scale",
    "largest_scores",
    "masked_scores",
]

Maybe = Tensor | None


class AttentionWeightsFunction(Function):
    """The probabilities themselves, where someone wants to see them. Keeps its inputs and them."""

    autocast = "low_precision"

    @staticmethod
    def forward(q: Tensor, k: Tensor, mask: Maybe, *, scale: float) -> tuple[Tensor, tuple[Maybe, ...]]:
        """Softmax of the scores; zeros for a query that may look nowhere."""
        scores = masked_scores(q, k, mask, scale)
        largest, nowhere = largest_scores(scores)
        e = torch.exp(scores - largest)
        y = e / e.sum(-1, keepdim=True).masked_fill(nowhere, 1)
        return y, (q, k, mask, y)

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Any], needs: Sequence[bool], *, scale: float) -> tuple[Maybe, ...]:
        """Through softmax, and through the product."""
        q, k, mask, y = saved
        grad_scores = y * (grad - (y * grad).sum(-1, keepdim=True))
        grad_q = scale * (grad_scores @ k) if needs[0] else None
        grad_k = scale * (grad_scores.mT @ q) if needs[1] else None
        grad_mask = grad_scores.sum_to_size(mask.shape) if mask is not None and needs[2] else None
        return grad_q, grad_k, grad_mask

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Any], *, scale: float) -> Tensor:
        """Product rule, then softmax."""
        q, k, mask, y = saved
        change = scale * (tangents[0] @ k.mT + q @ tangents[1].mT)
        change = change if mask is None else change + tangents[2]
        return y * (change - (y * change).sum(-1, keepdim=True))


def largest_scores(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The largest score of each query, 0 for a query that may look nowhere, and which these are."""
    if not scores.shape[-1]:
        zero = scores.sum(-1, keepdim=True)
        return zero, zero == 0
    largest = scores.amax(-1, keepdim=True)
    nowhere = largest == float("-inf")
    return largest.masked_fill(nowhere, 0), nowhere


def masked_scores(q: Tensor, k: Tensor, mask: Maybe, scale: float) -> Tensor:
    """Scores of each query and key, with the mask added."""
    scores = (scale * q) @ k.mT
    return scores if mask is None else scores + mask


def default_scale(q: Tensor) -> float:
    """One over the root of how many features there are, which keeps the scores' variance."""
    return 1 / math.sqrt(q.shape[-1]) if q.shape[-1] else 1.0


def attention_weights(q: Tensor, k: Tensor, mask: Maybe = None) -> Tensor:
    """Softmax over the keys of the scaled products of queries and keys.

    Args:
        q: queries of shape ``(B, L, E)``.
        k: keys of shape ``(B, S, E)``.
        mask: added to the scores, of a shape that broadcasts to ``(B, L, S)``.

    Returns:
        A tensor of shape ``(B, L, S)`` whose rows sum to one; zeros for a query that may look nowhere.
    """
    return AttentionWeightsFunction.apply(q, k, mask, default_scale(q))
