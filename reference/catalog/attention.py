"""Scaled dot-product and multi-head attention."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference.catalog.record import BadInput, Beyond, Make, Record, Sample, bad, leaf, module_pairs
from scratchnet.attention.attention import AttentionFunction, scaled_dot_product_attention
from scratchnet.attention.attention_weights import AttentionWeightsFunction
from scratchnet.attention.multi_head_attention import multi_head_attention_forward
from scratchnet.nn import MultiheadAttention

__all__ = ["RECORDS"]


def attention_samples(make: Make) -> Iterator[Sample]:
    q, k, v = make.normal(2, 2, 3, 4), make.normal(2, 2, 5, 4), make.normal(2, 2, 5, 2)
    yield Sample((q, k, v))
    yield Sample((q, k, v), {"is_causal": True})
    yield Sample((q, k, v), {"scale": 0.3})
    yield Sample((q, k, v, make.normal(2, 2, 3, 5)))
    yield Sample((q, k, v, make.normal(3, 5)))
    mask = torch.tensor([[True, False, True, True, False], [True] * 5, [False, False, False, True, False]])
    yield Sample((q, k, v, mask))
    yield Sample((q, k, v, torch.stack([mask, ~mask]).unsqueeze(1)))
    with_masked_query = mask & torch.tensor([[True], [False], [True]])
    yield Sample((q, k, v, with_masked_query), smooth=False)
    blocked = make.normal(3, 5, grad=False).masked_fill(~with_masked_query, float("-inf"))
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
    if make.dtype is torch.float64:  # with all weight on one key, gradients are differences of larger numbers
        yield Sample((leaf(8 * q), k, v), smooth=False)


def multi_head_samples(make: Make) -> Iterator[Sample]:
    e, h = 4, 2
    weight, bias, out, out_bias = (
        make.normal(3 * e, e, scale=0.5),
        make.normal(3 * e),
        make.normal(e, e),
        make.normal(e),
    )

    def call(*inputs: Tensor, **options: Any) -> Sample:
        zero, p = options.pop("add_zero_attn", False), options.pop("dropout_p", 0.0)
        kv, offset = options.pop("kv", (None, None)), options.pop("in_proj_bias", bias)
        packed = None if "use_separate_proj_weight" in options else weight
        return Sample((*inputs, e, h, packed, offset, *kv, zero, p, out, out_bias), options)

    x, memory = make.normal(3, 2, e), make.normal(2, 2, e)
    without: dict[str, Any] = {"need_weights": False}
    yield call(x, memory, memory.detach())
    yield call(x, memory, make.normal(2, 2, e), **without)
    padding = torch.tensor([[False, False], [False, True]])
    extras = {
        "kv": (make.normal(1, 1, e), make.normal(1, 1, e)),
        "add_zero_attn": True,
        "key_padding_mask": padding,
    }
    for more in ({}, without):
        yield call(x, memory, memory.detach(), **extras, **more)
        yield call(x, memory, memory.detach(), attn_mask=make.normal(2 * h, 3, 2), **more)
    yield call(x, memory, memory.detach(), attn_mask=torch.tensor([[False, True]] * 3), average_attn_weights=False)
    yield call(x, memory, memory.detach(), dropout_p=0.3)
    yield call(x, memory, memory.detach(), dropout_p=0.3, **without)
    causal = torch.ones(3, 3, dtype=torch.bool).triu(1)
    yield call(x, x, x, attn_mask=causal, is_causal=True, in_proj_bias=None, **without)
    yield call(make.normal(3, e), make.normal(2, e), make.normal(2, e), key_padding_mask=padding[1])
    projections = {"q": make.normal(e, e), "k": make.normal(e, 3), "v": make.normal(e, 2)}
    separate: dict[str, Any] = {f"{name}_proj_weight": w for name, w in projections.items()} | {
        "use_separate_proj_weight": True
    }
    yield call(x, make.normal(2, 2, 3), make.normal(2, 2, 2), **separate, **without)
    static: dict[str, Any] = {"static_k": make.normal(2 * h, 5, e // h), "static_v": make.normal(2 * h, 5, e // h)}
    yield call(x, memory, memory.detach(), **static, **without)


WIDE = torch.zeros(1, 3, 4)


def bad_heads(
    says: str, query: Tensor | None = None, error: type[Exception] = AssertionError, **changes: Any
) -> BadInput:
    """Returns a valid call of multi-head attention with changes that must make it fail."""
    given = {
        "query": torch.zeros(3, 2, 4) if query is None else query,
        "key": torch.zeros(5, 2, 4),
        "value": torch.zeros(5, 2, 4),
        "embed_dim_to_check": 4,
        "num_heads": 2,
        "in_proj_weight": torch.zeros(12, 4),
        "in_proj_bias": None,
        "bias_k": None,
        "bias_v": None,
        "add_zero_attn": False,
        "dropout_p": 0.0,
        "out_proj_weight": torch.zeros(4, 4),
        "out_proj_bias": None,
    }
    return bad(error, says, **(given | changes))


Q, K = torch.zeros(2, 3, 4), torch.zeros(2, 5, 4)

RECORDS = (
    Record(
        "scaled_dot_product_attention",
        scaled_dot_product_attention,
        F.scaled_dot_product_attention,
        attention_samples,
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
    Record(
        "multi_head_attention_forward",
        multi_head_attention_forward,
        F.multi_head_attention_forward,
        multi_head_samples,
        [AttentionFunction, AttentionWeightsFunction],
        builtin_lacks=frozenset(
            {"double backward", "forward mode", "vmap"}
        ),  # without need_weights; vmap with dropout
        errors=[
            bad_heads("all of shape (length, batch, features)", torch.zeros(3)),
            bad_heads("all of shape (length, batch, features)", key=torch.zeros(5, 4)),
            bad_heads("a query of 4 features", torch.zeros(3, 2, 5)),
            bad_heads("that 3 heads divide", num_heads=3),
            bad_heads("of the same shape", value=torch.zeros(4, 2, 4)),
            bad_heads("expected in_proj_weight", in_proj_weight=None),
            bad_heads("expected q_proj_weight", use_separate_proj_weight=True),
            bad_heads("both bias_k and bias_v", bias_v=torch.zeros(1, 1, 4)),
            bad_heads("bias_k of shape (1, 1, 4)", error=RuntimeError, bias_k=WIDE, bias_v=WIDE),
            bad_heads("key_padding_mask of shape (B, S)", key_padding_mask=torch.zeros(5)),
            bad_heads("expected attn_mask of shape (3, 5)", error=RuntimeError, attn_mask=torch.zeros(3, 4)),
            bad_heads("expected attn_mask with is_causal", error=RuntimeError, is_causal=True),
        ],
        beyond=[
            Beyond(
                "a fully masked query, with weights returned: its weights are 0",
                lambda make: Sample(
                    (*(make.normal(1, 1, 1) for _ in "qkv"), 1, 1, make.normal(3, 1, grad=False), None, None, None)
                    + (False, 0.0, make.normal(1, 1, grad=False), None),
                    {"attn_mask": torch.tensor([[True]])},
                ),
                [[[0.0]]],
                [[[[0.0]]]] * 3,
            )
        ],
        modules=module_pairs(
            MultiheadAttention,
            nn.MultiheadAttention,
            {},
            {"bias": False, "batch_first": True, "dtype": torch.float64},
            {"add_bias_kv": True, "add_zero_attn": True, "dropout": 0.1},
            {"kdim": 3, "vdim": 5},
            sizes=(4, 2),
        ),
    ),
)
