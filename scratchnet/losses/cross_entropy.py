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

The backward needs the logits, which are there anyway, and for each sample the largest logit m and
:math:`s = \sum_c e^{x_c - m}`; the log-probabilities are never kept. m and log s are never added: a rounding of
m + log s grows with the logits, and x - m has none where it matters. A class whose share is 0 costs nothing, even at
x = -∞, and a sample that does not count has gradient 0 whatever its logits are.

Shapes: N samples, C classes, any further dimensions d; input (N, C, d…) or (C,), target indices (N, d…) or (),
or distributions of the input's shape.

Source: J. S. Bridle 1990; label smoothing: Szegedy et al., "Rethinking the Inception Architecture", 2016.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import describe, floating, overridable, tensor
from scratchnet.function import Function, reuse, rowwise
from scratchnet.losses.class_targets import CLASS, ClassTargets, check_smoothing, check_weight, checked
from scratchnet.losses.reduction import reduce, reduction_of, unreduce, weighted

__all__ = ["IndexCrossEntropyFunction", "ProbabilityCrossEntropyFunction", "cross_entropy"]


class IndexCrossEntropyFunction(Function):
    """Cross entropy of logits and class indices. Saves its inputs, the largest logit and the sum of each sample."""

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
        """The log-sum less the target's logit, and less the mean logit where labels are smoothed."""
        top, total = _sum_exp(x)
        above = torch.log(total)
        targets = ClassTargets.of(target, weight, ignore_index, x.dtype)
        losses = targets.weighted(above - (targets.pick(x) - top))
        if smoothing:
            uniform = targets.counted(_weighted(_surprise(x, top, total), weight).sum(CLASS))
            losses = (1 - smoothing) * losses + smoothing * (uniform / x.shape[CLASS])
        return targets.average(losses, reduction), (x, target, weight, top, total)

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
        x, target, weight, top, exps = saved
        targets = ClassTargets.of(target, weight, ignore_index, x.dtype)
        upstream = targets.upstream(grad, reduction)
        total = (1 - smoothing) * targets.weighted(upstream)
        at_target = -total
        if smoothing:
            share = smoothing * (targets.counted(upstream) / x.shape[CLASS])
            total = total + share * (x.shape[CLASS] if weight is None else weight.sum())
        uncounted = targets.uncounted(smoothing)
        columns = (top, total / exps, targets.labels, at_target, uncounted)
        grad_x = rowwise(_gradient, x, *(None if t is None else t.unsqueeze(CLASS) for t in columns))
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
        x, target, weight, top, exps = saved
        tangent = tangents[0]
        targets = ClassTargets.of(target, weight, ignore_index, x.dtype)
        mean = (torch.exp(x - top.unsqueeze(CLASS)) * tangent).sum(CLASS) / exps
        changes = targets.weighted(mean - targets.pick(tangent))
        if smoothing:
            uniform = targets.counted(_weighted(mean.unsqueeze(CLASS) - tangent, weight).sum(CLASS))
            changes = (1 - smoothing) * changes + smoothing * (uniform / x.shape[CLASS])
        return targets.average(changes, reduction)


class ProbabilityCrossEntropyFunction(Function):
    """Cross entropy of logits and target distributions. Saves its inputs, the largest logits and the sums."""

    autocast = "float32"

    @staticmethod
    def forward(
        x: Tensor, target: Tensor, weight: Tensor | None, *, smoothing: float, reduction: str
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """The target's mean of the weighted surprise."""
        top, total = _sum_exp(x)
        q = _smoothed(target, smoothing)
        losses = (q * _weighted(_surprise(x, top, total), weight)).masked_fill(q == 0, 0).sum(CLASS)
        return reduce(losses, reduction), (x, target, weight, top, total)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, smoothing: float, reduction: str
    ) -> tuple[Tensor | None, Tensor | None, None]:
        """Gradients of the logits, p Σ q w - q w, and of the target, the weighted surprise."""
        x, target, weight, top, total = saved
        upstream = unreduce(grad, top, reduction).expand(top.shape).unsqueeze(CLASS)
        qw = _weighted(_smoothed(target, smoothing), weight)
        grad_x = grad_target = None
        if needs[0]:
            grad_x = (upstream * (_softmax(x, top, total) * qw.sum(CLASS, keepdim=True) - qw)).contiguous()
        if needs[1]:
            grad_target = ((1 - smoothing) * upstream * _weighted(_surprise(x, top, total), weight)).contiguous()
        return grad_x, grad_target, None

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, smoothing: float, reduction: str) -> Tensor:
        """Both slopes, each times its tangent."""
        x, target, weight, top, total = saved
        qw = _weighted(_smoothed(target, smoothing), weight)
        slope = _softmax(x, top, total) * qw.sum(CLASS, keepdim=True) - qw
        change = slope * tangents[0] + (1 - smoothing) * _weighted(_surprise(x, top, total), weight) * tangents[1]
        return reduce(change.sum(CLASS), reduction)


def _sum_exp(x: Tensor) -> tuple[Tensor, Tensor]:
    """The largest logit m over the classes, and Σ exp(x - m)."""
    if x.numel() == 0:
        return x.sum(CLASS), x.sum(CLASS)
    top, total = rowwise(_shifted_sum_exp, x)
    return top.squeeze(CLASS), total.squeeze(CLASS)


def _shifted_sum_exp(x: Tensor) -> tuple[Tensor, Tensor]:
    top = x.amax(CLASS, keepdim=True).detach()
    return top, reuse(torch.exp, x - top).sum(CLASS, keepdim=True)


def _gradient(
    x: Tensor, top: Tensor, factor: Tensor, labels: Tensor, at_label: Tensor, uncounted: Tensor | None
) -> Tensor:
    """Returns exp(x - m) · factor, plus ``at_label`` at each sample's label; 0 for a sample that does not count."""
    grad = reuse(torch.mul, reuse(torch.exp, x - top), factor)
    grad = reuse(torch.scatter_add, grad, CLASS, labels, at_label)
    return (grad if uncounted is None else grad.masked_fill(uncounted, 0)).contiguous()


def _surprise(x: Tensor, top: Tensor, total: Tensor) -> Tensor:
    """log s - (x - m): the negative log-probability of each class."""
    return torch.log(total).unsqueeze(CLASS) - (x - top.unsqueeze(CLASS))


def _softmax(x: Tensor, top: Tensor, total: Tensor) -> Tensor:
    return torch.exp(x - top.unsqueeze(CLASS)) / total.unsqueeze(CLASS)


def _weighted(x: Tensor, weight: Tensor | None) -> Tensor:
    """Each class times its weight; 0 for a weight of 0."""
    return x if weight is None else weighted(x, weight.view(-1, *(1,) * (x.dim() - 2)))


def _smoothed(target: Tensor, smoothing: float) -> Tensor:
    return target if not smoothing else (1 - smoothing) * target + smoothing / max(target.shape[CLASS], 1)


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
    return losses.squeeze(0) if alone and reduction == "none" else losses


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
