r"""Softmax and its logarithm.

.. math::
    y_i = \frac{e^{x_i}}{\sum_j e^{x_j}}
    \qquad \frac{\partial y_i}{\partial x_j} = y_i (\delta_{ij} - y_j)
    \qquad \frac{\partial \log y_i}{\partial x_j} = \delta_{ij} - y_j

With an upstream gradient g the sums over the Jacobian collapse:
:math:`\bar x = y \odot (g - \langle g, y \rangle)` for softmax, and :math:`\bar x = g - y \sum g` for its
logarithm. Both subtract the row's maximum first, which changes nothing and keeps the exponential in range.

Source: J. S. Bridle, "Probabilistic Interpretation of Feedforward Classification Network Outputs", 1990.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import floating, overridable, tensor
from scratchnet.function import Rowwise

__all__ = ["LogSoftmaxFunction", "SoftmaxFunction", "along_dimension", "log_softmax", "softmax"]


class SoftmaxFunction(Rowwise):
    """Softmax along one dimension. Keeps its output."""

    autocast = "float32_on_cuda"

    @staticmethod
    def forward(x: Tensor, *, dim: int) -> tuple[Tensor, tuple[Tensor]]:
        e = torch.exp(_shifted(x, dim))
        y = (e / e.sum(dim, keepdim=True)).contiguous()
        return y, (y,)

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, dim: int) -> Tensor:
        (y,) = saved
        return y * (grad - (grad * y).sum(dim, keepdim=True))

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, dim: int) -> Tensor:
        (y,) = saved
        return y * (tangents[0] - (tangents[0] * y).sum(dim, keepdim=True))


class LogSoftmaxFunction(Rowwise):
    """The logarithm of softmax along one dimension. Keeps its output."""

    autocast = "float32_on_cuda"

    @staticmethod
    def forward(x: Tensor, *, dim: int) -> tuple[Tensor, tuple[Tensor]]:
        z = _shifted(x, dim)
        y = (z - torch.exp(z).sum(dim, keepdim=True).log()).contiguous()
        return y, (y,)

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, dim: int) -> Tensor:
        (y,) = saved
        return grad - torch.exp(y) * grad.sum(dim, keepdim=True)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, dim: int) -> Tensor:
        (y,) = saved
        return tangents[0] - (torch.exp(y) * tangents[0]).sum(dim, keepdim=True)


def _shifted(x: Tensor, dim: int) -> Tensor:
    """The input less its maximum along a dimension; an empty dimension has none."""
    return x - x.amax(dim, keepdim=True) if x.numel() else x.clone()


@overridable
def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None
) -> Tensor:
    """Exponentials over their sum along a dimension.

    Args:
        input: floating-point tensor of any shape.
        dim: the dimension whose elements sum to one. Leaving it out is deprecated, as in PyTorch.
        _stacklevel: how far up the call stack the deprecation points.
        dtype: convert the input to this dtype first.

    Returns:
        A tensor of the same shape, with values in [0, 1] that sum to one along ``dim``.

    Raises:
        TypeError: if ``input`` is no tensor, or ``dim`` no integer.
        NotImplementedError: if ``input`` is not floating point and no ``dtype`` is given.
        IndexError: if ``dim`` is out of range.
    """
    return SoftmaxFunction.apply(*along_dimension("softmax", input, dim, _stacklevel, dtype))


@overridable
def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None
) -> Tensor:
    """The logarithm of `softmax`, without the overflow and the log of zero.

    Args:
        input: floating-point tensor of any shape.
        dim: the dimension along which the probabilities sum to one.
        _stacklevel: how far up the call stack the deprecation of a missing ``dim`` points.
        dtype: convert the input to this dtype first.

    Returns:
        A tensor of the same shape, with values in [-inf, 0].

    Raises:
        TypeError: if ``input`` is no tensor, or ``dim`` no integer.
        NotImplementedError: if ``input`` is not floating point and no ``dtype`` is given.
        IndexError: if ``dim`` is out of range.
    """
    return LogSoftmaxFunction.apply(*along_dimension("log_softmax", input, dim, _stacklevel, dtype))


def along_dimension(
    op: str, input: Tensor, dim: int | None, stacklevel: int, dtype: torch.dtype | None
) -> tuple[Tensor, int]:
    """The checked input and dimension of an op that normalises along one.

    Without a dimension there is a warning, which points ``stacklevel`` calls up.
    """
    x = tensor(op, input)
    if dim is None:
        dim = 0 if x.dim() in (0, 1, 3) else 1
        warnings.warn(f"{op}: expected a dim, got none; taking dim={dim}, write it out", stacklevel=stacklevel + 1)
    rank = max(x.dim(), 1)
    if not -rank <= dim < rank:
        raise IndexError(
            f"{op}: expected dim between {-rank} and {rank - 1}, got {dim} for a tensor of shape {tuple(x.shape)}"
        )
    return floating(op, x if dtype is None else x.to(dtype)), dim
