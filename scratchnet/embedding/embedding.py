r"""The embedding: rows of a table, looked up by index.

.. math::
    y_n = W_{i_n} \qquad
    \frac{\partial L}{\partial W_v} = \sum_{n : i_n = v} g_n

A lookup is the product of one-hot rows with W, without the product: forward is a gather, backward the matching
scatter that adds up the gradients of all places where a row was used. Rows that were not used have gradient zero,
and with ``sparse`` they are not even stored.

Two conventions of PyTorch change the backward alone, so that it is no longer the derivative: the row
``padding_idx`` gets no gradient, and ``scale_grad_by_freq`` divides a row's gradient by how often it was used.

Shapes: V rows of the table, D features, N indices.

Source: Y. Bengio, R. Ducharme, P. Vincent and C. Jauvin, "A neural probabilistic language model", 2003.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from scratchnet.arguments import describe, overridable, tensor
from scratchnet.embedding.embedding_table import check_indices, renormalize, row_gradient, table_row
from scratchnet.function import Function

__all__ = ["EmbeddingFunction", "embedding"]


class EmbeddingFunction(Function):
    """Rows of the table. Keeps the indices."""

    native_low_precision = True  # nothing is computed forward; backward adds up in float32

    @staticmethod
    def forward(
        indices: Tensor, weight: Tensor, *, rows: int, padding_idx: int | None, by_frequency: bool, sparse: bool
    ) -> tuple[Tensor, tuple[Tensor]]:
        y = weight.index_select(0, indices.reshape(-1))
        return y.view(*indices.shape, weight.shape[1]), (indices,)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], **table: Any
    ) -> tuple[None, Tensor]:
        flat = saved[0].reshape(-1)
        return None, row_gradient(grad.reshape(flat.shape[0], grad.shape[-1]), flat, **table)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], **table: Any) -> Tensor:
        return EmbeddingFunction.forward(saved[0], tangents[1], **table)[0]


@overridable
def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Looks up rows of a table.

    Args:
        input: int64 or int32 indices of any shape.
        weight: the table, of shape ``(V, D)``.
        padding_idx: a row that gets no gradient.
        max_norm: first scale the rows that are used down to this norm, in place.
        norm_type: the p of that norm.
        scale_grad_by_freq: divide the gradient of a row by how often it is used.
        sparse: make the gradient of the table a sparse tensor, which cannot be differentiated again.

    Returns:
        A tensor of shape ``(*input.shape, D)``.

    Raises:
        TypeError: if an argument is no tensor.
        AssertionError: if ``padding_idx`` is no row of the table.
        IndexError: if an index is no row of the table.
        RuntimeError: if the indices are no integers, or the table has not two dimensions.
    """
    op = "embedding"
    tensor(op, weight, "weight")
    if weight.dim() != 2:
        raise RuntimeError(f"{op}: expected weight of shape (V, D), got {describe(weight)}")
    rows = weight.shape[0]
    row = table_row(op, padding_idx, rows)
    check_indices(op, input, rows, IndexError if rows else RuntimeError)
    if max_norm is not None:
        renormalize(weight, input, max_norm, norm_type)
    return EmbeddingFunction.apply(input, weight, rows, row, scale_grad_by_freq, sparse)
