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

import torch
from torch import Tensor, nn

from scratchnet.arguments import describe, tensor
from scratchnet.distance import norm
from scratchnet.function import LOW_PRECISION, Function, readable, unobserved

__all__ = [
    "Embedding",
    "EmbeddingFunction",
    "check_indices",
    "embedding",
    "renormalize",
    "row_gradient",
    "table_row",
]


class EmbeddingFunction(Function):
    """Rows of the table. Keeps the indices."""

    native_low_precision = True  # nothing is computed forward; backward adds up in float32

    @staticmethod
    def forward(
        indices: Tensor, weight: Tensor, *, rows: int, padding_idx: int | None, by_frequency: bool, sparse: bool
    ) -> tuple[Tensor, tuple[Tensor]]:
        """One gather."""
        y = weight.index_select(0, indices.reshape(-1))
        return y.view(*indices.shape, weight.shape[1]), (indices,)

    @staticmethod
    def backward(
        grad: Tensor,
        saved: Sequence[Tensor],
        needs: Sequence[bool],
        *,
        rows: int,
        padding_idx: int | None,
        by_frequency: bool,
        sparse: bool,
    ) -> tuple[None, Tensor]:
        """The gradients of each row's uses, added up."""
        (indices,) = saved
        flat = indices.reshape(-1)
        grad_rows = grad.reshape(flat.shape[0], grad.shape[-1])
        return None, row_gradient(grad_rows, flat, rows, padding_idx, by_frequency, sparse)

    @staticmethod
    def jvp(
        tangents: Sequence[Tensor],
        saved: Sequence[Tensor],
        *,
        rows: int,
        padding_idx: int | None,
        by_frequency: bool,
        sparse: bool,
    ) -> Tensor:
        """The same rows of the tangent."""
        (indices,) = saved
        tangent = tangents[1].index_select(0, indices.reshape(-1))
        return tangent.view(*indices.shape, tangent.shape[1])


def row_gradient(
    grads: Tensor, indices: Tensor, rows: int, padding_idx: int | None, by_frequency: bool, sparse: bool = False
) -> Tensor:
    """The gradient of a table of V rows, from gradients ``(N, D)`` of the rows that N indices picked.

    Args:
        grads: what flows back to each use of a row.
        indices: which row each of them used, ``(N,)``.
        rows: how many rows the table has.
        padding_idx: the row that gets no gradient.
        by_frequency: divide by how often a row was used.
        sparse: return the gradients of the used rows alone, as a sparse tensor.
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
    table = wide.new_zeros(rows, grads.shape[1])
    return table.index_add_(0, indices, wide) if unobserved() else table.index_add(0, indices, wide)


def renormalize(weight: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> None:
    """Scales the rows that are about to be used down to a norm of at most ``max_norm``, in place."""
    with torch.no_grad():
        order = indices.reshape(-1).sort().values
        first = torch.ones_like(order, dtype=torch.bool)
        first[1:] = order[1:] != order[:-1]
        used = order[first]
        rows = weight.detach().index_select(0, used)
        norms = norm(rows, norm_type, 1).squeeze(1)
        scale = (max_norm / (norms + 1e-7)).where(norms > max_norm, torch.ones_like(norms))
        weight.detach().index_copy_(0, used, rows * scale.unsqueeze(1))


def table_row(op: str, padding_idx: int | None, rows: int) -> int | None:
    """A row of the table counted from its start; AssertionError where there is no such row, as in PyTorch."""
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows and padding_idx != 0:
        raise AssertionError(f"{op}: expected padding_idx between {-rows} and {rows - 1}, got {padding_idx}")
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
    check_indices(op, input, rows)
    if max_norm is not None:
        renormalize(weight, input, max_norm, norm_type)
    return EmbeddingFunction.apply(input, weight, rows, row, scale_grad_by_freq, sparse)


class Embedding(nn.Module):
    """`embedding` with its table as a parameter, ``weight``, which starts from a standard normal distribution.

    Args:
        num_embeddings: V, the rows of the table.
        embedding_dim: D, the features of a row.
        padding_idx: a row that starts as zeros and gets no gradient.
        max_norm: scale rows that are used down to this norm, in place.
        norm_type: the p of that norm.
        scale_grad_by_freq: divide the gradient of a row by how often it is used.
        sparse: make the gradient of the table a sparse tensor.
        device: where the table lives.
        dtype: its dtype.
    """

    __constants__ = [
        "num_embeddings",
        "embedding_dim",
        "padding_idx",
        "max_norm",
        "norm_type",
        "scale_grad_by_freq",
        "sparse",
    ]

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = table_row("Embedding", padding_idx, num_embeddings)
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        if _weight is None:
            table = torch.empty(num_embeddings, embedding_dim, device=device, dtype=dtype)
        elif tuple(_weight.shape) == (num_embeddings, embedding_dim):
            table = _weight
        else:
            raise AssertionError(
                f"Embedding: expected a table of shape {(num_embeddings, embedding_dim)}, got {describe(_weight)}"
            )
        self.weight = nn.Parameter(table, requires_grad=not _freeze)
        if _weight is None:
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws a new table, whose padding row is zero."""
        nn.init.normal_(self.weight)
        if self.padding_idx is not None:
            with torch.no_grad():
                self.weight[self.padding_idx].fill_(0)

    def forward(self, input: Tensor) -> Tensor:
        """Applies `embedding`."""
        return embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )

    def extra_repr(self) -> str:
        """The sizes, and the options that differ from the default."""
        options = [f"{self.num_embeddings}, {self.embedding_dim}"]
        options += [f"padding_idx={self.padding_idx}"] if self.padding_idx is not None else []
        options += [f"max_norm={self.max_norm}"] if self.max_norm is not None else []
        options += [f"norm_type={self.norm_type}"] if self.norm_type != 2 else []
        options += [f"scale_grad_by_freq={self.scale_grad_by_freq}"] if self.scale_grad_by_freq else []
        options += ["sparse=True"] if self.sparse else []
        return ", ".join(options)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """A layer around a given table, which ``freeze`` keeps from training.

        Raises:
            AssertionError: if the table is not of shape ``(V, D)``.
        """
        if embeddings.dim() != 2:
            raise AssertionError(f"Embedding: expected a table of shape (V, D), got {describe(embeddings)}")
        return cls(
            embeddings.shape[0],
            embeddings.shape[1],
            padding_idx=padding_idx,
            max_norm=max_norm,
            norm_type=norm_type,
            scale_grad_by_freq=scale_grad_by_freq,
            sparse=sparse,
            _weight=embeddings,
            _freeze=freeze,
        )
