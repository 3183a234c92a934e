r"""Weight normalization: the length and the direction of a weight, learned apart.

.. math::
    w = g\, u, \quad u = \frac{v}{\lVert v \rVert} \qquad
    \bar g = \langle \bar w, u \rangle \qquad
    \bar v = \frac{g}{\lVert v \rVert} \big( \bar w - \langle \bar w, u \rangle\, u \big)

with one norm for each slice along a dimension, or for all of v. The gradient of v is orthogonal to v.

Source: T. Salimans and D. P. Kingma, "Weight normalization", 2016.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import describe, floating, overridable
from scratchnet.function import Function

__all__ = ["WeightNormFunction", "weight_norm"]


class WeightNormFunction(Function):
    """A direction times a length. Keeps v, g and the norm."""

    @staticmethod
    def forward(v: Tensor, g: Tensor, *, dims: tuple[int, ...]) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """The direction is v over its norm."""
        norm = torch.sqrt((v * v).sum(dims, keepdim=True))
        return v * (g / norm), (v, g, norm)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, dims: tuple[int, ...]
    ) -> tuple[Tensor, Tensor]:
        """What lies along the direction goes to g, the rest to v."""
        v, g, norm = saved
        along = (grad * v).sum(dims, keepdim=True) / norm
        return (grad - v * (along / norm)) * (g / norm), along.sum_to_size(g.shape)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, dims: tuple[int, ...]) -> Tensor:
        """The quotient rule."""
        v, g, norm = saved
        along = (tangents[0] * v).sum(dims, keepdim=True) / norm
        return (tangents[0] - v * (along / norm)) * (g / norm) + v * (tangents[1] / norm)


@overridable
def weight_norm(v: Tensor, g: Tensor, dim: int | None = 0) -> Tensor:
    """The weight of direction ``v`` and length ``g``, as ``torch.nn.utils.weight_norm`` composes it.

    Args:
        v: floating-point tensor.
        g: the norms, of the shape of ``v`` with size 1 in all dimensions but ``dim``, or one norm.
        dim: which dimension's slices have norms of their own; None or -1 for one norm of all.

    Returns:
        A tensor of the shape of ``v``.

    Raises:
        TypeError: if an argument is no tensor.
        IndexError: if ``dim`` is out of range.
        RuntimeError: if ``v`` is not floating point, or ``g`` does not fit.
    """
    op = "weight_norm"
    floating(op, v, "v", error=RuntimeError)
    floating(op, g, "g", error=RuntimeError)
    kept = -1 if dim is None else dim
    if kept != -1 and not -v.dim() <= kept < v.dim():
        raise IndexError(f"{op}: expected dim between {-v.dim()} and {v.dim() - 1}, got {dim} for {describe(v)}")
    dims = tuple(d for d in range(v.dim()) if kept == -1 or d != kept % v.dim())
    try:
        fits = torch.broadcast_shapes(v.shape, g.shape) == v.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise RuntimeError(f"{op}: expected g to broadcast against v, got {describe(g)} and {describe(v)}")
    return WeightNormFunction.apply(v, g, dims)
