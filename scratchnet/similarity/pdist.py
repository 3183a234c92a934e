r"""The distances of all pairs of rows i < j of one matrix, in the order (0, 1), (0, 2), …, (1, 2), ….

.. math::
    d_{ij} = \lVert x_i - x_j \rVert_p \qquad
    \bar x_i = \sum_{j > i} \bar d_{ij}\, s(x_i - x_j) - \sum_{j < i} \bar d_{ji}\, s(x_j - x_i)

with the norm's slope s, as in `distance`. The differences of all pairs are D times as many numbers as the distances.
Where nobody watches they are made block by block: some rows against all that come after, few enough that they stay
in the cache. A block holds places i ≥ j as well, near the diagonal, where the difference is put to 0: nothing reads the
distance there, and the slope is 0.

Conventions, PyTorch's: those of `distance`; with p = ∞ several equal largest differences each have the whole slope.

Shapes: N rows, D features; R rows in a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from scratchnet.arguments import describe, floating, overridable
from scratchnet.function import Function, recorded
from scratchnet.similarity.distance import norm, slope

__all__ = ["PDistFunction", "pdist"]

# Differences in a block: few enough that they and what is made of them stay in the cache.
BLOCK_ELEMENTS = 2**18


class PDistFunction(Function):
    """The distances of all pairs of rows. Keeps the rows; the differences are computed again."""

    autocast = "float32_on_cuda"

    @staticmethod
    def forward(x: Tensor, *, p: float) -> tuple[Tensor, tuple[Tensor]]:
        """The norms of all differences of two rows."""
        if recorded() or x.is_meta:
            first, second = _pairs(x)
            return norm(x.index_select(0, first) - x.index_select(0, second), p).squeeze(-1), (x,)
        square, columns = x.new_empty(x.shape[0], x.shape[0]), x.t().contiguous()
        for rows, later in _blocks(x):
            square[rows, later] = norm(_differences(columns, rows, later), p, dim=1).squeeze(1)
        return square.masked_select(_above(x)), (x,)

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, p: float) -> Tensor:
        """Each pair pushes its rows apart."""
        (x,) = saved
        if recorded():
            first, second = _pairs(x)
            difference = x.index_select(0, first) - x.index_select(0, second)
            push = slope(difference, p, shared=False) * grad.unsqueeze(-1)
            return x.new_zeros(x.shape).index_add(0, first, push).index_add(0, second, -push)
        upstream, columns = x.new_zeros(x.shape[0], x.shape[0]), x.t().contiguous()
        upstream.masked_scatter_(_above(x), grad)
        grad_columns = torch.zeros_like(columns)
        for rows, later in _blocks(x):
            push = slope(_differences(columns, rows, later), p, shared=False, dim=1)
            push.mul_(upstream[rows, later].unsqueeze(1))
            grad_columns[:, rows] += push.sum(2).t()
            grad_columns[:, later] -= push.sum(0)
        return grad_columns.t().contiguous()

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, p: float) -> Tensor:
        """The slope along the difference of the tangents."""
        (x,) = saved
        first, second = _pairs(x)
        difference = x.index_select(0, first) - x.index_select(0, second)
        change = tangents[0].index_select(0, first) - tangents[0].index_select(0, second)
        return (slope(difference, p, shared=False) * change).sum(-1)


def _pairs(x: Tensor) -> tuple[Tensor, Tensor]:
    """The two rows of each pair, N - 1 with row 0, N - 2 with row 1, …: row i begins at place i · (2 N - i - 1) / 2."""
    count = x.shape[0]
    row = torch.arange(count, device=x.device)
    first = row.repeat_interleave(count - 1 - row, output_size=count * (count - 1) // 2)
    place = torch.arange(first.shape[0], device=x.device)
    return first, place - first * (2 * count - first - 1) // 2 + first + 1


def _above(x: Tensor) -> Tensor:
    """Where in a square of all rows by all rows the pairs lie: (N, N)."""
    row = torch.arange(x.shape[0], device=x.device)
    return row.unsqueeze(1) < row


def _blocks(x: Tensor) -> Iterator[tuple[slice, slice]]:
    """Some rows, and all rows that come after the first of them."""
    count, features = x.shape
    start = 0
    while start < count - 1:
        stop = start + max(1, BLOCK_ELEMENTS // max((count - start) * features, 1))
        yield slice(start, min(stop, count)), slice(start + 1, count)
        start = stop


def _differences(columns: Tensor, rows: slice, later: slice) -> Tensor:
    """Each of some rows less each of those that come after the first: (R, D, N); 0 where it is no pair i < j."""
    difference = columns[:, rows].t().unsqueeze(-1) - columns[:, later]
    near = difference.shape[0] - 1
    if near:
        row = torch.arange(near + 1, device=columns.device)
        difference[..., :near].masked_fill_((row.unsqueeze(1) > row[:near]).unsqueeze(1), 0)
    return difference


@overridable
def pdist(input: Tensor, p: float = 2) -> Tensor:
    """The distances of all pairs of rows.

    Args:
        input: floating-point tensor of shape ``(N, D)``.
        p: the norm.

    Returns:
        A tensor of shape ``(N · (N - 1) / 2,)``.

    Raises:
        TypeError: if the input is no tensor, or ``p`` no number.
        RuntimeError: if the input is not floating point or has not two dimensions, or ``p`` is negative.
    """
    op = "pdist"
    if floating(op, input, error=RuntimeError).dim() != 2:
        raise RuntimeError(f"{op}: expected an input of shape (N, D), got {describe(input)}")
    if not p >= 0:
        raise RuntimeError(f"{op}: expected a norm p of at least 0, got {p}")
    return PDistFunction.apply(input, float(p))
