r"""Multi-head attention: several attentions side by side, each on its own projection of the inputs.

.. math::
    \operatorname{head}_h = \operatorname{Attention}(x_q W^Q_h,\; x_k W^K_h,\; x_v W^V_h), \qquad
    y = [\operatorname{head}_1 \cdots \operatorname{head}_H]\, W^O

It is composed of `linear` and of the attention of one head, whose gradients are written by hand there. Where the
weights are not asked for it is `scaled_dot_product_attention`, which does not keep them; where they are, they are
computed as a tensor of their own.

Shapes: L queries, S keys, B samples, E features, H heads of E / H features each.

Source: A. Vaswani et al., "Attention is all you need", 2017.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from scratchnet.arguments import describe, floating, overridable
from scratchnet.attention.attention import scaled_dot_product_attention
from scratchnet.attention.attention_weights import attention_weights
from scratchnet.dropout.dropout import dropout
from scratchnet.linear.linear import linear

__all__ = ["additive_mask", "multi_head_attention_forward"]

OP = "multi_head_attention_forward"
Maybe = Tensor | None


def additive_mask(mask: Maybe, name: str, dtype: torch.dtype, other: Maybe = None, other_name: str = "") -> Maybe:
    """The mask as numbers to be added to scores: -∞ where a boolean one is true, which means "may not look".

    Raises:
        AssertionError: if it is neither boolean nor floating point.
    """
    if mask is None:
        return None
    if mask.dtype is not torch.bool and not mask.is_floating_point():
        raise AssertionError(f"{OP}: expected {name} to be boolean or floating point, got {describe(mask)}")
    if other is not None and mask.dtype is not other.dtype:
        warnings.warn(
            f"{OP}: expected {name} and {other_name} of one dtype, got {describe(mask)} and {describe(other)}; "
            "mixing them is deprecated",
            stacklevel=4,
        )
    if mask.is_floating_point():
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, float("-inf"))


@overridable
def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Maybe,
    in_proj_bias: Maybe,
    bias_k: Maybe,
    bias_v: Maybe,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Maybe,
    training: bool = True,
    key_padding_mask: Maybe = None,
    need_weights: bool = True,
    attn_mask: Maybe = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Maybe = None,
    k_proj_weight: Maybe = None,
    v_proj_weight: Maybe = None,
    static_k: Maybe = None,
    static_v: Maybe = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Maybe]:
    """Projects queries, keys and values, lets each head attend, and projects what the heads found.

    Args:
        query: tensor of shape ``(L, B, E)``, or ``(L, E)`` without a batch.
        key: tensor of shape ``(S, B, E)``, or ``(S, E)``.
        value: tensor of shape ``(S, B, E)``, or ``(S, E)``.
        embed_dim_to_check: E.
        num_heads: H.
        in_proj_weight: the three projections on top of each other, ``(3 · E, E)``.
        in_proj_bias: their biases, ``(3 · E,)``.
        bias_k: a key of shape ``(1, 1, E)`` that is appended to the projected keys.
        bias_v: its value.
        add_zero_attn: whether to append a key and a value of zeros.
        dropout_p: probability of an attention weight to be dropped in training.
        out_proj_weight: the projection of the output, ``(E, E)``.
        out_proj_bias: its bias, ``(E,)``.
        training: whether to drop at all.
        key_padding_mask: keys that no query may look at, ``(B, S)``: true there, or numbers added to the scores.
        need_weights: whether to return the attention weights too.
        attn_mask: keys that a query may not look at, ``(L, S)`` or ``(B · H, L, S)``, likewise.
        use_separate_proj_weight: whether the projections are the next three instead.
        q_proj_weight: of shape ``(E, E)``.
        k_proj_weight: of shape ``(E, features of the keys)``.
        v_proj_weight: of shape ``(E, features of the values)``.
        static_k: projected keys of all heads, ``(B · H, S, E / H)``, in place of ``key``.
        static_v: likewise for the values.
        average_attn_weights: whether the weights are the mean over the heads.
        is_causal: a hint that ``attn_mask`` is the causal one.

    Returns:
        The output, of the query's shape, and the weights, ``(B, L, S)`` or ``(B, H, L, S)``, or None.

    Raises:
        TypeError: if an input is no tensor.
        AssertionError: if shapes do not fit together, as in PyTorch.
        RuntimeError: if a mask does not fit, or ``is_causal`` comes without ``attn_mask``.
    """
    batched = _check_shapes(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        together = query is key and key is value
        query = query.unsqueeze(1)
        key, value = (query, query) if together else (key.unsqueeze(1), value.unsqueeze(1))
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    length, batch, features = query.shape
    padding = additive_mask(key_padding_mask, "key_padding_mask", query.dtype, attn_mask, "attn_mask")
    if is_causal and attn_mask is None:
        raise RuntimeError(f"{OP}: expected attn_mask with is_causal=True, which only hints that it is causal")
    mask = additive_mask(attn_mask, "attn_mask", query.dtype)
    _check_features(query, key, value, embed_dim_to_check, num_heads, use_separate_proj_weight)
    if mask is not None:
        mask = _mask_of_heads(mask, length, key.shape[0], batch * num_heads)
    causal = is_causal and padding is None and not need_weights
    mask = None if causal else mask

    if in_proj_bias is not None and in_proj_bias.shape != (3 * features,):
        error = AssertionError if use_separate_proj_weight else RuntimeError
        raise error(f"{OP}: expected in_proj_bias of shape {(3 * features,)}, got {describe(in_proj_bias)}")
    if use_separate_proj_weight:
        q, k, v = _projected((query, key, value), (q_proj_weight, k_proj_weight, v_proj_weight), in_proj_bias)
    elif in_proj_weight is None:
        raise AssertionError(f"{OP}: expected in_proj_weight, since use_separate_proj_weight is False, got None")
    elif in_proj_weight.shape != (3 * features, features):
        raise RuntimeError(
            f"{OP}: expected in_proj_weight of shape {(3 * features, features)}, got {describe(in_proj_weight)}"
        )
    elif query is key and key is value:
        q, k, v = linear(query, in_proj_weight, in_proj_bias).split(features, -1)  # one product for all three
    else:
        q, k, v = _projected((query, key, value), in_proj_weight.split(features), in_proj_bias)
    if (bias_k is None) is not (bias_v is None):
        raise AssertionError(f"{OP}: expected both bias_k and bias_v or neither, got one of them")
    k, v = _with_bias(k, bias_k, static_k, "k"), _with_bias(v, bias_v, static_v, "v")

    q = _heads(q, num_heads)
    k = _static(static_k, "static_k", q) if static_k is not None else _heads(k, num_heads)
    v = _static(static_v, "static_v", q) if static_v is not None else _heads(v, num_heads)
    if k.shape[:2] != v.shape[:2] or k.shape[0] != q.shape[0]:
        raise RuntimeError(
            f"{OP}: expected as many values as keys for the heads of all {batch} samples, {q.shape[0]}, got "
            f"{tuple(v.shape[:2])} and {tuple(k.shape[:2])} of heads and length"
        )
    if add_zero_attn:
        k, v = (torch.cat([x, x.new_zeros(x.shape[0], 1, x.shape[2])], 1) for x in (k, v))
    extra = (bias_k is not None) + bool(add_zero_attn)
    mask, padding = _widened(mask, extra), _widened(padding, extra)
    if mask is not None and mask.shape[2] not in (1, k.shape[1]):  # static keys may be more than key has
        raise RuntimeError(f"{OP}: expected attn_mask for {k.shape[1] - extra} keys, got {describe(attn_mask)}")
    if padding is not None:
        if padding.shape != (batch, k.shape[1]):
            raise AssertionError(
                f"{OP}: expected key_padding_mask of shape {(batch, k.shape[1] - extra)}, got "
                f"{describe(key_padding_mask)}"
            )
        each = padding.unsqueeze(1).expand(batch, num_heads, k.shape[1]).reshape(batch * num_heads, 1, k.shape[1])
        mask = each if mask is None else mask + each

    probability = dropout_p if training else 0.0
    weights = None
    if need_weights:
        weights = dropout(attention_weights(q, k, mask), probability)
        found = weights @ v
        weights = weights.view(batch, num_heads, length, k.shape[1])
        weights = weights.mean(1) if average_attn_weights else weights
        weights = weights if batched else weights.squeeze(0)
    else:
        found = scaled_dot_product_attention(q, k, v, mask, probability, causal)
    y = linear(found.transpose(0, 1).reshape(length, batch, features), out_proj_weight, out_proj_bias)
    return (y if batched else y.squeeze(1)), weights


def _check_shapes(query: Tensor, key: Tensor, value: Tensor, padding: Maybe, mask: Maybe, heads: int) -> bool:
    """Whether there is a batch; AssertionError where the numbers of dimensions do not fit."""
    for name, x in (("query", query), ("key", key), ("value", value)):
        floating(OP, x, name)
    dims = query.dim()
    if dims not in (2, 3) or key.dim() != dims or value.dim() != dims:
        raise AssertionError(
            f"{OP}: expected query, key and value all of shape (length, batch, features) or (length, features), "
            f"got {describe(query)}, {describe(key)} and {describe(value)}"
        )
    if padding is not None and padding.dim() != dims - 1:
        raise AssertionError(
            f"{OP}: expected key_padding_mask of shape {'(B, S)' if dims == 3 else '(S,)'}, got {describe(padding)}"
        )
    if mask is not None and mask.dim() not in (2, 3):
        raise AssertionError(f"{OP}: expected attn_mask of shape (L, S) or (B · H, L, S), got {describe(mask)}")
    if dims == 2 and mask is not None and mask.dim() == 3:
        expected = (heads, query.shape[0], key.shape[0])
        if mask.shape != expected:
            raise AssertionError(f"{OP}: expected attn_mask of shape {expected}, got {describe(mask)}")
    return dims == 3


def _check_features(query: Tensor, key: Tensor, value: Tensor, features: int, heads: int, separate: bool) -> None:
    if query.shape[2] != features:
        raise AssertionError(f"{OP}: expected a query of {features} features, got {describe(query)}")
    if heads < 1 or features % heads:
        error = RuntimeError if heads < 1 else AssertionError
        raise error(f"{OP}: expected a number of features that {heads} heads divide, got {features}")
    same = key.shape[:2] == value.shape[:2] if separate else key.shape == value.shape
    if not same:
        raise AssertionError(
            f"{OP}: expected key and value of the same shape, got {describe(key)} and {describe(value)}"
        )


def _mask_of_heads(mask: Tensor, length: int, keys: int, heads: int) -> Tensor:
    """The mask as ``(1 or B · H, L, S)``; RuntimeError where it is none."""
    expected = (length, keys) if mask.dim() == 2 else (heads, length, keys)
    if mask.shape != expected:
        raise RuntimeError(f"{OP}: expected attn_mask of shape {expected}, got {describe(mask)}")
    return mask.unsqueeze(0) if mask.dim() == 2 else mask


def _projected(inputs: tuple[Tensor, ...], weights: tuple[Maybe, ...], bias: Maybe) -> list[Tensor]:
    """Queries, keys and values, each by its own projection."""
    biases = (None, None, None) if bias is None else bias.split(bias.shape[0] // 3)
    found = []
    for name, x, weight, offset in zip("qkv", inputs, weights, biases, strict=True):
        if weight is None:
            raise AssertionError(
                f"{OP}: expected {name}_proj_weight, since use_separate_proj_weight is True, got None"
            )
        if weight.shape[1] != x.shape[-1]:
            raise AssertionError(f"{OP}: expected {name}_proj_weight for {describe(x)}, got {describe(weight)}")
        found.append(linear(x, weight, offset))
    return found


def _with_bias(x: Tensor, bias: Maybe, static: Maybe, name: str) -> Tensor:
    """Projected keys or values, and one more that is learned, for every sample of the batch."""
    if bias is None:
        return x
    if static is not None:
        raise AssertionError(f"{OP}: expected no static_{name} together with bias_{name}, got both")
    if bias.numel() != x.shape[2]:
        raise RuntimeError(f"{OP}: expected bias_{name} of shape (1, 1, {x.shape[2]}), got {describe(bias)}")
    return torch.cat([x, bias.reshape(1, 1, x.shape[2]).expand(1, *x.shape[1:])])


def _heads(x: Tensor, heads: int) -> Tensor:
    """From ``(S, B, E)`` to ``(B · H, S, E / H)``."""
    length, batch, features = x.shape
    return x.reshape(length, batch * heads, features // heads).transpose(0, 1)


def _static(x: Tensor, name: str, q: Tensor) -> Tensor:
    if x.dim() != 3 or x.shape[0] != q.shape[0] or x.shape[2] != q.shape[2]:
        raise AssertionError(f"{OP}: expected {name} of shape {(q.shape[0], 'S', q.shape[2])}, got {describe(x)}")
    return x


def _widened(mask: Maybe, extra: int) -> Maybe:
    """A mask for the keys that were appended too, which everyone may look at."""
    if mask is None or not extra:
        return mask
    return torch.cat([mask, mask.new_zeros(*mask.shape[:-1], extra)], -1)
