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

from scratchnet.arguments import describe, floating, number
from scratchnet.function import Function

__all__ = ["NormalizeFunction", "normalize"]

Dims = tuple[int, ...]


class NormalizeFunction(Function):
    """x / max(‖x‖, ε) along some dimensions. Keeps x and the norm."""

    @staticmethod
    def forward(x: Tensor, *, p: float, dim: Dims, eps: float) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The quotient."""
        norm = _norm(x, p, dim)
        return x / norm.clamp(min=eps), (x, norm)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, p: float, dim: Dims, eps: float
    ) -> Tensor:
        """The quotient's part, less what comes through the norm."""
        x, norm = saved
        length = norm.clamp(min=eps)
        through = (grad * x).sum(dim, keepdim=True) / length
        return (grad - _slope(x, norm, p, dim) * through.masked_fill(norm < eps, 0)) / length

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, p: float, dim: Dims, eps: float) -> Tensor:
        """The quotient rule."""
        x, norm = saved
        length = norm.clamp(min=eps)
        growth = (tangents[0] * _slope(x, norm, p, dim)).sum(dim, keepdim=True).masked_fill(norm < eps, 0)
        return (tangents[0] - x / length * growth) / length


def _norm(x: Tensor, p: float, dim: Dims) -> Tensor:
    if p == 0:
        return (x != 0).to(x.dtype).sum(dim, keepdim=True)
    magnitude = x.abs()
    if math.isinf(p):
        return magnitude.amax(dim, keepdim=True) if p > 0 else magnitude.amin(dim, keepdim=True)
    if p == 1:
        return magnitude.sum(dim, keepdim=True)
    total = (x * x if p == 2 else magnitude**p).sum(dim, keepdim=True)
    none = total == 0  # where the root has no slope
    total = total.masked_fill(none, 1)
    return (total.sqrt() if p == 2 else total ** (1 / p)).masked_fill(none, 0 if p > 0 else math.inf)


def _slope(x: Tensor, norm: Tensor, p: float, dim: Dims) -> Tensor:
    """The derivative of the norm by each component."""
    if p == 0:
        return torch.zeros_like(x)
    if p == 1:
        return x.sign()
    if math.isinf(p):
        holds = (x.abs() == norm).to(x.dtype)
        return x.sign() * holds / holds.sum(dim, keepdim=True)
    none = (norm == 0) | (x == 0)
    ratio = (x / norm.masked_fill(norm == 0, 1)).masked_fill(none, 1)
    slope = ratio if p == 2 else ratio.sign() * ratio.abs() ** (p - 1)
    return slope.masked_fill(none, 0)


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
    x = floating("normalize", input, error=RuntimeError)
    number("normalize", eps, "eps")
    dims = _dims(x, dim)
    if (
        math.isinf(number("normalize", p, "p"))
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
    return tuple(d % rank for d in listed) or tuple(range(x.dim()))
