r"""Euclidean distances of many rows from matrix products, and those of pairs that are too near for them.

In float64, of rows centered on the mean of b:

.. math::
    d_{ij}^2 = |a_i|^2 + |b_j|^2 - 2 a_i \cdot b_j \qquad c_{ij} = \bar d_{ij} / d_{ij} \\
    \bar a_i = a_i \sum_j c_{ij} - \sum_j c_{ij} b_j \qquad \bar b_j = b_j \sum_i c_{ij} - \sum_i c_{ij} a_i

Such a square is off by some roundings of :math:`|a_i|^2 + |b_j|^2`. Pairs whose square is no larger than the part
`NEAR` of that are computed by the plain form. With it float32 loses nothing, and a float64 distance at most three of
its sixteen digits.

Shapes: a (B, P, D), b (B, R, D), a tile (B, P, R), or some of its batches and rows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from scratchnet.function import chunked, rows_in_cache
from scratchnet.similarity.distance import INFINITY, distances, slope

__all__ = ["Pairs", "Products", "Rows", "Tile", "plain_distances"]

NEAR = {torch.float32: 2.0**-26, torch.float64: 2.0**-10}

Rows = tuple[Tensor, Tensor]
Tile = tuple[slice, slice, slice]  # of the batches, of the rows of a, and of the rows of b
Pairs = tuple[Tensor, ...]  # indices of the batches, the rows of a and the rows of b


class Products:
    """Euclidean distances from products."""

    p = 2.0

    def __init__(self, a: Tensor, b: Tensor, tile: int) -> None:
        self.rows, self.tile, limits, near = (a, b), tile, torch.finfo(torch.float64), NEAR[a.dtype]
        center = b.mean(-2, keepdim=True, dtype=torch.float64)
        center = center.masked_fill_(~center.isfinite(), 0)
        self.a, self.b = a - center, b - center
        a_square, b_square = (x.square().sum(-1, keepdim=True) for x in (self.a, self.b))
        one = torch.ones(1, 1, 1, dtype=torch.float64)
        self.left = torch.cat([self.a, one.expand_as(a_square), a_square], -1)
        self.right = torch.cat([-2 * self.b, b_square, one.expand_as(b_square)], -1)
        self.bound_a, self.bound_b = near * a_square + limits.tiny / limits.eps, near * b_square.mT

    def sums(self, tile: Tile) -> Tensor:
        """Returns the squares."""
        batch, rows, columns = tile
        return torch.bmm(self.left[batch, rows], self.right[batch, columns].mT)

    def close(self, total: Tensor, tile: Tile) -> Tensor | None:
        """Returns a mask of the pairs whose squares are not precise, if there are any."""
        batch, rows, columns = tile
        bound_a, bound_b = self.bound_a[batch, rows], self.bound_b[batch, :, columns]
        bound = bound_a + bound_b.amax(-1, keepdim=True)
        if float(total.amax()) < INFINITY and bool((total.amin(-1, keepdim=True) > bound).all()):
            return None
        return (total <= bound_a + bound_b) | ~(total < INFINITY)

    def begin(self) -> None:
        """Begins with gradients and sums of zero."""
        self.sums_a, self.sums_b = torch.zeros_like(self.left), torch.zeros_like(self.right)
        self.grad_a, self.grad_b = torch.zeros_like(self.a), torch.zeros_like(self.b)

    def push(self, grad: Tensor, distance: Tensor, close: Pairs | None, tile: Tile) -> None:
        """Adds the sums of a tile, and the gradients of pairs that are close."""
        batch, rows, columns = tile
        weight = torch.div(grad, distance, out=distance)
        if close is not None:
            weight[close] = 0
            batches, first, second = pairs = _in_whole(close, tile)
            push = _of_pairs(_slopes, self.rows, pairs, grad[close], p=self.p)
            self.grad_a.index_put_((batches, first), push, accumulate=True)
            self.grad_b.index_put_((batches, second), -push, accumulate=True)
        self.sums_a[batch, rows].baddbmm_(weight, self.right[batch, columns])
        self.sums_b[batch, columns].baddbmm_(weight.mT, self.left[batch, rows])

    def gradients(self) -> tuple[Tensor, Tensor]:
        """Returns those of a and b."""
        size = self.a.shape[-1]
        self.grad_a += self.a * self.sums_a[..., -1:] + self.sums_a[..., :size] / 2
        self.grad_b += self.b * self.sums_b[..., size : size + 1] - self.sums_b[..., :size]
        return self.grad_a, self.grad_b


def _in_whole(pairs: Pairs, tile: Tile) -> Pairs:
    return tuple([x + part.start for x, part in zip(pairs, tile, strict=True)])


def plain_distances(rows: Rows, close: Pairs, tile: Tile, p: float) -> Tensor:
    """Returns the distances of some pairs of a tile by the plain form."""
    return _of_pairs(_norms, rows, _in_whole(close, tile), p=p)


def _of_pairs(function: Callable[..., Tensor], rows: Rows, pairs: Pairs, *grad: Tensor, p: float) -> Tensor:
    """Returns a plain function of the differences of some pairs."""
    a, b = rows
    result: Tensor = chunked(function, *pairs, *grad, a=a, b=b, p=p, size=rows_in_cache(a.shape[-1]))
    return result


def _norms(batch: Tensor, first: Tensor, second: Tensor, *, a: Tensor, b: Tensor, p: float) -> Tensor:
    return distances(a[batch, first] - b[batch, second], p)


def _slopes(
    batch: Tensor, first: Tensor, second: Tensor, grad: Tensor, *, a: Tensor, b: Tensor, p: float
) -> Tensor:
    return (slope(a[batch, first] - b[batch, second], p, shared=False) * grad.unsqueeze(-1)).double()
