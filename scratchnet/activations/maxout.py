r"""Maxout: the largest of k linear pieces.

.. math::
    y_i = \max_{j < k} x_{ik + j}
    \qquad \frac{\partial y_i}{\partial x_{ik + j}} = 1 \text{ for the largest piece, 0 for the others}

Where pieces tie, the first one takes the whole gradient. With the pieces made by a linear layer,
:math:`x = W u + b`, the unit is a convex piecewise linear function of u, whose shape is learned.

Source: Goodfellow, Warde-Farley, Mirza, Courville and Bengio, "Maxout Networks", ICML 2013.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from scratchnet.arguments import describe, floating, overridable
from scratchnet.function import Function

__all__ = ["MaxoutFunction", "maxout"]


class MaxoutFunction(Function):
    """The maximum over groups of neighbouring elements. Saves which piece won."""

    @staticmethod
    def forward(x: Tensor, *, pieces: int, dim: int) -> tuple[Tensor, tuple[Tensor]]:
        """The largest of each group."""
        y, argmax = x.unflatten(dim, (-1, pieces)).max(dim + 1)
        return y, (argmax,)

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, pieces: int, dim: int) -> Tensor:
        """Each gradient goes to the piece that won."""
        argmax = saved[0].unsqueeze(dim + 1)
        spread = grad.unsqueeze(dim + 1)
        before, features, after = argmax.shape[:dim], argmax.shape[dim], argmax.shape[dim + 2 :]
        blank = spread.new_zeros((*before, features, pieces, *after))
        return blank.scatter(dim + 1, argmax, spread).reshape(*before, features * pieces, *after)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, pieces: int, dim: int) -> Tensor:
        """Each output moves with the piece that won."""
        pieces_of = tangents[0].unflatten(dim, (-1, pieces))
        return pieces_of.gather(dim + 1, saved[0].unsqueeze(dim + 1)).squeeze(dim + 1)


@overridable
def maxout(input: Tensor, pieces: int, dim: int = -1) -> Tensor:
    """The maximum over groups of ``pieces`` neighbouring elements along a dimension.

    Args:
        input: floating-point tensor of shape ``(…, pieces * features, …)``.
        pieces: how many elements compete for one output.
        dim: the dimension that holds the pieces.

    Returns:
        A tensor of shape ``(…, features, …)``.

    Raises:
        TypeError: if ``input`` is no tensor.
        NotImplementedError: if ``input`` is not floating point.
        IndexError: if ``dim`` is out of range.
        ValueError: if ``pieces`` is not positive, or does not divide the size of ``dim``.
    """
    x = floating("maxout", input)
    if not -x.dim() <= dim < x.dim():
        raise IndexError(f"maxout: expected dim between {-x.dim()} and {x.dim() - 1}, got {dim}")
    if pieces < 1:
        raise ValueError(f"maxout: expected pieces to be a positive integer, got {pieces}")
    if x.shape[dim] % pieces:
        raise ValueError(
            f"maxout: expected dimension {dim} to hold a multiple of pieces={pieces} elements, got {describe(x)}"
        )
    return MaxoutFunction.apply(x, pieces, dim % x.dim())
