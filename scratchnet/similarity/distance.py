r"""Distances between vectors: the p-norm of their difference.

.. math::
    d = \lVert \delta \rVert_p = \Big( \sum_k |\delta_k|^p \Big)^{1/p}
    \qquad \frac{\partial d}{\partial \delta_k} = \operatorname{sign}(\delta_k)
        \Big( \frac{|\delta_k|}{d} \Big)^{p - 1}

`pairwise_distance` takes pairs of vectors, with :math:`\delta = x_1 - x_2 + \varepsilon`; `pdist` takes all pairs
of the rows of one matrix.

Conventions, PyTorch's: the slope is 0 where the distance is 0. With p = ∞ it is that of the largest difference; of
several equal ones, `pairwise_distance` gives each its share, and `pdist` gives each the whole. With p = 0 the
distance counts the elements that differ, and its slope is 0.

Source: H. Minkowski, "Geometrie der Zahlen", 1896.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import describe, floating, overridable
from scratchnet.function import Function, dispatch, readable

__all__ = ["PairwiseDistanceFunction", "distances", "norm", "pairwise_distance", "real", "slope"]

INFINITY = float("inf")
Dims = int | tuple[int, ...]


class PairwiseDistanceFunction(Function):
    """The norm of x₁ - x₂ + ε over the last dimension. Saves its inputs alone: a rounded norm matches no element."""

    autocast = "float32_on_cuda"
    holomorphic = False

    @staticmethod
    def forward(
        x1: Tensor, x2: Tensor, *, p: float, eps: float, keepdim: bool
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The norm."""
        y = norm(x1 - x2 + eps, p)
        return (y if keepdim else y.squeeze(-1)), (x1, x2)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, p: float, eps: float, keepdim: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """The slope for the first vector, and its negative for the second."""
        x1, x2 = saved
        each = slope(x1 - x2 + eps, p, shared=True)
        push = each * (grad if keepdim else grad.unsqueeze(-1))
        return (push.sum_to_size(x1.shape) if needs[0] else None), (
            -push.sum_to_size(x2.shape) if needs[1] else None
        )

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, p: float, eps: float, keepdim: bool) -> Tensor:
        """The slope along the difference of the tangents."""
        x1, x2 = saved
        each = slope(x1 - x2 + eps, p, shared=True)
        return real(each.conj() * (tangents[0] - tangents[1])).sum(-1, keepdim=keepdim)


def real(x: Tensor) -> Tensor:
    """Returns the real part, of which a real tensor is its own."""
    return x.real if x.is_complex() else x


def norm(difference: Tensor, p: float, dim: Dims = -1) -> Tensor:
    """The p-norm over a dimension or several, which stay; its slope at zero is zero."""
    size = difference if p == 2 and not difference.is_complex() else difference.abs()
    if p == 0:
        return (difference != 0).to(size.dtype).sum(dim, keepdim=True)
    if abs(p) == INFINITY and _has_elements(size, dim):
        return size.amax(dim, keepdim=True) if p > 0 else size.amin(dim, keepdim=True)
    if p == 1 or abs(p) == INFINITY:  # of no elements it is 0
        return size.sum(dim, keepdim=True)
    total = _powers(size, p).sum(dim, keepdim=True)
    unit = _unit(size, total, p, dim)
    return _root(total, p) if unit is None else _root(_powers(size / unit, p).sum(dim, keepdim=True), p) * unit


def distances(differences: Tensor, p: float) -> Tensor:
    """The norms of the last dimension, as the distances of `cdist`: with p = 0 NaN counts as NaN."""
    y = norm(differences, p).squeeze(-1)
    return y.masked_fill(differences.isnan().any(-1), float("nan")) if p == 0 else y


def _powers(size: Tensor, p: float) -> Tensor:
    return size * size if p == 2 else size.pow(p)


def _unit(size: Tensor, total: Tensor, p: float, dim: Dims) -> Tensor | None:
    """The largest element of vectors whose powers overflow or underflow, 1 for others; None if there are no such.

    A norm in any constant unit is the same function, so the unit has no derivative.
    """
    if p < 0 or not _has_elements(size, dim):
        return None
    limits, sums = torch.finfo(total.dtype), total.detach()
    outside = (sums == INFINITY) | (sums < limits.tiny / limits.eps)
    if readable(outside) and not bool(outside.any()):
        return None
    largest = size.detach().abs().amax(dim, keepdim=True)
    return largest.masked_fill(~outside | (largest == 0) | (largest == INFINITY), 1)


def _undifferentiated_root(total: Tensor, p: float) -> Tensor:
    return NotImplemented if p < 0 else torch.sqrt(total) if p == 2 else total.pow(1 / p)


@dispatch(_undifferentiated_root)
def _root(total: Tensor, p: float) -> Tensor:
    """The root of a sum of powers; its slope at zero is zero."""
    zero = total == 0
    safe = total.masked_fill(zero, 1)
    return (torch.sqrt(safe) if p == 2 else safe.pow(1 / p)).masked_fill(zero, 0 if p > 0 else INFINITY)


def _has_elements(x: Tensor, dim: Dims) -> bool:
    return not x.dim() or all(x.shape[d] for d in ((dim,) if isinstance(dim, int) else dim))


def slope(difference: Tensor, p: float, shared: bool, dim: Dims = -1, distance: Tensor | None = None) -> Tensor:
    """The derivative of the norm by each element.

    Args:
        difference: the vectors.
        p: the norm.
        shared: whether the largest elements of p = ∞ share the slope where they tie, or each has the whole.
        dim: along which they lie.
        distance: their norm, if it is known.
    """
    if p == 0:
        return torch.zeros_like(difference)
    if p == 1:
        return torch.sgn(difference)
    distance = norm(difference, p, dim) if distance is None else distance
    if abs(p) == INFINITY:
        largest = difference.abs() == distance
        largest = (largest | difference.isnan() if shared else largest).to(distance.dtype)
        return torch.sgn(difference) * (largest / largest.sum(dim, keepdim=True) if shared else largest)
    safe = distance.masked_fill(distance == 0, 1)
    if p == 2:
        return difference / safe
    sign, zero = torch.sgn(difference), (difference == 0) | (distance == 0)
    ratio = difference.abs().masked_fill(zero, 1) / safe
    return (sign * ratio.pow(p - 1)).masked_fill(zero & ~distance.isnan(), 0)


@overridable
def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of ``x1 - x2 + eps`` over the last dimension.

    Args:
        x1: floating-point tensor of shape ``(*, D)``.
        x2: floating-point tensor that broadcasts against it.
        p: the norm.
        eps: added to each difference, so that equal vectors have a slope.
        keepdim: whether the last dimension stays, with size 1.

    Returns:
        A tensor of the common leading dimensions.

    Raises:
        TypeError: if an argument is no tensor, or an option no number.
        RuntimeError: if the shapes do not broadcast, or the inputs are not floating point.
    """
    op = "pairwise_distance"
    # PyTorch does not subtract booleans.
    a, b = (floating(op, x, n, RuntimeError, complex=True, integer=True) for x, n in ((x1, "x1"), (x2, "x2")))
    dtype = torch.promote_types(a.dtype, b.dtype)
    dtype = dtype if dtype.is_floating_point or dtype.is_complex else torch.get_default_dtype()
    try:
        torch.broadcast_shapes(a.shape, b.shape)
    except RuntimeError as error:
        raise RuntimeError(
            f"{op}: expected vectors that broadcast, got {describe(a)} and {describe(b)}"
        ) from error
    if abs(p) == INFINITY and 0 in (*a.shape[-1:], *b.shape[-1:]):
        raise RuntimeError(f"{op}: expected vectors with elements for p={p}, got {describe(a)} and {describe(b)}")
    return PairwiseDistanceFunction.apply(a.to(dtype), b.to(dtype), float(p), eps, keepdim)
