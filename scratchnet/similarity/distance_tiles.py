r"""The fast forms of `cdist` and `pdist`: distances of all pairs of rows, tile by tile, and their gradients.

A tile holds the pairs of some rows of a with the rows of b. The sums of the powers of differences are taken from the
differences, some features at a time, which stay in the cache; or for p = 2 from matrix products
(`scratchnet.similarity.distance_products`). Pairs whose powers overflow or underflow are computed by the plain form.

Shapes: a (B, P, D), b (B, R, D), a tile (B, P, R), or some of its batches and rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import torch
from torch import Tensor

from scratchnet.similarity.distance import INFINITY
from scratchnet.similarity.distance_products import Pairs, Products, Tile, plain_distances

__all__ = ["all_distances", "all_gradients", "pair_distances", "pair_gradients"]

TILE = 2**16  # elements
CACHED = 2**17  # differences
FEW = 2**16  # differences: of fewer the plain form takes fewer operations
NARROW = 8  # features: of narrower rows in float64, too many pairs would be near


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


def _distances(way: Differences | Products, tile: Tile, triangle: bool = False) -> tuple[Tensor, Pairs | None]:
    """Returns the distances of a tile, and where the plain form computed them."""
    total = way.sums(tile)
    # The distances of rows from themselves are not needed.
    diagonal = total.diagonal(-1, -2, -1).fill_(torch.finfo(total.dtype).max) if triangle else total[:0]
    mask = way.close(total, tile)
    close = None if mask is None else mask.nonzero(as_tuple=True)
    distance = total if way.p in (0, 1, INFINITY) else total.sqrt_() if way.p == 2 else total.pow_(1 / way.p)
    if close is not None:
        distance[close] = plain_distances(way.rows, close, tile, way.p).to(distance.dtype)
        diagonal.fill_(1)
    return distance, close


def _way(a: Tensor, b: Tensor, p: float, by_products: bool = True) -> Differences | Products:
    """Chooses how the distances of as many rows are computed."""
    precise = a.dtype is torch.float32 or a.shape[2] >= NARROW
    return Products(a, b, TILE) if by_products and p == 2 and precise else Differences(a, b, p)


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
