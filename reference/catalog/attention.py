"""Attention: scaled dot products, and many heads of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from reference.catalog.record import BadInput, Make, Record, Sample
from scratchnet.layers.attention import AttentionFunction, scaled_dot_product_attention

__all__ = ["RECORDS"]


def leaf(x: Tensor) -> Tensor:
    """A view of detached memory as a leaf of its own, strides and all."""
    return x.detach().requires_grad_()


def heads(make: Make) -> Iterator[Sample]:
    """Leading dimensions, masks of every kind and shape, causality, scale, shared heads, layouts, empty sizes."""
    q, k, v = make.normal(2, 2, 3, 4), make.normal(2, 2, 5, 4), make.normal(2, 2, 5, 2)
    yield Sample((q, k, v))
    yield Sample((q, k, v), {"is_causal": True})
    yield Sample((q, k, v), {"scale": 0.3})
    yield Sample((q, k, v, make.normal(2, 2, 3, 5)))
    yield Sample((q, k, v, make.normal(3, 5)))
    yield Sample((q, k, v, make.normal(2, 1, 1, 5, grad=False)))
    may = torch.tensor([[True, False, True, True, False], [True] * 5, [False, False, False, True, False]])
    yield Sample((q, k, v, may))
    yield Sample((q, k, v, torch.stack([may, ~may]).unsqueeze(1)))
    nowhere = may & torch.tensor([[True], [False], [True]])
    yield Sample((q, k, v, nowhere), smooth=False)
    blocked = make.normal(3, 5, grad=False).masked_fill(~nowhere, float("-inf"))
    yield Sample((q, k, v, blocked), smooth=False)
    yield Sample((make.normal(3, 4), make.normal(5, 4), make.normal(5, 2)))
    yield Sample((make.normal(2, 3, 4), make.normal(2, 5, 4), make.normal(2, 5, 2)), {"is_causal": True})
    yield Sample((make.normal(2, 4, 3, 2), make.normal(2, 2, 3, 2), make.normal(2, 1, 3, 2)), {"enable_gqa": True})
    yield Sample(
        (leaf(make.normal(2, 3, 2, 4).transpose(1, 2)), leaf(make.normal(1, 2, 5, 4).expand(2, 2, 5, 4)), v)
    )
    yield Sample((q, leaf(make.normal(2, 2, 4, 5).mT), leaf(make.normal(2, 2, 5, 4)[..., ::2])))
    yield Sample((q, k.detach(), v))
    yield Sample((make.normal(0, 3, 4), make.normal(0, 5, 4), make.normal(0, 5, 2)))
    yield Sample((make.normal(2, 0, 4), make.normal(2, 5, 4), make.normal(2, 5, 2)))
    yield Sample((3 * q.detach(), k, v), smooth=False)


def bad(error: type[Exception], says: str, *inputs: Any, **options: Any) -> BadInput:
    """A call that must fail."""
    return BadInput(lambda: (inputs, options), error, says)


Q, K = torch.zeros(2, 3, 4), torch.zeros(2, 5, 4)

RECORDS = (
    Record(
        "scaled_dot_product_attention",
        scaled_dot_product_attention,
        F.scaled_dot_product_attention,
        heads,
        [AttentionFunction],
        errors=[
            bad(TypeError, "expected query to be a tensor", [1.0], K, K),
            bad(RuntimeError, "of as many features", Q, K[..., :3], K),
            bad(RuntimeError, "as many keys as values", Q, K, K[:, :3]),
            bad(RuntimeError, "of one dtype", Q, K.double(), K),
            bad(RuntimeError, "either attn_mask or is_causal", Q, K, K, torch.zeros(3, 5), is_causal=True),
            bad(RuntimeError, "broadcasts to (2, 3, 5)", Q, K, K, torch.zeros(3, 4)),
            bad(RuntimeError, "boolean or floating point", Q, K, K, torch.zeros(3, 5, dtype=torch.int64)),
        ],
    ),
)
