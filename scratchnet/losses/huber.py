r"""Losses that are squares near zero and lines far from it.

Of the difference z = x - t, with the square up to δ:

.. math::
    h_\delta(z) = \begin{cases} z^2 / 2 & |z| < \delta \\ \delta (|z| - \delta / 2) & |z| \ge \delta \end{cases}
    = c \left(|z| - \frac{c}{2}\right), \quad c = \min(|z|, \delta)
    \qquad \frac{dh_\delta}{dz} = \max(-\delta, \min(z, \delta))

Huber's loss is h itself; smooth L1 is :math:`h_\beta / \beta`, whose lines have slope 1 for every β, and which at
β = 0 is the absolute error. An outlier pulls with the same force however far out it is. Where the square meets
the line both have the same slope; the second derivative there is that of the line, 0.

Source: P. J. Huber, "Robust Estimation of a Location Parameter", 1964; R. Girshick, "Fast R-CNN", ICCV 2015
(smooth L1).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import describe, overridable
from scratchnet.losses.pointwise import PointwiseLoss, pair
from scratchnet.losses.reduction import REDUCTIONS, reduce, reduction_of
from scratchnet.losses.regression import L1LossFunction

__all__ = ["HuberLossFunction", "huber_loss", "smooth_l1_loss"]


class HuberLossFunction(PointwiseLoss):
    """Huber's loss times a constant factor. Saves both inputs."""

    contiguous_for = REDUCTIONS

    @staticmethod
    def value(x: Tensor, target: Tensor, *, delta: float, factor: float) -> Tensor:
        """c (|z| - c / 2), which needs no choice between two formulas."""
        size = (x - target).abs()
        c = size.clamp(max=delta)
        return factor * (c * (size - 0.5 * c))

    @staticmethod
    def slopes(
        x: Tensor, target: Tensor, *, needs: Sequence[bool], delta: float, factor: float
    ) -> tuple[Tensor, Tensor | None]:
        """The difference, bounded, and its negative."""
        z = x - target
        z = torch.where(z <= -delta, -delta, z)  # clamped, with slope 0 at the bounds too
        slope = factor * torch.where(z >= delta, delta, z)
        return slope, -slope if needs[1] else None


@overridable
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """The absolute error, rounded off to a parabola where it is smaller than ``beta``.

    Args:
        input: predictions, of any shape.
        target: what they should be, of the same shape; another shape is broadcast, with a warning.
        size_average: deprecated.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        beta: up to which error the loss is quadratic; 0 makes it the absolute error.

    Returns:
        A scalar, or a tensor of the broadcast shape for ``reduction="none"``.

    Raises:
        TypeError: if an argument is no tensor.
        RuntimeError: if ``beta`` is negative, or the shapes cannot be broadcast.
        ValueError: if ``reduction`` is unknown.
        NotImplementedError: if neither input nor target is floating point.
    """
    op = "smooth_l1_loss"
    reduction = reduction_of(op, reduction, size_average, reduce)
    x, target = pair(op, input, target, complex=beta == 0, integer=beta == 0 and reduction != "mean")
    if not beta >= 0:
        raise RuntimeError(f"{op}: expected beta of at least 0, got {describe(beta)}")
    if beta == 0:
        return L1LossFunction.apply(x, target, reduction)
    return HuberLossFunction.apply(x, target, beta, 1 / beta, reduction)


@overridable
def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Half the squared error where it is smaller than ``delta``, and a line of slope ``delta`` beyond.

    Args:
        input: predictions, of any shape.
        target: what they should be, of the same shape; another shape is broadcast, with a warning.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        delta: up to which error the loss is quadratic.
        weight: of the input's shape; multiplies each error, and has no part in the mean.

    Returns:
        A scalar, or a tensor of the broadcast shape for ``reduction="none"``.

    Raises:
        TypeError: if an argument is no tensor.
        RuntimeError: if ``delta`` is not positive, or the shapes cannot be broadcast.
        ValueError: if ``reduction`` or the weight's shape is wrong.
        NotImplementedError: if neither input nor target is floating point.
    """
    op = "huber_loss"
    reduction = reduction_of(op, reduction)
    x, target = pair(op, input, target)
    if not delta > 0:
        raise RuntimeError(f"{op}: expected a positive delta, got {describe(delta)}")
    if weight is None:
        return HuberLossFunction.apply(x, target, delta, 1.0, reduction)
    if weight.shape != input.shape:
        raise ValueError(
            f"{op}: expected weight of the input's shape {tuple(input.shape)}, got {describe(weight)}"
        )
    return reduce(HuberLossFunction.apply(x, target, delta, 1.0, "none") * weight, reduction)
