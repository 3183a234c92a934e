r"""Winograd's minimal filters: h outputs of a kernel of three numbers from h + 2 products in place of 3h.

What h numbers below each other, :math:`y_i = \sum_k w_k d_{i + k}`, take together is the transpose of a product of
polynomials, which its values at h + 2 points determine. The points are 0, one or two pairs ±p, and "infinity", which
stands for the leading coefficient. With a value :math:`u` of the kernel and a value :math:`v` of the numbers for each
point, the products are :math:`m = u v`. With one pair, h = 2:

.. math::
    v_0 = d_2 - p^2 d_0 \qquad v_{\pm p} = d_2 \pm p d_1 \qquad v_\infty = d_3 - p^2 d_1

and with two, ±p and ±q, h = 4:

.. math::
    v_0 = d_4 - (p^2 + q^2) d_2 + p^2 q^2 d_0 \qquad
    v_{\pm p} = (d_4 - q^2 d_2) \pm p\,(d_3 - q^2 d_1) \qquad
    v_\infty = d_5 - (p^2 + q^2) d_3 + p^2 q^2 d_1

and in both

.. math::
    u_0 = \frac{w_0}{\prod_p -p^2} \qquad
    u_{\pm p} = \frac{w_0 \pm p w_1 + p^2 w_2}{2 p^2 \prod_{q \ne p} (p^2 - q^2)} \qquad
    u_\infty = w_2

.. math::
    y_i = [i = 0]\, m_0 + \sum_p p^i \left(m_p + (-1)^i m_{-p}\right) + [i = h - 1]\, m_\infty

As matrices, :math:`y = A^\top (G w \odot B^\top d)`.

Sources: S. Winograd, "Arithmetic complexity of computations", 1980; A. Lavin and S. Gray, "Fast algorithms for
convolutional neural networks", 2016.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.convolution.strips import Scratch

__all__ = ["MinimalFilter"]


class MinimalFilter:
    """The filter of one or two pairs of points.

    Args:
        pairs: the positive point of each pair.
    """

    def __init__(self, *pairs: float) -> None:
        self.height = 2 * len(pairs)
        self.points = self.height + 2
        self._pairs = pairs

    def kernel_to_points(self) -> Tensor:
        """G, in float64: a row for each point."""
        rows = [[1 / math.prod(-(p**2) for p in self._pairs), 0, 0]]
        for p in self._pairs:
            common = 2 * p**2 * math.prod(p**2 - q**2 for q in self._others(p))
            rows += [[1 / common, sign * p / common, p**2 / common] for sign in (1, -1)]
        return torch.tensor([*rows, [0, 0, 1]], dtype=torch.float64)

    def write_points(self, d: Sequence[Tensor], v: Tensor, scratch: Scratch) -> None:
        """Bᵀ: writes what h + 2 rows are at each point."""
        _with_roots(d[::2], self._pairs, v[0])
        _with_roots(d[1::2], self._pairs, v[-1])
        for p, at in zip(self._pairs, v[1:-1].split(2), strict=True):
            even = _with_roots(d[2::2], self._others(p), scratch("even", *d[0].shape))
            odd = _with_roots(d[1:-1:2], self._others(p), scratch("odd", *d[0].shape))
            _write_pair(even, odd, p, at)

    def write_gradients(self, y: Sequence[Tensor], m: Tensor, scratch: Scratch) -> None:
        """A: writes what the gradients of h rows are at each point."""
        m[0], m[-1] = y[0], y[-1]
        for p, at in zip(self._pairs, m[1:-1].split(2), strict=True):
            even = _polynomial(y[::2], p**2, scratch("even gradients", *y[0].shape))
            odd = _polynomial(y[1::2], p**2, scratch("odd gradients", *y[0].shape))
            _write_pair(even, odd, p, at)

    def write_outputs(self, m: Tensor, y: Sequence[Tensor], scratch: Scratch) -> None:
        """Aᵀ: writes h rows, or the beginning of each that has fewer, from products ``(h + 2, n, …)``.

        Those are used up.
        """
        sums, differences = [], []
        for p, (plus, minus) in zip(self._pairs, m[1:-1].split(2), strict=True):
            sums.append((p, torch.add(plus, minus, out=scratch(f"sums at {p}", *plus.shape))))
            differences.append((p, plus.sub_(minus)))
        last = self.height - 1
        for row, end, parts in ((0, m[0], sums), (last, m[-1], differences)):
            for p, part in parts[:-1]:
                end.add_(part, alpha=p**row)
            _write_row(end, parts[-1], row, y[row])
        for row in range(1, last):
            (p, first), last_pair = differences if row % 2 else sums
            _write_row(first.mul_(p**row), last_pair, row, y[row])

    def _others(self, p: float) -> list[float]:
        return [q for q in self._pairs if q != p]


def _with_roots(d: Sequence[Tensor], roots: Sequence[float], to: Tensor) -> Tensor:
    """The polynomial with roots at ±p for each p, in even powers, with numbers in place of these powers."""
    if not roots:
        return d[0]
    if len(roots) == 1:
        return torch.sub(d[1], d[0], alpha=roots[0] ** 2, out=to)
    p, q = (root**2 for root in roots)
    return torch.sub(d[2], d[1], alpha=p + q, out=to).add_(d[0], alpha=p * q)


def _polynomial(y: Sequence[Tensor], x: float, to: Tensor) -> Tensor:
    """The value at x of a polynomial of one or two coefficients."""
    return y[0] if len(y) == 1 else torch.add(y[0], y[1], alpha=x, out=to)


def _write_pair(even: Tensor, odd: Tensor, p: float, to: Tensor) -> None:
    """The values at p and -p of a polynomial with such even and odd parts, the odd one divided by p."""
    torch.add(even, odd, alpha=p, out=to[0])
    torch.sub(even, odd, alpha=p, out=to[1])


def _write_row(first: Tensor, last_pair: tuple[float, Tensor], row: int, to: Tensor) -> None:
    """A row of each strip that has it: what is there of it, and what the last pair adds."""
    (p, second), count = last_pair, to.shape[1]
    torch.add(first[:, :count], second[:, :count], alpha=p**row, out=to)
