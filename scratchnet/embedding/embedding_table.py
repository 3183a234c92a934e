"""Tables whose rows are looked up by index: the gradient of their rows, their norm, and checks of indices.

Shapes: V rows of the table, D features, N indices.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scratchnet.arguments import describe, tensor
from scratchnet.function import LOW_PRECISION, dispatch, readable
from scratchnet.similarity.distance import norm

__all__ = ["check_indices", "renormalize", "row_gradient", "sums_by_index", "table_row"]


def row_gradient(
    grads: Tensor, indices: Tensor, rows: int, padding_idx: int | None, by_frequency: bool, sparse: bool = False
) -> Tensor:
    """Adds gradients (N, D) of the rows at N indices up into the gradient of a table, or of its used rows if sparse.

    The row ``padding_idx`` gets none; ``by_frequency`` divides by how often a row was used.
    """
    if by_frequency:
        uses = indices.new_zeros(rows).index_add(0, indices, torch.ones_like(indices))
        grads = grads / uses.index_select(0, indices).to(grads.dtype).unsqueeze(1)
    if sparse:
        if padding_idx is not None:
            kept = (indices != padding_idx).nonzero().squeeze(1)
            indices, grads = indices.index_select(0, kept), grads.index_select(0, kept)
        return torch.sparse_coo_tensor(indices.unsqueeze(0), grads, (rows, grads.shape[1]), check_invariants=False)
    if padding_idx is not None:
        grads = grads.masked_fill((indices == padding_idx).unsqueeze(1), 0)
    wide = grads.float() if grads.dtype in LOW_PRECISION else grads
    return sums_by_index(wide, indices, rows)


def _sums_in_place(x: Tensor, indices: Tensor, count: int) -> Tensor:
    return x.new_zeros(count, x.shape[1]).index_add_(0, indices, x)


@dispatch(_sums_in_place)
def sums_by_index(x: Tensor, indices: Tensor, count: int) -> Tensor:
    """Adds rows (N, D) up by index, into (count, D)."""
    return x.new_zeros(count, x.shape[1]).index_add(0, indices, x)


def renormalize(weight: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> None:
    """Scales the rows that are about to be used down to a norm of at most ``max_norm``, in place."""
    with torch.no_grad():
        order = indices.reshape(-1).long().sort().values
        first = torch.ones_like(order, dtype=torch.bool)
        first[1:] = order[1:] != order[:-1]
        used = order[first]
        rows = weight.detach().index_select(0, used)
        norms = norm(rows, norm_type, 1).squeeze(1)
        scale = (max_norm / (norms + 1e-7)).where(norms > max_norm, torch.ones_like(norms))
        weight.detach().index_copy_(0, used, rows * scale.unsqueeze(1))


def table_row(op: str, padding_idx: int | None, rows: int) -> int | None:
    """Returns ``padding_idx`` counted from the table's start.

    Raises:
        AssertionError: if there is no such row; RuntimeError for bags of rows, as in PyTorch.
    """
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows and padding_idx != 0:
        error = RuntimeError if op == "embedding_bag" else AssertionError
        raise error(f"{op}: expected padding_idx between {-rows} and {rows - 1}, got {padding_idx}")
    return padding_idx % rows if rows else None


def check_indices(op: str, indices: Tensor, rows: int, error: type[Exception] = IndexError) -> None:
    """Raises if indices are no integers, or one of them is no row of the table."""
    if tensor(op, indices).dtype not in (torch.int64, torch.int32):
        raise RuntimeError(f"{op}: expected int64 or int32 indices, got {describe(indices)}; use .long()")
    if readable(indices) and indices.numel() and not (0 <= int(indices.min()) and int(indices.max()) < rows):
        raise error(
            f"{op}: expected indices from 0 to {rows - 1}, the rows of the table, got indices from "
            f"{int(indices.min())} to {int(indices.max())}"
        )
