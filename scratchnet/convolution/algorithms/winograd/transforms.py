r"""The linear maps of Winograd's minimal filtering, for a block of tiles at a time.

Along one dimension,

.. math::
    B^\top d = (d_0 - d_2,\; d_1 + d_2,\; d_2 - d_1,\; d_1 - d_3) \qquad
    A m = (m_0 + m_1 + m_2,\; m_1 - m_2 - m_3)

and their adjoints B and :math:`A^\top`. Each runs along rows and along columns. What it does is prepared once for all
blocks of a shape, as steps on memory that is used again: saying where the numbers lie takes Python as long as many of
the steps take.

Shapes: C channels; in a block, p parts, each of T tiles, of n images in h rows and w columns; pixels as in
`scratchnet.convolution.algorithms.winograd.pixels`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from scratchnet.convolution.algorithms.winograd.chunks import Scratch

__all__ = ["Pass", "differences", "outputs", "overlapped", "row_sums", "sums"]

Step = Callable[[], object]


class Pass(NamedTuple):
    """What is made of a block's numbers: where they are expected, and where the result lies afterwards."""

    source: Tensor
    result: Tensor
    steps: Sequence[Step]

    def run(self) -> Tensor:
        """Takes all steps."""
        for step in self.steps:
            step()
        return self.result


def differences(scratch: Scratch, p: int, n: int, h: int, w: int, channels: int) -> Pass:
    """Bᵀ of pixels ``(p·n, h + 1, 2, 2, w + 1, C)``, whose memory is zero at first: ``(p·16, T, C)``."""
    pixels = scratch("pixels", p, n, h + 1, 2, 2, w + 1, channels, zero=True)
    rows = scratch("rows", p, 4, n, h, 2, w + 1, channels)
    both = scratch("differences", p, 4, 4, n, h, w, channels)
    along_rows = _subtract(pixels.movedim(3, 0), 3, rows.movedim(1, 0))
    along_columns = _subtract(rows.movedim(4, 0), 5, both.movedim(2, 0))
    return Pass(pixels.flatten(0, 1), both.view(p * 16, -1, channels), [*along_rows, *along_columns])


def overlapped(scratch: Scratch, p: int, n: int, h: int, w: int, channels: int) -> Pass:
    """B of what `differences` has the shape of: the sums of overlapping tiles, as its pixels."""
    both = scratch("differences", p, 4, 4, n, h, w, channels)
    rows = scratch("rows", p, 4, n, h, 2, w + 1, channels)
    pixels = scratch("overlapped", p, n, h + 1, 2, 2, w + 1, channels)
    along_columns = _overlap(both.movedim(2, 0), 5, rows.movedim(4, 0))
    along_rows = _overlap(rows.movedim(1, 0), 3, pixels.movedim(3, 0))
    return Pass(both.view(p * 16, -1, channels), pixels.flatten(0, 1), [*along_columns, *along_rows])


def sums(scratch: Scratch, p: int, n: int, h: int, w: int, channels: int) -> Pass:
    """Aᵀ of an upstream's pixels ``(p·n, h, 2, 2, w, C)``, whose memory is zero at first: ``(p·16, T, C)``.

    Without the sign of the last of each four.
    """
    pixels = scratch("upstream", p, n, h, 2, 2, w, channels, zero=True)
    rows = scratch("upstream rows", p, 4, n, h, 2, w, channels)
    both = scratch("sums", p, 4, 4, n, h, w, channels)
    along_rows = _add(pixels.movedim(3, 0), rows.movedim(1, 0))
    along_columns = _add(rows.movedim(4, 0), both.movedim(2, 0))
    return Pass(pixels.flatten(0, 1), both.view(p * 16, -1, channels), [*along_rows, *along_columns])


def row_sums(scratch: Scratch, p: int, n: int, h: int, w: int, channels: int) -> Pass:
    """A along rows, and along columns but for the last terms, of products ``(p·16, T, C)``: ``(p, 2, 4, n, h, w, C)``.

    The result takes the place of products.
    """
    products = scratch("products", p, 4, 4, n, h, w, channels)
    upper, lower, third, last = products.unbind(1)
    made = products[:, :2]
    m0, m1, m2, _ = made.unbind(2)
    steps = [
        partial(upper.add_, lower),
        partial(upper.add_, third),
        partial(lower.sub_, third),
        partial(lower.sub_, last),
        partial(m0.add_, m1),
        partial(m1.sub_, m2),
    ]
    return Pass(products.view(p * 16, -1, channels), made, steps)


def outputs(summed: Tensor, left: Tensor, right: Tensor) -> None:
    """The terms of A that `row_sums` leaves, to the left and right column of each tile, both ``(p, 2, n, h, w, C)``."""
    m0, m1, m2, m3 = summed.unbind(2)
    torch.add(m0, m2, out=left)
    torch.sub(m1, m3, out=right)


def _subtract(pairs: Tensor, dim: int, to: Tensor) -> Iterator[Step]:
    """Bᵀ, of pairs of which d₂ and d₃ are the next tile's d₀ and d₁."""
    count = pairs.shape[dim] - 1
    here, there = pairs.narrow(dim, 0, count), pairs.narrow(dim, 1, count)
    yield partial(torch.sub, here, there, out=to[::3])
    yield partial(torch.add, here[1], there[0], out=to[1])
    yield partial(torch.sub, there[0], here[1], out=to[2])


def _overlap(m: Tensor, dim: int, to: Tensor) -> Iterator[Step]:
    """B: the adjoint of `_subtract`, step by step."""
    count = m.shape[dim]
    here, there = to.narrow(dim, 0, count), to.narrow(dim, 1, count)
    yield to[0].narrow(dim - 1, 0, 1).zero_
    yield to[1].narrow(dim - 1, count, 1).zero_
    yield partial(torch.add, m[1], m[2], out=there[0])
    yield partial(torch.sub, m[1], m[2], out=here[1])
    yield partial(here.add_, m[::3])
    yield partial(there.sub_, m[::3])


def _add(pairs: Tensor, to: Tensor) -> Iterator[Step]:
    """Aᵀ, without its sign: (y₀, y₀ + y₁, y₀ - y₁, y₁)."""
    yield partial(to[::3].copy_, pairs)
    yield partial(torch.add, pairs[0], pairs[1], out=to[1])
    yield partial(torch.sub, pairs[0], pairs[1], out=to[2])
