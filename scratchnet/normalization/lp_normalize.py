r"""Normalization to unit length: each vector is divided by its p-norm.

.. math::
    y_i = \frac{x_i}{d}, \qquad d = \max(n, \varepsilon), \qquad n = \Big(\sum_i |x_i|^p\Big)^{1/p}

A component acts on its own quotient, and, where the norm is not held at ε, on all through the norm:

.. math::
    \frac{\partial L}{\partial x_i}
    = \frac1d \Big(g_i - [n \ge \varepsilon]\, \frac{\partial n}{\partial x_i} \sum_j g_j y_j\Big), \qquad
    \frac{\partial n}{\partial x_i} = \operatorname{sign}(x_i) \left(\frac{|x_i|}{n}\right)^{p-1}

The norm with p = ∞ (or -∞) is the largest (smallest) magnitude, whose slope is shared by all that have it; with
p = 0 it counts what is not zero, and has none. At a component of 0 the norm's slope is taken to be 0, as in PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import describe, floating, overridable
from scratchnet.function import Function
from scratchnet.similarity.distance import norm, real, slope

__all__ = ["NormalizeFunction", "normalize"]

Dims = tuple[int, ...]


class NormalizeFunction(Function):
    """x / max(‖x‖, ε) along some dimensions. Saves x and the norm."""

    holomorphic = False

    @staticmethod
    def forward(x: Tensor, *, p: float, dim: Dims, eps: float) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The quotient."""
        length = norm(x, p, dim)
        return x / length.clamp(min=eps), (x, length)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, p: float, dim: Dims, eps: float
    ) -> Tensor:
        """The quotient's part, less what comes through the norm."""
        x, length = saved
        divisor = length.clamp(min=eps)
        if p == 0:  # the norm counts elements
            return grad / divisor
        through = (real(grad * x.conj()).sum(dim, keepdim=True) / divisor).masked_fill(length < eps, 0)
        return (grad - slope(x, p, True, dim, length) * through) / divisor

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, p: float, dim: Dims, eps: float) -> Tensor:
        """The quotient rule."""
        x, length = saved
        divisor = length.clamp(min=eps)
        growth = real(tangents[0] * slope(x, p, True, dim, length).conj()).sum(dim, keepdim=True)
        return (tangents[0] - x / divisor * growth.masked_fill(length < eps, 0)) / divisor


@overridable
def normalize(
    input: Tensor,
    p: float = 2.0,
    dim: int | Sequence[int] | None = 1,
    eps: float = 1e-12,
    out: Tensor | None = None,
) -> Tensor:
    """Divides vectors by their p-norm, or by ``eps`` where the norm is smaller.

    Args:
        input: floating-point tensor of any shape.
        p: exponent of the norm; infinities included.
        dim: the dimension along which vectors lie, or several; None for all.
        eps: the smallest divisor.
        out: tensor to write the result to, without gradient.

    Returns:
        A tensor of the input's shape.

    Raises:
        TypeError: if ``input`` is no tensor or an option no number.
        IndexError: if a dimension is out of range.
        RuntimeError: if ``input`` is not floating point, empty vectors have no norm, or ``out`` is given for an
            input that requires grad.
    """
    x = floating("normalize", input, error=RuntimeError, complex=True)
    dims = _dims(x, dim)
    if (
        math.isinf(p)
        and any(x.dim() and x.shape[d] == 0 for d in dims)
        or (p < 0 and any(x.dim() and x.shape[d] == 0 for d in dims))
    ):
        raise RuntimeError(f"normalize: expected vectors that are not empty for p={p}, got {describe(x)}")
    y = NormalizeFunction.apply(x, float(p), dims, eps)
    if out is None:
        return y
    if torch.is_grad_enabled() and (x.requires_grad or out.requires_grad):
        raise RuntimeError(
            "normalize: expected no gradient to be needed with out=..., got an input with requires_grad"
        )
    return out.copy_(y)


def _dims(x: Tensor, dim: int | Sequence[int] | None) -> Dims:
    """The dimensions, counted from the front."""
    listed = tuple(range(x.dim())) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    rank = max(1, x.dim())
    for d in listed:
        if not -rank <= d < rank:
            raise IndexError(f"normalize: expected dim between {-rank} and {rank - 1}, got {d} for {describe(x)}")
    if len({d % rank for d in listed}) != len(listed):
        raise RuntimeError(f"normalize: expected each dim once, got {dim}")
    return tuple(d % rank for d in listed) or tuple(range(x.dim()))
