r"""Losses of samples that belong to several classes at once.

The hinge loss over the labels y of a sample and all classes that are not among them:

.. math::
    L = \frac1C \sum_{j} \sum_{c \notin y} \max(0, z_{jc}), \quad z_{jc} = 1 - x_{y_j} + x_c
    \qquad \frac{\partial L}{\partial x_c} = \frac1C \sum_j [z_{jc} > 0]
    \qquad \frac{\partial L}{\partial x_{y_j}} = -\frac1C \sum_{c \notin y} [z_{jc} > 0]

The labels of a sample stand at the front of its row of targets, and -1 ends them.

The soft one is the binary cross entropy of every class, with class weights w, averaged over the classes:

.. math::
    L = \frac1C \sum_c w_c \left((1 - t_c) \log (1 + e^{x_c}) + t_c \log (1 + e^{-x_c})\right)
    \qquad \frac{\partial L}{\partial x_c} = \frac{w_c}{C} \left((1 - t_c) \sigma(x_c) - t_c \sigma(-x_c)\right)
    \qquad \frac{\partial L}{\partial t_c} = -\frac{w_c}{C} x_c

Shapes: N samples, C classes, K labels at most of a sample; input and target (N, C) or (C,); of the soft one also
with any further dimensions in front.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import describe, floating, overridable, tensor
from scratchnet.function import Function, readable
from scratchnet.losses.binary import loss_of_logit, slope_of_logit
from scratchnet.losses.pointwise import aligned, numbers, promoted_together
from scratchnet.losses.reduction import mean_or_zero, reduce, reduction_of, unreduce, weighted

__all__ = [
    "MultiLabelMarginLossFunction",
    "MultiLabelSoftMarginLossFunction",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
]


class MultiLabelMarginLossFunction(Function):
    """The hinge loss of scores and lists of labels. Saves its inputs."""

    autocast = "float32"

    @staticmethod
    def forward(
        x: Tensor, labels: Tensor, listed: Tensor, absent: Tensor, *, reduction: str
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The sum of the violations, over the number of classes."""
        losses = _violations(x, labels, listed, absent).sum((1, 2)) / x.shape[1]
        return mean_or_zero(losses, reduction), (x, labels, listed, absent)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, reduction: str
    ) -> tuple[Tensor, None, None, None]:
        """Each violation pushes the class's score down and the label's up by as much."""
        x, labels, listed, absent = saved
        upstream = unreduce(grad, x[:, 0], reduction).expand(x.shape[0]) / x.shape[1]
        push = (_violations(x, labels, listed, absent) > 0).to(x.dtype)
        slope = push.sum(1).scatter_add(1, labels, -push.sum(2))
        return slope * upstream.unsqueeze(1), None, None, None

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, reduction: str) -> Tensor:
        """Each violation changes by the difference of the two scores' tangents."""
        x, labels, listed, absent = saved
        tangent = tangents[0]
        change = tangent.unsqueeze(1) - tangent.gather(1, labels).unsqueeze(2)
        violated = _violations(x, labels, listed, absent) > 0
        return mean_or_zero((change * violated).sum((1, 2)) / x.shape[1], reduction)


def _violations(x: Tensor, labels: Tensor, listed: Tensor, absent: Tensor) -> Tensor:
    """max(0, 1 - label's score + class's score) of each label and each class that is no label: (N, K, C)."""
    z = 1 - x.gather(1, labels).unsqueeze(2) + x.unsqueeze(1)
    # NaN violates nothing, as in PyTorch.
    return torch.where((z > 0) & listed.unsqueeze(2) & absent.unsqueeze(1), z, 0)


class MultiLabelSoftMarginLossFunction(Function):
    """The mean over classes of their binary cross entropies. Saves its inputs."""

    autocast = "float32_on_cuda"

    @staticmethod
    def forward(
        x: Tensor, target: Tensor, weight: Tensor | None, *, classes: int, reduction: str
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """The weighted sum of binary cross entropies, over the number of classes."""
        losses = weighted(loss_of_logit(x, target), weight)
        return reduce(losses.sum(-1) / classes, reduction), (x, target, weight)

    @staticmethod
    def backward(
        grad: Tensor,
        saved: Sequence[Tensor],
        needs: Sequence[bool],
        *,
        classes: int,
        reduction: str,
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Slopes: (1 - t) σ(x) - t σ(-x) in the logit, -x in the target, both weighted; the loss in the weight."""
        x, target, weight = saved
        samples = x[..., :0].sum(-1)  # as many as there are losses, though there may be no class
        upstream = (unreduce(grad, samples, reduction) / classes).unsqueeze(-1)
        grad_x = weighted(upstream * slope_of_logit(x, target), weight).contiguous() if needs[0] else None
        grad_target = weighted(upstream * -x, weight).contiguous() if needs[1] else None
        grad_weight = upstream * loss_of_logit(x, target) if needs[2] else None
        return grad_x, grad_target, grad_weight

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, classes: int, reduction: str) -> Tensor:
        """Every slope times its tangent."""
        x, target, weight = saved
        tangent_x, tangent_target, tangent_weight = tangents
        change = slope_of_logit(x, target) * tangent_x - x * tangent_target
        if weight is not None:
            change = weighted(change, weight) + loss_of_logit(x, target) * tangent_weight
        return reduce(change.sum(-1) / classes, reduction)


@overridable
def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The hinge loss between the scores of a sample's labels and those of all other classes.

    Args:
        input: scores of shape ``(N, C)`` or ``(C,)``.
        target: the classes of each sample, of the same shape: int64 indices, ended by -1 where fewer than C.
        size_average: deprecated.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Returns:
        A scalar, or a tensor of shape ``(N,)`` for ``reduction="none"``.

    Raises:
        TypeError: if an argument is no tensor.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if a shape or the target's dtype does not fit, or a target is no class.
        ValueError: if ``reduction`` is unknown.
    """
    op = "multilabel_margin_loss"
    reduction = reduction_of(op, reduction, size_average, reduce)
    x, target = floating(op, input), tensor(op, target, "target")
    if x.dim() > 2 or (x.dim() and x.shape[-1] == 0):
        raise RuntimeError(f"{op}: expected an input of shape (N, C) or (C,) with classes, got {describe(x)}")
    single = x.dim() + target.dim() == 1 and x.numel() == target.numel()  # of shapes () and (1,)
    if target.shape != x.shape and not single:
        raise RuntimeError(
            f"{op}: expected a target of the input's shape {tuple(x.shape)}, got {describe(target)}"
        )
    if target.dtype is not torch.int64:
        raise RuntimeError(f"{op}: expected int64 class indices as target, got {describe(target)}; use .long()")
    scores, labels = (t.reshape(1, -1) if x.dim() < 2 else t for t in (x, target))
    if readable(labels) and bool(((labels < -1) | (labels >= scores.shape[1])).any()):
        raise RuntimeError(
            f"{op}: expected class indices from 0 to {scores.shape[1] - 1}, or -1 to end them, got target values "
            f"from {labels.min().item()} to {labels.max().item()}"
        )
    losses = MultiLabelMarginLossFunction.apply(scores, *_lists(labels), reduction)
    return losses.squeeze(0) if x.dim() < 2 and reduction == "none" else losses


def _lists(target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The labels (N, K), which of them are listed, and the classes that are no label (N, C).

    The K columns that hold labels are few as a rule, and the loss takes memory for N · K · C violations.
    """
    listed = (target < 0).cumsum(1) == 0
    labels = target.masked_fill(~listed, 0)
    absent = torch.zeros_like(target).scatter_add(1, labels, listed.long()) == 0
    if readable(target) and target.numel():
        most = int(listed.sum(1).max())
        # Copies, since a view would keep all columns for the backward.
        labels, listed = labels[:, :most].clone(), listed[:, :most].clone()
    return labels, listed, absent


@overridable
def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The binary cross entropy of each class, averaged over the classes.

    Args:
        input: logits of shape ``(…, C)``.
        target: between 0 and 1, of a shape that broadcasts with the input's.
        weight: multiplies each cross entropy, broadcast to the input.
        size_average: deprecated.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Returns:
        A scalar, or a tensor of the input's shape without its last dimension for ``reduction="none"``.

    Raises:
        TypeError: if an argument is no tensor.
        NotImplementedError: if the input is not floating point.
        IndexError: if the input has no dimension of classes.
        RuntimeError: if the shapes cannot be broadcast.
        ValueError: if ``reduction`` is unknown.
    """
    op = "multilabel_soft_margin_loss"
    reduction = reduction_of(op, reduction, size_average, reduce)
    x = floating(op, input)
    if x.dim() == 0:
        raise IndexError(f"{op}: expected an input of shape (…, C), got {describe(x)}")
    given = {"input": x, "target": target} if weight is None else {"input": x, "target": target, "weight": weight}
    x, target, *weights = promoted_together(op, *aligned(op, **{**given, **numbers(op, target=target)}))
    function = MultiLabelSoftMarginLossFunction
    return function.apply(x, target, weights[0] if weights else None, input.shape[-1], reduction)
