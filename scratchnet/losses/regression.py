r"""Losses for numbers: squared and absolute error.

.. math::
    L_2 = (x - t)^2, \quad \frac{\partial L_2}{\partial x} = 2 (x - t)
    \qquad
    L_1 = |x - t|, \quad \frac{\partial L_1}{\partial x} = \operatorname{sign}(x - t)

The gradient of the target is the negative of that of the input. At x = t the absolute error has slope 0.
Squared error is least at the mean of the targets and is drawn to outliers; absolute error at their median.

Source: A.-M. Legendre 1805 and C. F. Gauss 1809 (squares); R. J. Boscovich 1757 (absolute values).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import describe, overridable
from scratchnet.function import Function, reuse
from scratchnet.losses.pointwise import numbers, pair
from scratchnet.losses.reduction import reduce, reduction_of, unreduce

__all__ = ["L1LossFunction", "MSELossFunction", "l1_loss", "mse_loss"]


class MSELossFunction(Function):
    """The squared error. Saves both inputs."""

    autocast = "float32"

    @staticmethod
    def forward(x: Tensor, target: Tensor, *, reduction: str) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The squares of the differences."""
        difference = x - target
        return reduce(reuse(torch.mul, difference, difference), reduction), (x, target)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, reduction: str
    ) -> tuple[Tensor, Tensor | None]:
        """Twice the difference, and its negative."""
        x, target = saved
        grad_x = reuse(torch.mul, x - target, 2 * unreduce(grad, x, reduction)).contiguous()
        return grad_x, -grad_x if needs[1] else None

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, reduction: str) -> Tensor:
        """Twice the difference, times the difference of the tangents."""
        x, target = saved
        return reduce(2 * (x - target) * (tangents[0] - tangents[1]), reduction)


class L1LossFunction(Function):
    """The absolute error. Saves both inputs."""

    autocast = "float32"
    holomorphic = False

    @staticmethod
    def forward(x: Tensor, target: Tensor, *, reduction: str) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The sizes of the differences."""
        return reduce(reuse(torch.abs, x - target), reduction), (x, target)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, reduction: str
    ) -> tuple[Tensor, Tensor | None]:
        """The sign of the difference, and its negative."""
        x, target = saved
        grad_x = reuse(torch.mul, reuse(torch.sgn, x - target), unreduce(grad, x, reduction))
        grad_x = grad_x.contiguous() if reduction == "mean" else grad_x
        return grad_x, -grad_x if needs[1] else None

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, reduction: str) -> Tensor:
        """The sign of the difference, times the difference of the tangents."""
        x, target = saved
        change = (x - target).sgn().conj() * (tangents[0] - tangents[1])
        return reduce(change.real if change.is_complex() else change, reduction)


@overridable
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """The squared error, element by element, averaged unless told otherwise.

    Args:
        input: predictions, of any shape.
        target: what they should be, of the same shape; another shape is broadcast, with a warning.
        size_average: deprecated.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        weight: of the input's shape; multiplies each error, and the mean divides by its sum.

    Returns:
        A scalar, or a tensor of the broadcast shape for ``reduction="none"``.

    Raises:
        TypeError: if an argument is no tensor.
        RuntimeError: if the shapes cannot be broadcast.
        ValueError: if ``reduction`` or the weight's shape is wrong.
        NotImplementedError: if neither input nor target is floating point.
    """
    reduction = reduction_of("mse_loss", reduction, size_average, reduce)
    x, target = pair("mse_loss", input, target, complex=weight is not None, integer=weight is not None)
    if weight is None:
        return MSELossFunction.apply(x, target, reduction)
    return _weighted("mse_loss", MSELossFunction.apply(x, target, "none"), input, weight, reduction)


@overridable
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """The absolute error, element by element, averaged unless told otherwise.

    Args:
        input: predictions, of any shape.
        target: what they should be, of the same shape; another shape is broadcast, with a warning.
        size_average: deprecated.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        weight: of the input's shape; multiplies each error, and the mean divides by its sum.

    Returns:
        A scalar, or a tensor of the broadcast shape for ``reduction="none"``.

    Raises:
        TypeError: if an argument is no tensor.
        RuntimeError: if the shapes cannot be broadcast.
        ValueError: if ``reduction`` or the weight's shape is wrong.
        NotImplementedError: if neither input nor target is floating point.
    """
    reduction = reduction_of("l1_loss", reduction, size_average, reduce)
    numbers("l1_loss", input=input, target=target)
    x, target = pair("l1_loss", input, target, complex=True, integer=reduction != "mean" or weight is not None)
    if weight is None:
        return L1LossFunction.apply(x, target, reduction)
    return _weighted("l1_loss", L1LossFunction.apply(x, target, "none"), input, weight, reduction)


def _weighted(op: str, losses: Tensor, input: Tensor, weight: Tensor, reduction: str) -> Tensor:
    if weight.shape != input.shape:
        raise ValueError(
            f"{op}: expected weight of the input's shape {tuple(input.shape)}, got {describe(weight)}"
        )
    weighted = losses * weight
    if reduction == "none":
        return weighted
    return weighted.sum() if reduction == "sum" else weighted.sum() / weight.sum()
