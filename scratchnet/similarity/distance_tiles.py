r"""The fast forms of `cdist` and `pdist`: distances of all pairs of rows, tile by tile, and their gradients.

A tile holds the pairs of some rows of a with the rows of b. The sums of the powers of differences are taken from the
differences, some features at a time, which stay in the cache; or for p = 2 from matrix products, in float64, of rows
centered on the mean of b:

.. math::
    d_{ij}^2 = |a_i|^2 + |b_j|^2 - 2 a_i \cdot b_j \qquad c_{ij} = \bar d_{ij} / d_{ij} \\
    \bar a_i = a_i \sum_j c_{ij} - \sum_j c_{ij} b_j \qquad \bar b_j = b_j \sum_i c_{ij} - \sum_i c_{ij} a_i

Such a square is off by some roundings of :math:`|a_i|^2 + |b_j|^2`. Pairs whose square is no larger than the part
`NEAR` of that are computed by the plain form, as are those whose powers overflow or underflow. With it float32 loses
nothing, and a float64 distance at most three of its sixteen digits.

Shapes: a (B, P, D), b (B, R, D), a tile (B, P, R), or some of its batches and rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import torch
from torch import Tensor

from scratchnet.function import chunked, rows_in_cache
from scratchnet.similarity.distance import INFINITY, distances, slope

__all__ = ["all_distances", "all_gradients", "pair_distances", "pair_gradients"]

TILE = 2**16  # elements
CACHED = 2**17  # differences
FEW = 2**16  # differences: of fewer the plain form takes fewer operations
NEAR = {torch.float32: 2.0**-26, torch.float64: 2.0**-10}
NARROW = 8  # features: of narrower rows in float64, too many pairs would be near

Tile = tuple[slice, slice, slice]  # of the batches, of the rows of a, and of the rows of b
Pairs = tuple[Tensor, ...]  # indices of the batches, the rows of a and the rows of b


class Differences:
    """Distances from differences."""

    def __init__(self, a: Tensor, b: Tensor, p: float) -> None:
        self.rows, self.p, self.tile = (a, b), p, max(TILE // 8, TILE // a.shape[2])
        self.a, self.b = a.permute(2, 0, 1).unsqueeze(-1), b.permute(2, 0, 1).contiguous().unsqueeze(-2)

    def chunks(self, tile: Tile) -> Iterator[tuple[slice, Tensor]]:
        """Yields some features and their differences, each time in the same memory."""
        batch, rows, columns = tile
        a, b = self.a[:, batch, rows], self.b[:, batch, :, columns]
        count = min(max(1, CACHED // (a[0].numel() * b.shape[-1])), len(a))
        memory = a.new_empty(count, *a.shape[1:-1], b.shape[-1])
        for start in range(0, len(a), count):
            features = slice(start, min(start + count, len(a)))
            yield features, torch.sub(a[features], b[features], out=memory[: features.stop - start])

    def sums(self, tile: Tile) -> Tensor:
        """Returns the sums of powers, or the largest differences."""
        total: Tensor | None = None
        for _, x in self.chunks(tile):
            x = x.mul_(x) if self.p == 2 else x.abs_().clamp_(max=1).ceil_() if self.p == 0 else x.abs_()
            x = x if self.p in (0, 1, 2, INFINITY) else x.pow_(self.p)
            part = x.amax(0) if self.p == INFINITY else x.sum(0)
            join = torch.maximum if self.p == INFINITY else torch.add
            total = part if total is None else join(total, part, out=total)
        assert total is not None
        return total

    def close(self, total: Tensor, tile: Tile) -> Tensor | None:
        """Returns a mask of the pairs whose powers overflow or underflow, if there are any."""
        limits = torch.finfo(total.dtype)
        least = limits.tiny / limits.eps
        if self.p in (0, 1, INFINITY) or (float(total.amin()) > least and float(total.amax()) < INFINITY):
            return None
        return (total <= least) | ~(total < INFINITY)

    def begin(self) -> None:
        """Begins with gradients of zero, in float64, since many tiles are added up."""
        self.grad_a, self.grad_b = (torch.zeros_like(x, dtype=torch.float64) for x in (self.a, self.b))

    def push(self, grad: Tensor, distance: Tensor, close: Pairs | None, tile: Tile) -> None:
        """Adds the gradients of a tile."""
        batch, rows, columns = tile
        safe = distance if self.p in (1, INFINITY) else distance.masked_fill_(distance == 0, 1)
        for features, x in self.chunks(tile):
            if self.p == 1:
                x.sgn_()
            elif self.p == 2:
                x.div_(safe)
            elif self.p == INFINITY:
                largest = x.abs().eq_(safe)
                x.sgn_().mul_(largest)
            else:
                ratio = x.abs().div_(safe).pow_(self.p - 1)
                if self.p < 1:  # zero to a negative power; pairs outside of a triangle have no upstream
                    ratio.masked_fill_(((x == 0) & ~safe.isnan()) | (grad == 0), 0)
                torch.copysign(ratio, x, out=x)
            x.mul_(grad)
            self.grad_a[features, batch, rows] += x.sum(-1, keepdim=True)
            self.grad_b[features, batch, :, columns] -= x.sum(-2, keepdim=True)

    def gradients(self) -> tuple[Tensor, Tensor]:
        """Returns those of a and b."""
        return self.grad_a.squeeze(-1).movedim(0, -1), self.grad_b.squeeze(-2).movedim(0, -1)


class Products:
    """Euclidean distances from products."""

    p = 2.0

    def __init__(self, a: Tensor, b: Tensor) -> None:
        self.rows, self.tile, limits, near = (a, b), TILE, torch.finfo(torch.float64), NEAR[a.dtype]
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
            push = _of_pairs(_slopes, self, pairs, grad[close])
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


def _of_pairs(function: Callable[..., Tensor], way: Differences | Products, pairs: Pairs, *grad: Tensor) -> Tensor:
    """Returns a plain function of the differences of some pairs."""
    a, b = way.rows
    result: Tensor = chunked(function, *pairs, *grad, a=a, b=b, p=way.p, size=rows_in_cache(a.shape[-1]))
    return result


def _norms(batch: Tensor, first: Tensor, second: Tensor, *, a: Tensor, b: Tensor, p: float) -> Tensor:
    return distances(a[batch, first] - b[batch, second], p)


def _slopes(
    batch: Tensor, first: Tensor, second: Tensor, grad: Tensor, *, a: Tensor, b: Tensor, p: float
) -> Tensor:
    return (slope(a[batch, first] - b[batch, second], p, shared=False) * grad.unsqueeze(-1)).double()


def _distances(way: Differences | Products, tile: Tile, triangle: bool = False) -> tuple[Tensor, Pairs | None]:
    """Returns the distances of a tile, and where the plain form computed them."""
    total = way.sums(tile)
    # The distances of rows from themselves are not needed.
    diagonal = total.diagonal(-1, -2, -1).fill_(torch.finfo(total.dtype).max) if triangle else total[:0]
    mask = way.close(total, tile)
    close = None if mask is None else mask.nonzero(as_tuple=True)
    distance = total if way.p in (0, 1, INFINITY) else total.sqrt_() if way.p == 2 else total.pow_(1 / way.p)
    if close is not None:
        distance[close] = _of_pairs(_norms, way, _in_whole(close, tile)).to(distance.dtype)
        diagonal.fill_(1)
    return distance, close


def _way(a: Tensor, b: Tensor, p: float, by_products: bool = True) -> Differences | Products:
    """Chooses how the distances of as many rows are computed."""
    precise = a.dtype is torch.float32 or a.shape[2] >= NARROW
    return Products(a, b) if by_products and p == 2 and precise else Differences(a, b, p)


def _tiles(size: int, batches: int, rows: int, columns: int, triangle: bool = False) -> Iterator[Tile]:
    """Yields tiles of all pairs, or of rows with those after the first of them."""
    several = max(1, size // (rows * columns))
    for batch in range(0, batches, several):
        start = 0
        while start < rows:
            column = start + 1 if triangle else 0
            stop = min(rows, start + max(1, size // (columns - column)))
            yield slice(batch, min(batch + several, batches)), slice(start, stop), slice(column, columns)
            start = stop


def _gradients(
    upstream: Callable[[Tile], Tensor], a: Tensor, b: Tensor, p: float, rows: int, triangle: bool = False
) -> tuple[Tensor, Tensor]:
    """Adds up the gradients of both tensors; from differences where products have lost infinities."""
    if p == 0:
        return torch.zeros_like(a), torch.zeros_like(b)
    for by_products in (True, False):
        way = _way(a, b, p, by_products)
        way.begin()
        for tile in _tiles(way.tile, len(a), rows, b.shape[1], triangle):
            way.push(upstream(tile), *_distances(way, tile, triangle), tile)
        grad_a, grad_b = way.gradients()
        if isinstance(way, Differences) or bool((grad_a.sum() + grad_b.sum()).isfinite()):
            break
    return grad_a.to(a.dtype), grad_b.to(a.dtype)


def _matrices(shape: torch.Size, *tensors: Tensor) -> list[Tensor]:
    """Returns tensors of a common shape of batches, each as one batch of matrices."""
    return [x.expand(*shape, *x.shape[-2:]).reshape(-1, *x.shape[-2:]) for x in tensors]


def all_distances(a: Tensor, b: Tensor, p: float) -> Tensor:
    """Distances of each row of ``a`` from each of ``b``."""
    shape = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    if shape.numel() * a.shape[-2] * b.shape[-2] * a.shape[-1] <= FEW:
        return NotImplemented
    x, y = _matrices(shape, a, b)
    way, result = _way(x, y, p), x.new_empty(len(x), x.shape[1], y.shape[1])
    for tile in _tiles(way.tile, *result.shape):
        result[tile] = _distances(way, tile)[0].to(x.dtype)
    return result.view(*shape, *result.shape[1:])


def all_gradients(grad: Tensor, a: Tensor, b: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """Gradients of both tensors."""
    shape = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    if shape.numel() * a.shape[-2] * b.shape[-2] * a.shape[-1] <= FEW:
        return NotImplemented
    x, y = _matrices(shape, a, b)
    grad = grad.reshape(len(x), x.shape[1], y.shape[1])
    both = _gradients(grad.__getitem__, x, y, p, x.shape[1])
    grad_a, grad_b = (g.reshape(*shape, *g.shape[1:]) for g in both)
    return grad_a.sum_to_size(a.shape), grad_b.sum_to_size(b.shape)


@lru_cache(8)
def _triangle(rows: int, columns: int, device: torch.device) -> Tensor:
    """Returns the places in a tile of the pairs whose second row comes after the first."""
    column = torch.arange(columns, device=device)
    return (column >= column[:rows].unsqueeze(1)).flatten().nonzero().squeeze(1)


def _places(tile: Tile, device: torch.device) -> Tensor:
    _, rows, columns = tile
    return _triangle(rows.stop - rows.start, columns.stop - columns.start, device)


def pair_distances(x: Tensor, p: float) -> Tensor:
    """Distances of all pairs of rows."""
    count = len(x)
    if count < 2 or 4 * count**2 * min(16, x.shape[1]) <= FEW:
        return NotImplemented
    x = x.unsqueeze(0)
    way = _way(x, x, p)
    tiles = _tiles(way.tile, 1, count - 1, count, triangle=True)
    parts = [_distances(way, t, triangle=True)[0].view(-1).index_select(0, _places(t, x.device)) for t in tiles]
    return torch.cat(parts).to(x.dtype)


def pair_gradients(grad: Tensor, x: Tensor, p: float) -> Tensor:
    """Gradient of the rows for the distances of all pairs."""
    count = len(x)
    if count < 2 or 4 * count**2 * min(16, x.shape[1]) <= FEW:
        return NotImplemented

    def upstream(tile: Tile) -> Tensor:
        _, rows, columns = tile
        places, begin = _places(tile, x.device), rows.start * (2 * count - rows.start - 1) // 2
        square = grad.new_zeros(1, rows.stop - rows.start, columns.stop - columns.start)
        square.view(-1).index_copy_(0, places, grad[begin : begin + len(places)])
        return square

    x = x.unsqueeze(0)
    grad_a, grad_b = _gradients(upstream, x, x, p, count - 1, triangle=True)
    return (grad_a + grad_b).squeeze(0)
