r"""The embedding bag: the sum, mean or maximum over bags of rows of a table.

.. math::
    y_b = \sum_{n \in b} w_n W_{i_n}, \qquad
    y_b = \frac{1}{|b|} \sum_{n \in b} W_{i_n}, \qquad
    y_{bd} = \max_{n \in b} W_{i_n d}

Sum and mean are linear: each row gets its bag's gradient, times w or ``1 / |b|``, added up over its uses, and the
gradient of a sample's weight is :math:`\partial L / \partial w_n = \langle g_b, W_{i_n} \rangle`. The maximum sends
the gradient of each feature to its argmax, the first where several are equal. An empty bag is zero, and
uses of ``padding_idx`` are not in their bag at all.

Shapes: V rows of the table, D features, N indices, B bags.

Source: A. Joulin, E. Grave, P. Bojanowski and T. Mikolov, "Bag of tricks for efficient text classification", 2017.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from scratchnet.arguments import describe, floating, overridable, tensor
from scratchnet.embedding.bags import bags_of, indices_and_offsets, members_of
from scratchnet.embedding.embedding_table import check_indices, renormalize, row_gradient, sums_by_index, table_row
from scratchnet.function import LOW_PRECISION, Function

__all__ = ["EmbeddingBagFunction", "EmbeddingMaxFunction", "embedding_bag"]

Maybe = Tensor | None


class EmbeddingBagFunction(Function):
    """Saves the indices, and the table if samples have weights."""

    native_low_precision = True  # rows are read in their dtype and added up in float32

    @staticmethod
    def forward(
        indices: Tensor,
        bags: Tensor,
        weight: Tensor,
        shares: Tensor | None,
        sizes: Tensor | None,
        *,
        rows: int,
        count: int,
        padding_idx: int | None,
        by_frequency: bool,
        sparse: bool,
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        y = _bag_sums(weight.index_select(0, indices), shares, indices, bags, sizes, count, padding_idx)
        return y, (indices, bags, None if shares is None else weight, shares, sizes)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, count: int, **table: Any
    ) -> tuple[Tensor | None, ...]:
        indices, bags, weight, shares, sizes = saved
        spread = (grad if sizes is None else grad / sizes.unsqueeze(1)).index_select(0, bags)
        grad_weight = grad_shares = None
        if needs[2]:
            each = spread if shares is None else spread * shares.unsqueeze(1)
            grad_weight = row_gradient(each, indices, **table)
        if needs[3]:
            grad_shares = (_wide(spread) * _wide(weight.index_select(0, indices))).sum(1)
            if table["padding_idx"] is not None:
                grad_shares = grad_shares.masked_fill(indices == table["padding_idx"], 0)
        return None, None, grad_weight, grad_shares, None

    @staticmethod
    def jvp(
        tangents: Sequence[Tensor], saved: Sequence[Tensor], *, count: int, padding_idx: int | None, **_: Any
    ) -> Tensor:
        indices, bags, weight, shares, sizes = saved
        changed = _bag_sums(tangents[2].index_select(0, indices), shares, indices, bags, sizes, count, padding_idx)
        if shares is None:
            return changed
        rows_now = weight.index_select(0, indices)
        return changed + _bag_sums(rows_now, tangents[3], indices, bags, None, count, padding_idx)


class EmbeddingMaxFunction(Function):
    """Takes the maximum over the members (B, M) of a bag that are present. Saves the argmax."""

    native_low_precision = True

    @staticmethod
    def forward(
        members: Tensor, present: Tensor, weight: Tensor, *, rows: int
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        members_rows = weight.index_select(0, members.reshape(-1)).view(*members.shape, weight.shape[1])
        candidates = members_rows.masked_fill(~present.unsqueeze(2), float("-inf"))
        largest, place = candidates.max(1)
        full = present.any(1, keepdim=True)
        return largest.masked_fill(~full, 0), (members.gather(1, place), full)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, rows: int
    ) -> tuple[None, None, Tensor]:
        argmax, full = saved
        kept = _wide(grad).masked_fill(~full, 0)
        return None, None, kept.new_zeros(rows, grad.shape[1]).scatter_add(0, argmax, kept)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, rows: int) -> Tensor:
        argmax, full = saved
        return tangents[2].gather(0, argmax).masked_fill(~full, 0)


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype in LOW_PRECISION else x


def _bag_sums(
    rows: Tensor, shares: Maybe, indices: Tensor, bags: Tensor, sizes: Maybe, count: int, padding_idx: int | None
) -> Tensor:
    """Weighs rows (N, D) and adds them up into (B, D), in float32 at least, and divides by the bags' sizes."""
    terms = _wide(rows)
    if shares is not None:
        terms = terms * _wide(shares).unsqueeze(1)
    if padding_idx is not None:
        terms = terms.masked_fill((indices == padding_idx).unsqueeze(1), 0)
    total = sums_by_index(terms, bags, count)
    return (total if sizes is None else total / sizes.unsqueeze(1)).to(rows.dtype)


@overridable
def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Takes the sum, mean or maximum over bags of rows of a table.

    Args:
        input: indices of shape ``(B, N / B)``, a bag a row, or ``(N,)`` with ``offsets``.
        weight: the table, of shape ``(V, D)``.
        offsets: where each bag starts, ``(B,)``, for one-dimensional input.
        max_norm: first scale the rows that are used down to this norm, in place.
        norm_type: the p of that norm.
        scale_grad_by_freq: divide the gradient of a row by how often it is used; not for the maximum.
        mode: ``"sum"``, ``"mean"`` or ``"max"``.
        sparse: make the gradient of the table a sparse tensor; not for the maximum.
        per_sample_weights: the weight of each index in a sum, of the input's shape.
        include_last_offset: whether the last offset is not a bag but the end of the last one.
        padding_idx: a row whose uses are left out of their bags.

    Returns:
        A tensor of shape ``(B, D)``.

    Raises:
        TypeError: if an argument is no tensor.
        ValueError: if a shape or the mode is wrong, or options exclude each other.
        NotImplementedError: if weights are given for a mean or a maximum.
        RuntimeError: if the indices are no integers or out of range, or the offsets do not fit.
    """
    op = "embedding_bag"
    tensor(op, input), tensor(op, weight, "weight")
    if weight.dtype is torch.int64 and input.is_floating_point():
        warnings.warn(f"{op}: expected (input, weight), got (weight, input), which is deprecated", stacklevel=3)
        input, weight = weight, input
    floating(op, weight, "weight", error=RuntimeError, complex=mode != "max")
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"{op}: expected mode to be 'sum', 'mean' or 'max', got {describe(mode)}")
    if weight.dim() != 2:
        raise ValueError(f"{op}: expected weight of shape (V, D), got {describe(weight)}")
    _check_options(op, input, mode, scale_grad_by_freq, sparse, per_sample_weights)
    indices, offsets, count = indices_and_offsets(op, input, offsets, include_last_offset)
    rows = weight.shape[0]
    row = table_row(op, padding_idx, rows)
    check_indices(op, indices, rows, RuntimeError)
    if max_norm is not None:
        renormalize(weight, indices, max_norm, norm_type)
    if mode == "max" and rows:  # else there are no indices, and sums of nothing are the zeros of maxima of nothing
        members, present = members_of(indices, offsets, count, row)
        return EmbeddingMaxFunction.apply(members, present, weight, rows)
    bags = bags_of(offsets, indices, count)
    shares = per_sample_weights
    if shares is not None:
        if shares.dtype is not weight.dtype:
            raise RuntimeError(
                f"{op}: expected per_sample_weights in the table's dtype, got {describe(shares)} for "
                f"{describe(weight)}"
            )
        shares = shares.reshape(-1)
        if shares.shape[0] > indices.shape[0]:  # beyond the end of the last bag
            shares = shares.split([indices.shape[0], shares.shape[0] - indices.shape[0]])[0]
    sizes = None
    if mode == "mean":
        used = torch.ones_like(bags) if row is None else (indices != row).long()
        sizes = bags.new_zeros(count).index_add(0, bags, used).clamp(min=1)
    return EmbeddingBagFunction.apply(
        indices, bags, weight, shares, sizes, rows, count, row, scale_grad_by_freq, sparse
    )


def _check_options(
    op: str, input: Tensor, mode: str, by_frequency: bool, sparse: bool, per_sample_weights: Tensor | None
) -> None:
    if mode == "max" and (by_frequency or sparse):
        raise ValueError(f"{op}: expected neither scale_grad_by_freq nor sparse with mode='max', got one of them")
    if per_sample_weights is None:
        return
    if tensor(op, per_sample_weights, "per_sample_weights").shape != input.shape:
        raise ValueError(
            f"{op}: expected per_sample_weights of the input's shape, got {describe(per_sample_weights)} for "
            f"{describe(input)}"
        )
    if mode != "sum":
        raise NotImplementedError(f"{op}: expected mode='sum' with per_sample_weights, got mode={mode!r}")
