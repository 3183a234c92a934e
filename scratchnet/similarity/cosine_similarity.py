r"""Cosine similarity: the cosine of the angle between two vectors.

.. math::
    c = \hat u \cdot \hat v, \qquad \hat u = \frac{u}{\max(\lVert u \rVert, \varepsilon)}, \qquad
    \frac{\partial c}{\partial u} = \frac{\hat v - c\, \tilde u}{\max(\lVert u \rVert, \varepsilon)}

with :math:`\tilde u = u / \lVert u \rVert` (0 for u = 0), and likewise for v: what points along u would only change
its length, and is taken out. PyTorch clamps the norm behind autograd's back, so it takes that part out even where
:math:`\lVert u \rVert < \varepsilon`; so do we, in forward mode too.

Source: G. Salton, A. Wong and C. S. Yang, "A vector space model for automatic indexing", 1975.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import describe, overridable, tensor
from scratchnet.function import Function
from scratchnet.similarity.distance import norm, slope

__all__ = ["CosineSimilarityFunction", "cosine_similarity"]


class CosineSimilarityFunction(Function):
    """Computes the cosine along one dimension. Saves its inputs."""

    autocast = "float32_on_cuda"

    @staticmethod
    def forward(x1: Tensor, x2: Tensor, *, dim: int, eps: float) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The product of the vectors over that of their lengths, each divided first so that nothing overflows."""
        return _cosine(x1, norm(x1, 2, dim), x2, norm(x2, 2, dim), dim, eps).squeeze(dim), (x1, x2)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, dim: int, eps: float
    ) -> tuple[Tensor | None, Tensor | None]:
        """Projects the other unit vector off one's own, and divides by one's length."""
        x1, x2 = saved
        n1, n2, grad = norm(x1, 2, dim), norm(x2, 2, dim), grad.unsqueeze(dim)
        y = _cosine(x1, n1, x2, n2, dim, eps)
        grad_x1 = (_slope(x1, n1, x2, n2, y, dim, eps) * grad).sum_to_size(x1.shape) if needs[0] else None
        grad_x2 = (_slope(x2, n2, x1, n1, y, dim, eps) * grad).sum_to_size(x2.shape) if needs[1] else None
        return grad_x1, grad_x2

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, dim: int, eps: float) -> Tensor:
        """The tangents along the two slopes."""
        x1, x2 = saved
        n1, n2 = norm(x1, 2, dim), norm(x2, 2, dim)
        y = _cosine(x1, n1, x2, n2, dim, eps)
        along_x1 = (_slope(x1, n1, x2, n2, y, dim, eps) * tangents[0]).sum(dim)
        return along_x1 + (_slope(x2, n2, x1, n1, y, dim, eps) * tangents[1]).sum(dim)


def _cosine(x1: Tensor, n1: Tensor, x2: Tensor, n2: Tensor, dim: int, eps: float) -> Tensor:
    """Divides each vector by its length before the product, so that nothing overflows; keeps ``dim``."""
    return (x1 / n1.clamp(min=eps) * (x2 / n2.clamp(min=eps))).sum(dim, keepdim=True)


def _slope(
    x: Tensor, length: Tensor, other: Tensor, other_length: Tensor, y: Tensor, dim: int, eps: float
) -> Tensor:
    """The derivative of the cosine by x."""
    own = slope(x, 2, True, dim, length)
    return (other / other_length.clamp(min=eps) - own * y) / length.clamp(min=eps)


@overridable
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors along one dimension.

    Args:
        x1: floating-point tensor.
        x2: floating-point tensor that broadcasts against it.
        dim: the dimension of the vectors, which the output lacks.
        eps: the least length to divide by.

    Returns:
        A tensor of the common shape without ``dim``.

    Raises:
        TypeError: if an argument is no tensor, or an option no number.
        RuntimeError: if the shapes do not broadcast, or neither input is floating point.
        IndexError: if ``dim`` is out of range.
    """
    op = "cosine_similarity"
    a, b = tensor(op, x1, "x1"), tensor(op, x2, "x2")
    if not eps >= 0:
        raise RuntimeError(f"{op}: expected eps not below 0, got {eps}")
    dtype = torch.promote_types(a.dtype, b.dtype)
    if not dtype.is_floating_point:
        raise RuntimeError(f"{op}: expected floating-point vectors, got {describe(a)} and {describe(b)}")
    try:
        shape = torch.broadcast_shapes(a.shape, b.shape)
    except RuntimeError as error:
        raise RuntimeError(
            f"{op}: expected vectors that broadcast, got {describe(a)} and {describe(b)}"
        ) from error
    rank = max(len(shape), 1)
    if not -rank <= dim < rank:
        raise IndexError(f"{op}: expected dim between {-rank} and {rank - 1}, got {dim} for shape {tuple(shape)}")
    return CosineSimilarityFunction.apply(a.to(dtype).expand(shape), b.to(dtype).expand(shape), dim, eps)
