r"""The linear transforms of Winograd's minimal filtering, for a chunk of tiles at a time.

Along one dimension,

.. math::
    B^\top d = (d_0 - d_2,\; d_1 + d_2,\; d_2 - d_1,\; d_1 - d_3) \qquad
    A m = (m_0 + m_1 + m_2,\; m_1 - m_2 - m_3)

and their adjoints B and :math:`A^\top`. Each is applied along rows and along columns. A transform is planned once per
chunk shape, as steps on scratch memory: making the views takes Python as long as many of the steps take.

Shapes: C channels; in a chunk, p threads, each with n images of h × w tiles, T = n·h·w; pixels as in
`scratchnet.convolution.algorithms.winograd.pixels`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from scratchnet.convolution.algorithms.winograd.chunks import Scratch

__all__ = [
    "Plan",
    "input_transform",
    "input_transform_adjoint",
    "output_transform_adjoint",
    "output_transform_columns",
    "output_transform_rows",
]

Step = Callable[[], object]


class Plan(NamedTuple):
    """A transform of a chunk: write ``source``, call `run`, read ``result``."""

    source: Tensor
    result: Tensor
    steps: Sequence[Step]

    def run(self) -> Tensor:
        """Runs the steps and returns ``result``."""
        for step in self.steps:
            step()
        return self.result


def input_transform(scratch: Scratch, p: int, n: int, h: int, w: int, channels: int) -> Plan:
    """Plans Bᵀ of pixels (p·n, h + 1, 2, 2, w + 1, C), initially zero; the result is (p·16, T, C)."""
    pixels = scratch("pixels", p, n, h + 1, 2, 2, w + 1, channels, zero=True)
    rows = scratch("rows", p, 4, n, h, 2, w + 1, channels)
    both = scratch("transformed inputs", p, 4, 4, n, h, w, channels)
    along_rows = _b_transposed(pixels.movedim(3, 0), 3, rows.movedim(1, 0))
    along_columns = _b_transposed(rows.movedim(4, 0), 5, both.movedim(2, 0))
    return Plan(pixels.flatten(0, 1), both.view(p * 16, -1, channels), [*along_rows, *along_columns])


def input_transform_adjoint(scratch: Scratch, p: int, n: int, h: int, w: int, channels: int) -> Plan:
    """Plans B of (p·16, T, C), which sums overlapping tiles; the result is pixels as `input_transform` takes them."""
    both = scratch("transformed inputs", p, 4, 4, n, h, w, channels)
    rows = scratch("rows", p, 4, n, h, 2, w + 1, channels)
    pixels = scratch("overlapping pixels", p, n, h + 1, 2, 2, w + 1, channels)
    along_columns = _b(both.movedim(2, 0), 5, rows.movedim(4, 0))
    along_rows = _b(rows.movedim(1, 0), 3, pixels.movedim(3, 0))
    return Plan(both.view(p * 16, -1, channels), pixels.flatten(0, 1), [*along_columns, *along_rows])


def output_transform_adjoint(scratch: Scratch, p: int, n: int, h: int, w: int, channels: int) -> Plan:
    """Plans Aᵀ of an upstream's pixels (p·n, h, 2, 2, w, C), initially zero; the result is (p·16, T, C).

    The last of the four terms along each dimension has the opposite sign.
    """
    pixels = scratch("upstream", p, n, h, 2, 2, w, channels, zero=True)
    rows = scratch("upstream rows", p, 4, n, h, 2, w, channels)
    both = scratch("transformed upstream", p, 4, 4, n, h, w, channels)
    along_rows = _a_transposed(pixels.movedim(3, 0), rows.movedim(1, 0))
    along_columns = _a_transposed(rows.movedim(4, 0), both.movedim(2, 0))
    return Plan(pixels.flatten(0, 1), both.view(p * 16, -1, channels), [*along_rows, *along_columns])


def output_transform_rows(scratch: Scratch, p: int, n: int, h: int, w: int, channels: int) -> Plan:
    """Plans A of products (p·16, T, C), but for the terms that `output_transform_columns` adds.

    The result, (p, 2, 4, n, h, w, C), overwrites the products.
    """
    products = scratch("products", p, 4, 4, n, h, w, channels)
    upper, lower, third, last = products.unbind(1)
    rows = products[:, :2]
    m0, m1, m2, _ = rows.unbind(2)
    steps = [
        partial(upper.add_, lower),
        partial(upper.add_, third),
        partial(lower.sub_, third),
        partial(lower.sub_, last),
        partial(m0.add_, m1),
        partial(m1.sub_, m2),
    ]
    return Plan(products.view(p * 16, -1, channels), rows, steps)


def output_transform_columns(rows: Tensor, left: Tensor, right: Tensor) -> None:
    """Writes the left and right column of each tile of outputs, both (p, 2, n, h, w, C)."""
    m0, m1, m2, m3 = rows.unbind(2)
    torch.add(m0, m2, out=left)
    torch.sub(m1, m3, out=right)


def _b_transposed(pairs: Tensor, dim: int, out: Tensor) -> Iterator[Step]:
    """Yields the steps of Bᵀ along ``dim``, on pairs (d₀, d₁); d₂ and d₃ are the next tile's pair."""
    count = pairs.shape[dim] - 1
    first, second = pairs.narrow(dim, 0, count), pairs.narrow(dim, 1, count)
    yield partial(torch.sub, first, second, out=out[::3])
    yield partial(torch.add, first[1], second[0], out=out[1])
    yield partial(torch.sub, second[0], first[1], out=out[2])


def _b(m: Tensor, dim: int, out: Tensor) -> Iterator[Step]:
    """Yields the steps of B, the adjoint of `_b_transposed`."""
    count = m.shape[dim]
    first, second = out.narrow(dim, 0, count), out.narrow(dim, 1, count)
    yield out[0].narrow(dim - 1, 0, 1).zero_
    yield out[1].narrow(dim - 1, count, 1).zero_
    yield partial(torch.add, m[1], m[2], out=second[0])
    yield partial(torch.sub, m[1], m[2], out=first[1])
    yield partial(first.add_, m[::3])
    yield partial(second.sub_, m[::3])


def _a_transposed(pairs: Tensor, out: Tensor) -> Iterator[Step]:
    """Yields the steps of Aᵀ with the last sign flipped: (y₀, y₀ + y₁, y₀ - y₁, y₁)."""
    yield partial(out[::3].copy_, pairs)
    yield partial(torch.add, pairs[0], pairs[1], out=out[1])
    yield partial(torch.sub, pairs[0], pairs[1], out=out[2])
