r"""Cross entropy between logits and target classes or distributions.

From logits x of C classes, with class weights w and a target distribution q:

.. math::
    L = \sum_c q_c w_c (\operatorname{lse} x - x_c)
    \qquad \frac{\partial L}{\partial x_c} = p_c \sum_j q_j w_j - q_c w_c
    \qquad \frac{\partial L}{\partial q_c} = w_c (\operatorname{lse} x - x_c)

where lse is the logarithm of the sum of exponentials and p = exp(x - lse x) the softmax. A class index y is the
distribution that is 1 at y, and label smoothing ε mixes in the uniform one: q = (1 - ε) 1_y + ε / C. The mean
over samples divides by the sum of the target classes' weights, for class indices, and by the number of samples,
for distributions. An ignored target has no loss, no gradient and no part in the mean.

The backward needs the logits, which are there anyway, and one lse for each sample; the log-probabilities are
never kept.

Shapes: N samples, C classes, any further dimensions d; input (N, C, d…) or (C,), target indices (N, d…) or (),
or distributions of the input's shape.

Source: J. S. Bridle 1990; label smoothing: Szegedy et al., "Rethinking the Inception Architecture", 2016.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import describe, floating, overridable, tensor
from scratchnet.function import Function, unobserved
from scratchnet.losses.class_targets import CLASS, ClassTargets, check_smoothing, check_weight, checked
from scratchnet.losses.reduction import WeightedLoss, reduce, reduction_of, spread
from scratchnet.tiling import slabs

__all__ = [
    "CrossEntropyLoss",
    "IndexCrossEntropyFunction",
    "ProbabilityCrossEntropyFunction",
    "cross_entropy",
]


class IndexCrossEntropyFunction(Function):
    """Cross entropy of logits and class indices. Keeps its inputs and one log-sum-exp for each sample."""

    autocast = "float32"

    @staticmethod
    def forward(
        x: Tensor,
        target: Tensor,
        weight: Tensor | None,
        *,
        ignore_index: int | None,
        smoothing: float,
        reduction: str,
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """The log-sum-exp less the target's logit, and less the mean logit where labels are smoothed."""
        lse = _log_sum_exp(x)
        targets = ClassTargets.of(target, weight, ignore_index, x.dtype)
        losses = targets.weighted(lse - targets.pick(x))
        if smoothing:
            uniform = targets.counted(_weighted(lse.unsqueeze(CLASS) - x, weight).sum(CLASS))
            losses = (1 - smoothing) * losses + smoothing / x.shape[CLASS] * uniform
        return targets.average(losses, reduction), (x, target, weight, lse)

    @staticmethod
    def backward(
        grad: Tensor,
        saved: Sequence[Tensor],
        needs: Sequence[bool],
        *,
        ignore_index: int | None,
        smoothing: float,
        reduction: str,
    ) -> tuple[Tensor, None, None]:
        """The probabilities less the target distribution, weighted."""
        x, target, weight, lse = saved
        targets = ClassTargets.of(target, weight, ignore_index, x.dtype)
        upstream = targets.upstream(grad, reduction)
        total = (1 - smoothing) * targets.weighted(upstream)
        at_target = -total
        if smoothing:
            share = smoothing / x.shape[CLASS] * targets.counted(upstream)
            total = total + share * (x.shape[CLASS] if weight is None else weight.sum())
        place, at_target, total = (t.unsqueeze(CLASS) for t in (targets.labels, at_target, total))
        if unobserved():
            grad_x = torch.empty_like(x)
            columns = (lse.unsqueeze(CLASS), total, place, at_target)
            for out, logits, norm, factor, where, change in slabs((grad_x, x, *columns), CLASS):
                torch.sub(logits, norm, out=out).exp_().mul_(factor).scatter_add_(CLASS, where, change)
        else:
            grad_x = (torch.exp(x - lse.unsqueeze(CLASS)) * total).scatter_add(CLASS, place, at_target)
        if smoothing:
            grad_x = grad_x - _weighted(share.unsqueeze(CLASS).expand(x.shape), weight)
        return grad_x, None, None

    @staticmethod
    def jvp(
        tangents: Sequence[Tensor],
        saved: Sequence[Tensor],
        *,
        ignore_index: int | None,
        smoothing: float,
        reduction: str,
    ) -> Tensor:
        """The loss's linear form, with the tangent's mean under the softmax in place of the log-sum-exp."""
        x, target, weight, lse = saved
        tangent = tangents[0]
        targets = ClassTargets.of(target, weight, ignore_index, x.dtype)
        mean = (torch.exp(x - lse.unsqueeze(CLASS)) * tangent).sum(CLASS)
        changes = targets.weighted(mean - targets.pick(tangent))
        if smoothing:
            uniform = targets.counted(_weighted(mean.unsqueeze(CLASS) - tangent, weight).sum(CLASS))
            changes = (1 - smoothing) * changes + smoothing / x.shape[CLASS] * uniform
        return targets.average(changes, reduction)


class ProbabilityCrossEntropyFunction(Function):
    """Cross entropy of logits and target distributions. Keeps its inputs and the log-sum-exps."""

    autocast = "float32"

    @staticmethod
    def forward(
        x: Tensor, target: Tensor, weight: Tensor | None, *, smoothing: float, reduction: str
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """The target's mean of the weighted surprise."""
        lse = _log_sum_exp(x)
        q = _smoothed(target, smoothing)
        losses = (q * _weighted(lse.unsqueeze(CLASS) - x, weight)).sum(CLASS)
        return reduce(losses, reduction), (x, target, weight, lse)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, smoothing: float, reduction: str
    ) -> tuple[Tensor | None, Tensor | None, None]:
        """Of the logits: p Σ q w - q w. Of the target: the weighted surprise."""
        x, target, weight, lse = saved
        column = lse.unsqueeze(CLASS)
        upstream = spread(grad, lse, reduction).expand(lse.shape).unsqueeze(CLASS)
        qw = _weighted(_smoothed(target, smoothing), weight)
        grad_x = upstream * (torch.exp(x - column) * qw.sum(CLASS, keepdim=True) - qw) if needs[0] else None
        grad_target = (1 - smoothing) * upstream * _weighted(column - x, weight) if needs[1] else None
        return grad_x, grad_target, None

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, smoothing: float, reduction: str) -> Tensor:
        """Both slopes, each times its tangent."""
        x, target, weight, lse = saved
        column = lse.unsqueeze(CLASS)
        qw = _weighted(_smoothed(target, smoothing), weight)
        slope = torch.exp(x - column) * qw.sum(CLASS, keepdim=True) - qw
        change = slope * tangents[0] + (1 - smoothing) * _weighted(column - x, weight) * tangents[1]
        return reduce(change.sum(CLASS), reduction)


def _log_sum_exp(x: Tensor) -> Tensor:
    """Log Σ exp(x) over the classes, shifted by the largest logit."""
    if x.numel() == 0:
        return x.sum(CLASS)
    if not unobserved():
        largest = x.amax(CLASS, keepdim=True).detach()
        return torch.log(torch.exp(x - largest).sum(CLASS)) + largest.squeeze(CLASS)
    lse = x.new_empty((x.shape[0], 1, *x.shape[2:]))
    for slab, out in slabs((x, lse), CLASS):
        largest = slab.amax(CLASS, keepdim=True)
        torch.sum((slab - largest).exp_(), CLASS, keepdim=True, out=out).log_().add_(largest)
    return lse.squeeze(CLASS)


def _weighted(x: Tensor, weight: Tensor | None) -> Tensor:
    """Each class times its weight."""
    return x if weight is None else x * weight.view(-1, *(1,) * (x.dim() - 2))


def _smoothed(target: Tensor, smoothing: float) -> Tensor:
    return target if not smoothing else (1 - smoothing) * target + smoothing / target.shape[CLASS]


@overridable
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross entropy between logits and target classes or distributions.

    Args:
        input: logits of shape ``(N, C, d…)`` or ``(C,)``.
        target: class indices of shape ``(N, d…)`` or ``()``, or probabilities of the input's shape.
        weight: a constant of shape ``(C,)``: the weight of each class.
        size_average: deprecated.
        ignore_index: samples with this target index count for nothing.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        label_smoothing: the share of the uniform distribution mixed into the target, between 0 and 1.

    Returns:
        A scalar, or one loss for each sample for ``reduction="none"``.

    Raises:
        TypeError: if an argument is no tensor.
        NotImplementedError: if the input is not floating point.
        ValueError: if the batch sizes differ, or ``reduction`` is unknown.
        RuntimeError: if the target's shape or dtype, the weight's shape or the smoothing does not fit.
        IndexError: if a target is no class.
    """
    op = "cross_entropy"
    reduction = reduction_of(op, reduction, size_average, reduce)
    check_smoothing(op, label_smoothing)
    if tensor(op, input).shape == tensor(op, target, "target").shape:
        return _of_probabilities(input, target, weight, ignore_index, reduction, label_smoothing)
    x, labels, alone, ignored = checked(op, input, target, weight, ignore_index)
    losses = IndexCrossEntropyFunction.apply(x, labels, weight, ignored, label_smoothing, reduction)
    return losses.view(target.shape) if alone and reduction == "none" else losses


def _of_probabilities(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    smoothing: float,
) -> Tensor:
    op = "cross_entropy"
    if not target.is_floating_point():
        raise RuntimeError(
            f"{op}: expected probabilities as a floating-point target of the input's shape, or class indices "
            f"without its class dimension, got {describe(target)}"
        )
    if ignore_index >= 0:
        raise RuntimeError(f"{op}: expected no ignore_index with probabilities as target, got {ignore_index}")
    alone = input.dim() == 1
    x = floating(op, input.unsqueeze(0) if alone else input)
    dtype = torch.promote_types(x.dtype, target.dtype)
    q = target.unsqueeze(0) if alone else target
    check_weight(op, weight, x)
    losses = ProbabilityCrossEntropyFunction.apply(x.to(dtype), q.to(dtype), weight, smoothing, reduction)
    return losses.squeeze(0) if alone and reduction == "none" else losses


class CrossEntropyLoss(WeightedLoss):
    """`cross_entropy` as a module."""

    __constants__ = ["ignore_index", "label_smoothing", "reduction"]

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Applies `cross_entropy`."""
        return cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )
