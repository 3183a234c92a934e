r"""The logarithm of a sum of exponentials: a maximum that is smooth.

.. math::
    y = m + \log \sum_j e^{x_j - m}, \quad m = \max_j x_j
    \qquad \frac{\partial y}{\partial x_j} = \frac{e^{x_j - m}}{\sum_k e^{x_k - m}}

The slopes are softmax's. They are made of the maximum and the sum apart: the rounded output, subtracted from the input
again, would lose the digits that a large maximum hides. The maximum of complex numbers is that of their real parts, on
which the size of an exponential depends.

Conventions, PyTorch's: where the maximum is infinite nothing is subtracted, and the slope is NaN where it has no value.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import describe, overridable, promoted
from scratchnet.function import Function, rowwise
from scratchnet.similarity.distance import real

__all__ = ["LogSumExpFunction", "logsumexp"]

Dims = tuple[int, ...]


class LogSumExpFunction(Function):
    """Over some dimensions. Saves its input."""

    @staticmethod
    def forward(x: Tensor, *, dims: Dims, keepdim: bool) -> tuple[Tensor, tuple[Tensor]]:
        """Adds the maximum and the logarithm of the rest."""
        y = rowwise(_log_sum_exp, x, dims=dims)
        return (y if keepdim else y.squeeze(dims)), (x,)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, dims: Dims, keepdim: bool
    ) -> Tensor:
        """Shares the gradient by softmax."""
        return rowwise(_share, saved[0], grad if keepdim else _unsqueezed(grad, dims), dims=dims)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, dims: Dims, keepdim: bool) -> Tensor:
        """Returns the mean of the tangent under softmax."""
        _, e, total = _parts(saved[0], dims)
        y = (e * tangents[0]).sum(dims, keepdim=True) / total
        return y if keepdim else y.squeeze(dims)


def _log_sum_exp(x: Tensor, *, dims: Dims) -> Tensor:
    top, _, total = _parts(x, dims)
    return top + torch.log(total)


def _share(x: Tensor, grad: Tensor, *, dims: Dims) -> Tensor:
    _, e, total = _parts(x, dims)
    return e / total * grad


def _parts(x: Tensor, dims: Dims) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the maximum, the exponentials of what is below it, and their sum."""
    if x.numel():
        top = real(x.detach()).amax(dims, keepdim=True)
        # Below infinity: other elements have no share beside it.
        top = torch.where(top == -float("inf"), 0.0, top).clamp(max=torch.finfo(top.dtype).max)
    else:
        top = real(x.detach()).sum(dims, keepdim=True)
    e = torch.exp(x - top)
    return top, e, e.sum(dims, keepdim=True)


def _unsqueezed(grad: Tensor, dims: Dims) -> Tensor:
    for dim in dims:
        grad = grad.unsqueeze(dim)
    return grad


@overridable
def logsumexp(input: Tensor, dim: int | Sequence[int], keepdim: bool = False) -> Tensor:
    """Returns the logarithm of the sum of exponentials over one or several dimensions.

    Args:
        input: tensor of any shape, real or complex; integers become the default dtype.
        dim: the dimensions summed over; an empty sequence means all.
        keepdim: whether they stay, with size 1.

    Returns:
        A tensor without these dimensions; -inf where there was nothing to sum.

    Raises:
        TypeError: if the input is no tensor, or ``dim`` no integers.
        IndexError: if a dimension is out of range.
        RuntimeError: if one is named twice.
    """
    op = "logsumexp"
    x = promoted(op, input, complex=True)
    rank = max(x.dim(), 1)
    given = (dim,) if isinstance(dim, int) else dim
    if not all(-rank <= d < rank for d in given):
        raise IndexError(f"{op}: expected dim between {-rank} and {rank - 1}, got {dim} for {describe(input)}")
    dims = tuple(sorted({d % rank for d in given}))
    if len(dims) < len(given):
        raise RuntimeError(f"{op}: expected each dimension once, got {dim}")
    dims = (dims or tuple(range(x.dim()))) if x.dim() else ()
    return LogSumExpFunction.apply(x, dims, keepdim)
