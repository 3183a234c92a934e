r"""p-norm pooling: each output is the p-th root of the sum of its window's p-th powers.

.. math::
    y = s^{1/p}, \qquad s = \sum_{r \in \text{window}} x_r^p, \qquad
    \frac{\partial y}{\partial x_r} = \frac1p s^{1/p - 1} \cdot p\, x_r^{p-1} = y^{1-p} x_r^{p-1}

With p = 1 it is the sum; for p → ∞ it tends to the maximum magnitude, which ``norm_type=inf`` returns. Powers are taken
of the elements, not of their magnitudes, so odd powers keep the sign, and a negative sum of odd powers has a negative
root. If powers leave the range of the dtype, the window is divided by its largest element first. (The built-in returns
NaN, infinity or 0 in these two cases.) As in PyTorch, ``ceil_mode`` scales the sum of a window that extends beyond the
input up to a whole window, and a window whose sum is 0, where the root has no derivative, passes no gradient.

Source: P. Sermanet, S. Chintala and Y. LeCun, "Convolutional neural networks applied to house numbers digit
classification", 2012.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import promoted, tensor
from scratchnet.function import Function, readable
from scratchnet.layout import laid_out
from scratchnet.pooling.average_pooling import average, average_adjoint
from scratchnet.pooling.max_pooling import max_pool
from scratchnet.pooling.windows import (
    Counts,
    Size,
    divisor,
    finish,
    form,
    pooling_geometry,
    returns_channels_last,
    upcast,
    window_counts,
    with_batch,
)
from scratchnet.windows import Geometry, col2im, im2col

__all__ = ["LPPoolFunction", "lp_pool", "lp_pool1d", "lp_pool2d", "lp_pool3d"]

Sizes = tuple[int, ...]


class LPPoolFunction(Function):
    """Takes the p-th root of each window's sum of p-th powers. Saves the input and the sums."""

    @staticmethod
    def forward(
        x: Tensor, *, p: float, geometry: Geometry, size: Sizes, counts: Counts
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        sums = average(x**p, geometry, counts) * geometry.positions
        if _out_of_range(x, sums, p):
            _, unit, scaled = _scaled(x, p, geometry, counts)
            return _root(scaled, p) * unit, (x, sums)
        return _root(sums, p), (x, sums)

    @staticmethod
    def backward(
        grad: Tensor,
        saved: Sequence[Tensor],
        needs: Sequence[bool],
        *,
        p: float,
        geometry: Geometry,
        size: Sizes,
        counts: Counts,
    ) -> Tensor:
        x, sums = saved
        if _out_of_range(x, sums, p):
            seen, _, scaled = _scaled(x, p, geometry, counts)
            grad_sums = grad * _root_slope(scaled, p) * geometry.positions / divisor(counts, x)
            grad_x = col2im(seen ** (p - 1) * grad_sums.unsqueeze(2), size, geometry)
        else:
            grad_sums = grad * _root_slope(sums, p) * geometry.positions
            grad_x = average_adjoint(grad_sums, geometry, size, counts) * x ** (p - 1)
        return laid_out(grad_x, returns_channels_last(x))

    @staticmethod
    def jvp(
        tangents: Sequence[Tensor],
        saved: Sequence[Tensor],
        *,
        p: float,
        geometry: Geometry,
        size: Sizes,
        counts: Counts,
    ) -> Tensor:
        x, sums = saved
        tangent = average(tangents[0] * x ** (p - 1), geometry, counts) * geometry.positions
        return tangent * _root_slope(sums, p)


def _out_of_range(x: Tensor, sums: Tensor, p: float) -> bool:
    """Returns whether a power or sum overflows or loses digits to underflow."""
    if p < 0 or not readable(sums):
        return False
    size, limits = sums.detach().abs(), torch.finfo(sums.dtype)
    if bool(((size == float("inf")) | ((size > 0) & (size < limits.tiny / limits.eps))).any()):
        return True
    return bool((size == 0).any()) and bool(((x != 0) & (x.detach() ** p == 0)).any())


def _scaled(x: Tensor, p: float, geometry: Geometry, counts: Counts) -> tuple[Tensor, Tensor, Tensor]:
    """Returns windows divided by their largest magnitude, these divisors without gradient, and the sums of powers."""
    seen = im2col(x, geometry)
    unit = seen.detach().abs().amax(2)
    unit = unit.masked_fill((unit == 0) | (unit == float("inf")), 1)
    seen = seen / unit.unsqueeze(2)
    return seen, unit, (seen**p).sum(2) * geometry.positions / divisor(counts, x)


def _root(sums: Tensor, p: float) -> Tensor:
    """Returns the p-th root of the magnitude, with the sign of the sum."""
    return torch.sgn(sums) * sums.abs() ** (1 / p)


def _root_slope(sums: Tensor, p: float) -> Tensor:
    """Returns p times the derivative of the root, |s|^(1/p - 1), or 0 where the sum is 0."""
    none = sums == 0
    return (sums.abs().masked_fill(none, 1) ** (1 / p - 1)).masked_fill(none, 0)


def lp_pool(
    dims: int,
    input: Tensor,
    norm_type: int | float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """Computes the p-norm of each window.

    Args:
        dims: number of dimensions.
        input: tensor, promoted to floating point.
        norm_type: the exponent p, or an infinity.
        kernel_size: size of a window, in pixels.
        stride: distance between windows; the kernel size by default.
        ceil_mode: whether the last window may extend beyond the image.

    Returns:
        A tensor with P × Q outputs in place of H × W.

    Raises:
        TypeError: if the input is not a tensor, or an option not a number.
        ZeroDivisionError: if ``norm_type`` is 0.
        RuntimeError: if the input's shape or an option is out of range.
    """
    op = f"lp_pool{dims}d"
    p = float(norm_type)
    if p == 0:
        raise ZeroDivisionError(
            f"{op}: expected a norm_type other than 0, got 0; use norm_type=inf for the maximum"
        )
    if p in (float("inf"), float("-inf")):
        magnitude = tensor(op, input).abs()
        largest: Tensor = max_pool(dims, magnitude if p > 0 else -magnitude, kernel_size, stride, 0, 1, ceil_mode)
        return largest if p > 0 else -largest
    x, unbatched = with_batch(op, promoted(op, input), dims)
    geometry = pooling_geometry(op, x, kernel_size, stride, 0, 1, ceil_mode)
    size = tuple(x.shape[2:])
    counts = window_counts(geometry, size, (0,) * dims, True)
    y = LPPoolFunction.apply(upcast(x) if dims == 3 else x, p, geometry, size, counts)
    return finish(y, returns_channels_last(x), unbatched)


lp_pool1d, lp_pool2d, lp_pool3d = (form(lp_pool, dims) for dims in (1, 2, 3))
