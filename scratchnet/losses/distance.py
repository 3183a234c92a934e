r"""The distance of pairs of vectors, which the triplet losses compare.

With z = x₁ - x₂ + ε, where ε keeps equal vectors off the kink at 0:

.. math::
    d = \left(\sum_i |z_i|^p\right)^{1/p}
    \qquad \frac{\partial d}{\partial x_{1 i}} = \operatorname{sign}(z_i)
        \left(\frac{|z_i|}{d}\right)^{p - 1} = -\frac{\partial d}{\partial x_{2 i}}

At p = ∞ it is the largest :math:`|z_i|`, whose slope ties share; at p = 0 the number of elements that are not 0. A
distance of 0 has slope 0.

Shapes: inputs (…, D), which broadcast together; output (…) .
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from scratchnet.function import Function, unobserved
from scratchnet.losses.pointwise import promoted_together

__all__ = ["DistanceFunction", "PairwiseDistance", "distance"]


class DistanceFunction(Function):
    """The p-norm of the difference of two tensors of one shape, along their last dimension. Keeps both.

    The norm is computed again on the way back: in a short dtype the rounded one would be too coarse to divide by.
    """

    @staticmethod
    def forward(x1: Tensor, x2: Tensor, *, p: float, eps: float) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The norm of the difference."""
        return _norm(x1 - x2 + eps, p), (x1, x2)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, p: float, eps: float
    ) -> tuple[Tensor, Tensor | None]:
        """The norm's slope, and its negative."""
        x1, x2 = saved
        slope = _slope(x1 - x2 + eps, p)
        grad_x1 = slope.mul_(grad.unsqueeze(-1)) if unobserved() else slope * grad.unsqueeze(-1)
        return grad_x1, -grad_x1 if needs[1] else None

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, p: float, eps: float) -> Tensor:
        """The slope times the difference of the tangents."""
        x1, x2 = saved
        return (_slope(x1 - x2 + eps, p) * (tangents[0] - tangents[1])).sum(-1)


def _norm(z: Tensor, p: float) -> Tensor:
    """The p-norm along the last dimension."""
    if p == 2:
        return (z * z).sum(-1).sqrt()
    size = z.abs()
    if p == 0:
        return (size != 0).to(z.dtype).sum(-1)
    if p == 1:
        return size.sum(-1)
    if math.isinf(p):
        return size.amax(-1) if p > 0 else size.amin(-1)
    return size.pow(p).sum(-1).pow(1 / p)


def _slope(z: Tensor, p: float) -> Tensor:
    """What the norm of z gains where an element of z grows."""
    if p == 0:
        return torch.zeros_like(z)
    if p == 1:
        return z.sign()
    d = _norm(z, p).unsqueeze(-1)
    if p == 2:
        return (z / d.masked_fill(d == 0, 1)).masked_fill(d == 0, 0)
    size = z.abs()
    if math.isinf(p):
        extreme = size == d
        return z.sign() * extreme / extreme.sum(-1, keepdim=True)
    nothing = (z == 0) | (d == 0)
    share = (size / d.masked_fill(d == 0, 1)).masked_fill(nothing, 1)
    return (z.sign() * share.pow(p - 1)).masked_fill(nothing, 0)


def distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6) -> Tensor:
    """The p-norm of ``x1 - x2 + eps`` along the last dimension.

    Args:
        x1: tensor of shape ``(…, D)``.
        x2: tensor whose shape broadcasts with it.
        p: which norm.
        eps: added to each difference.

    Returns:
        A tensor of the broadcast shape without its last dimension.
    """
    x1, x2 = promoted_together(*torch.broadcast_tensors(x1, x2))
    if x1.dim() == 0:
        x1, x2 = x1.unsqueeze(0), x2.unsqueeze(0)
    return DistanceFunction.apply(x1, x2, p, eps)


class PairwiseDistance(nn.Module):
    """`distance` as a module, of Euclid's norm."""

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Applies `distance`."""
        return distance(x1, x2)
