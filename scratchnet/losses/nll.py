r"""The negative log-likelihood of target classes.

From log-probabilities x of C classes, class indices y and class weights w:

.. math::
    L = -w_y x_y \qquad \frac{\partial L}{\partial x_c} = -w_y [c = y]

The mean over samples divides by the sum of the target classes' weights. An ignored target has no loss, no gradient
and no part in the mean.

Shapes: N samples, C classes, any further dimensions d; input (N, C, d…) or (C,), target indices (N, d…) or ().
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from scratchnet.arguments import overridable
from scratchnet.function import Function
from scratchnet.losses.class_targets import CLASS, ClassTargets, checked
from scratchnet.losses.reduction import reduction_of

__all__ = ["NLLLossFunction", "nll_loss"]


class NLLLossFunction(Function):
    """The negative log-probability of the target class. Saves the targets and the weights."""

    autocast = "float32"

    @staticmethod
    def forward(
        x: Tensor, target: Tensor, weight: Tensor | None, *, classes: int, ignore_index: int | None, reduction: str
    ) -> tuple[Tensor, tuple[Tensor, Tensor | None]]:
        """Picks the target's element of each sample."""
        targets = ClassTargets.of(target, weight, ignore_index, x.dtype)
        return targets.average(targets.weighted(-targets.pick(x)), reduction), (target, weight)

    @staticmethod
    def backward(
        grad: Tensor,
        saved: Sequence[Tensor],
        needs: Sequence[bool],
        *,
        classes: int,
        ignore_index: int | None,
        reduction: str,
    ) -> tuple[Tensor, None, None]:
        """Minus the weight at the target, zero elsewhere."""
        target, weight = saved
        targets = ClassTargets.of(target, weight, ignore_index, grad.dtype)
        place, change = targets.labels, targets.weighted(-targets.upstream(grad, reduction))
        grad_x = grad.new_zeros(target.shape[0], classes, *target.shape[1:])
        return grad_x.scatter(CLASS, place.unsqueeze(CLASS), change.unsqueeze(CLASS)), None, None

    @staticmethod
    def jvp(
        tangents: Sequence[Tensor],
        saved: Sequence[Tensor],
        *,
        classes: int,
        ignore_index: int | None,
        reduction: str,
    ) -> Tensor:
        """The loss is linear in the log-probabilities."""
        target, weight = saved
        targets = ClassTargets.of(target, weight, ignore_index, tangents[0].dtype)
        return targets.average(targets.weighted(-targets.pick(tangents[0])), reduction)


@overridable
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The negative log-likelihood of the target classes.

    Args:
        input: log-probabilities of shape ``(N, C, d…)`` or ``(C,)``.
        target: class indices of shape ``(N, d…)`` or ``()``.
        weight: a constant of shape ``(C,)``: the weight of each class.
        size_average: deprecated.
        ignore_index: samples with this target count for nothing.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` (divided by the target classes' weights) or ``"sum"``.

    Returns:
        A scalar, or a tensor of the target's shape for ``reduction="none"``.

    Raises:
        TypeError: if an argument is no tensor.
        NotImplementedError: if the input is not floating point.
        ValueError: if the batch sizes differ, or ``reduction`` is unknown.
        RuntimeError: if the target's shape or dtype, or the weight's shape, does not fit.
        IndexError: if a target is no class.
    """
    op = "nll_loss"
    reduction = reduction_of(op, reduction, size_average, reduce)
    x, labels, alone, ignored = checked(op, input, target, weight, ignore_index)
    losses = NLLLossFunction.apply(x, labels, weight, x.shape[CLASS], ignored, reduction)
    return losses.squeeze(0) if alone and reduction == "none" else losses
