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

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.activations.dimension import along_dimension
from scratchnet.arguments import overridable
from scratchnet.function import Rowwise, reuse

__all__ = ["LogSoftmaxFunction", "SoftmaxFunction", "log_softmax", "softmax"]


class SoftmaxFunction(Rowwise):
    """Softmax along one dimension. Saves its output."""

    autocast = "float32_on_cuda"

    @staticmethod
    def forward(x: Tensor, *, dim: int) -> tuple[Tensor, tuple[Tensor]]:
        """Divides the exponentials of the shifted input by their sum."""
        e = torch.exp(_shifted(x, dim))
        y = (e / e.sum(dim, keepdim=True)).contiguous()
        return y, (y,)

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, dim: int) -> Tensor:
        """Multiplies by the Jacobian, which is symmetric."""
        return _project(grad, saved[0], dim)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, dim: int) -> Tensor:
        """Multiplies by the Jacobian."""
        return _project(tangents[0], saved[0], dim)


class LogSoftmaxFunction(Rowwise):
    """The logarithm of softmax along one dimension. Saves its output."""

    autocast = "float32_on_cuda"

    @staticmethod
    def forward(x: Tensor, *, dim: int) -> tuple[Tensor, tuple[Tensor]]:
        """Subtracts the logarithm of the sum of exponentials from the shifted input."""
        z = _shifted(x, dim)
        y = (z - torch.exp(z).sum(dim, keepdim=True).log()).contiguous()
        return y, (y,)

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, dim: int) -> Tensor:
        """Subtracts the gradient's sum, shared by the probabilities."""
        return torch.addcmul(grad, torch.exp(saved[0]), grad.sum(dim, keepdim=True), value=-1)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, dim: int) -> Tensor:
        """Subtracts the tangent's mean under the probabilities."""
        return tangents[0] - (torch.exp(saved[0]) * tangents[0]).sum(dim, keepdim=True)


def _shifted(x: Tensor, dim: int) -> Tensor:
    """Subtracts the maximum along a dimension; an empty one has none."""
    return x - x.amax(dim, keepdim=True) if x.numel() else x.clone()


def _project(v: Tensor, y: Tensor, dim: int) -> Tensor:
    product = v * y
    return reuse(torch.addcmul, product, y, -product.sum(dim, keepdim=True))


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

    Args, errors and the deprecation of a missing ``dim`` are those of `softmax`.

    Returns:
        A tensor of the same shape, with values in [-inf, 0].
    """
    return LogSoftmaxFunction.apply(*along_dimension("log_softmax", input, dim, _stacklevel, dtype))
