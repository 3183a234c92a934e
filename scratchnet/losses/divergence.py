r"""The divergence of Kullback and Leibler, element by element.

Of the logarithm x of the model's probability and a target probability t, or its logarithm :math:`\ell = \log t`:

.. math::
    L = t (\log t - x)
    \qquad \frac{\partial L}{\partial x} = -t
    \qquad \frac{\partial L}{\partial t} = \log t + 1 - x
    \qquad \frac{\partial L}{\partial \ell} = e^\ell (\ell - x + 1)

A target of 0 costs nothing, since t log t vanishes there, even at x = -∞. Its own slope is log 0 = -∞, and ∞ at
x = -∞, where every other target costs infinitely much. A negative target gives NaN. The sum over all classes, averaged
over the batch (``"batchmean"``), is the divergence; ``"mean"`` divides by the classes as well.

Source: S. Kullback and R. A. Leibler, "On Information and Sufficiency", 1951.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import describe, overridable
from scratchnet.losses.pointwise import PointwiseLoss, aligned, promoted_together
from scratchnet.losses.reduction import reduce, reduction_of

__all__ = ["KLDivLossFunction", "LogTargetKLDivLossFunction", "kl_div"]


class KLDivLossFunction(PointwiseLoss):
    """The divergence from target probabilities. Saves its inputs."""

    contiguous_for = ("mean",)

    @staticmethod
    def value(x: Tensor, target: Tensor) -> Tensor:
        """T (log t - x), which is 0 for t = 0."""
        entropy = target * torch.log(target).masked_fill(target == 0, 0)
        return entropy - (target * x).masked_fill(_vanishes(x, target, 0.0), 0)

    @staticmethod
    def slopes(x: Tensor, target: Tensor, *, needs: Sequence[bool]) -> tuple[Tensor | None, Tensor | None]:
        """The negative target, and log t + 1 - x."""
        return -target if needs[0] else None, _slope_of_target(x, target) if needs[1] else None

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, reduction: str) -> Tensor:
        """Both slopes, each times its tangent; a constant target has no part, even where its slope is infinite."""
        x, target = saved
        change = (_slope_of_target(x, target) * tangents[1]).masked_fill(tangents[1] == 0, 0)
        return reduce(change - target * tangents[0], reduction)


def _vanishes(x: Tensor, target: Tensor, nothing: float) -> Tensor:
    """Whether the target is the one that costs nothing, unless x is NaN."""
    return (target == nothing) & (x == x)


def _slope_of_target(x: Tensor, target: Tensor) -> Tensor:
    """Log t + 1 - x, and ∞ where that is ∞ - ∞."""
    return (torch.log(target) + 1 - x).masked_fill((target == 0) & (x == -math.inf), math.inf)


class LogTargetKLDivLossFunction(PointwiseLoss):
    """The divergence from the logarithms of target probabilities. Saves its inputs."""

    contiguous_for = ("mean",)

    @staticmethod
    def value(x: Tensor, target: Tensor) -> Tensor:
        """Exp(ℓ) (ℓ - x)."""
        return torch.exp(target) * (target - x).masked_fill(_vanishes(x, target, -math.inf), 0)

    @staticmethod
    def slopes(x: Tensor, target: Tensor, *, needs: Sequence[bool]) -> tuple[Tensor | None, Tensor | None]:
        """-exp(ℓ), and exp(ℓ) (ℓ - x + 1)."""
        probability = torch.exp(target)
        change = (target - x + 1).masked_fill(_vanishes(x, target, -math.inf), 0) if needs[1] else None
        return -probability if needs[0] else None, None if change is None else probability * change


@overridable
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """The divergence of the model's distribution from the target's, element by element.

    Args:
        input: logarithms of probabilities, of any shape.
        target: probabilities, or their logarithms, of a shape that broadcasts with the input's.
        size_average: deprecated.
        reduce: deprecated.
        reduction: ``"none"``, ``"batchmean"`` (the sum, divided by the input's first dimension), ``"mean"`` (the
            mean over all elements, which is not the divergence) or ``"sum"``.
        log_target: whether ``target`` holds logarithms.

    Returns:
        A scalar, or a tensor of the broadcast shape for ``reduction="none"``.

    Raises:
        TypeError: if an argument is no tensor.
        RuntimeError: if an argument is not floating point, or the shapes cannot be broadcast.
        ValueError: if ``reduction`` is unknown.
    """
    op = "kl_div"
    per_sample = reduction == "batchmean" and size_average is None and reduce is None
    chosen = "sum" if per_sample else reduction_of(op, reduction, size_average, reduce)
    if reduction == "mean" and size_average is None and reduce is None:
        warnings.warn(
            f"{op}: reduction='mean' also averages over the classes; use 'batchmean' for the divergence",
            stacklevel=3,
        )
    x, target = aligned(op, input=input, target=target)
    if not (x.is_floating_point() and target.is_floating_point()):
        raise RuntimeError(
            f"{op}: expected floating-point numbers, got {describe(input)} and {describe(target)}; use .float()"
        )
    x, target = promoted_together(op, x, target)
    function = LogTargetKLDivLossFunction if log_target else KLDivLossFunction
    total: Tensor = function.apply(x, target, chosen)
    return total / input.shape[0] if per_sample and input.dim() else total
