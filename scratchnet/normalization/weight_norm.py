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
from scratchnet.similarity.distance import norm, real

__all__ = ["WeightNormFunction", "weight_norm"]


class WeightNormFunction(Function):
    """Directions times lengths, one for each slice or for several. Saves v, g and the norms."""

    holomorphic = False

    @staticmethod
    def forward(v: Tensor, g: Tensor, *, dims: tuple[int, ...]) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """The direction is v over its norm."""
        size = norm(v, 2.0, dims)
        return (v * (g / size)).contiguous(), (v, g, size)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, dims: tuple[int, ...]
    ) -> tuple[Tensor, Tensor]:
        """Projects the gradient on the direction for g, and passes the rest to v."""
        v, g, size = saved
        u, phase = v / size, torch.sgn(g)
        along = (grad * u.conj()).sum(dims, keepdim=True)
        lengthwise = phase * real(along * phase.conj())  # of a real weight, all that is along it
        grad_v = (grad - u * lengthwise) * (g.conj() / size)
        return grad_v.contiguous(), along.sum_to_size(g.shape)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, dims: tuple[int, ...]) -> Tensor:
        """The quotient rule."""
        v, g, size = saved
        u = v / size
        longer = real(tangents[0] * u.conj()).sum(dims, keepdim=True)
        return (tangents[0] - u * longer) * (g / size) + u * tangents[1]


@overridable
def weight_norm(v: Tensor, g: Tensor, dim: int | None = 0) -> Tensor:
    """Scales slices of ``v`` to the norms ``g``, as the parametrization ``torch.nn.utils.weight_norm`` does.

    Args:
        v: floating-point or complex tensor with at least one dimension.
        g: the norms, which broadcast against ``v``; or one for each slice, of shape ``(v.shape[dim],)``.
        dim: the dimension whose slices have norms of their own; None or -1 for one norm of all elements.

    Returns:
        A tensor of the shape of ``v`` and the common dtype; NaN in slices that are zero.

    Raises:
        TypeError: if an argument is no tensor.
        NotImplementedError: if one is not floating point or complex.
        IndexError: if ``dim`` is out of range.
        RuntimeError: if ``g`` does not fit.
    """
    op = "weight_norm"
    floating(op, v, "v", complex=True), floating(op, g, "g", complex=True)
    rank = v.dim()
    kept = -1 if dim is None else dim
    if not -rank <= kept < rank:
        raise IndexError(f"{op}: expected dim between {-rank} and {rank - 1}, got {dim} for {describe(v)}")
    if kept == -1:
        dims = tuple(range(rank))
    elif rank == 1:  # each element is a slice
        return weight_norm(v.unsqueeze(-1), g.unsqueeze(-1), 0).squeeze(-1)
    else:
        dims = tuple(d for d in range(rank) if d != kept % rank)
        if g.dim() == 1 and g.shape[0] == v.shape[kept]:
            g = g.view(-1, *(1,) * (rank - 1 - kept % rank))
    try:
        fits = torch.broadcast_shapes(v.shape, g.shape) == v.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise RuntimeError(f"{op}: expected g to broadcast against v, got {describe(g)} and {describe(v)}")
    dtype = torch.promote_types(v.dtype, g.dtype)
    v, g = v.to(dtype), g.to(dtype)
    if any(g.shape[d - rank] != 1 for d in dims if rank - d <= g.dim()):  # no length, but factors of the elements
        return WeightNormFunction.apply(v, g.new_ones(()), dims) * g
    return WeightNormFunction.apply(v, g, dims)
