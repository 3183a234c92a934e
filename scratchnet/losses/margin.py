r"""The multi-class hinge loss.

With :math:`z_c = m - x_y + x_c` for every class c but the target y:

.. math::
    L = \frac{w_y}{C} \sum_{c \ne y} \max(0, z_c)^p
    \qquad \frac{\partial L}{\partial x_c} = \frac{w_y}{C}\, p \max(0, z_c)^{p - 1} [z_c > 0]
    \qquad \frac{\partial L}{\partial x_y} = -\sum_{c \ne y} \frac{\partial L}{\partial x_c}

A class that the target beats by more than the margin m costs nothing and learns nothing.

Source: Crammer and Singer, "On the Algorithmic Implementation of Multiclass Kernel-based Vector Machines", 2001.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import describe, floating, overridable, tensor
from scratchnet.function import Function, readable, reuse
from scratchnet.losses.reduction import constant_weight, mean_or_zero, reduction_of, unreduce

__all__ = ["MultiMarginLossFunction", "multi_margin_loss"]


class MultiMarginLossFunction(Function):
    """The hinge loss of scores and class indices. Saves its inputs."""

    autocast = "float32"

    @staticmethod
    def forward(
        x: Tensor, target: Tensor, weight: Tensor | None, *, p: int, margin: float, reduction: str
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """The mean over classes of the violations' p-th power."""
        z = _violations(x, target, margin)
        losses = z if p == 1 else z * z
        losses = losses if weight is None else losses * _class_weight(x, target, weight)
        return mean_or_zero(losses.sum(1) / x.shape[1], reduction), (x, target, weight)

    @staticmethod
    def backward(
        grad: Tensor,
        saved: Sequence[Tensor],
        needs: Sequence[bool],
        *,
        p: int,
        margin: float,
        reduction: str,
    ) -> tuple[Tensor, None, None]:
        """Each violating class pushes its own score down and the target's up by as much."""
        x, target, weight = saved
        upstream = unreduce(grad, target, reduction).expand(target.shape).unsqueeze(1)
        push = reuse(
            torch.mul, _slopes(x, target, margin, p), _class_weight(x, target, weight) / x.shape[1] * upstream
        )
        grad_x = reuse(torch.scatter_add, push, 1, target.unsqueeze(1), -push.sum(1, keepdim=True))
        return grad_x.contiguous(), None, None

    @staticmethod
    def jvp(
        tangents: Sequence[Tensor], saved: Sequence[Tensor], *, p: int, margin: float, reduction: str
    ) -> Tensor:
        """Each violation changes by the difference of its score's tangent and the target's."""
        x, target, weight = saved
        change = tangents[0] - tangents[0].gather(1, target.unsqueeze(1))
        slopes = _slopes(x, target, margin, p) * _class_weight(x, target, weight)
        return mean_or_zero((slopes * change).sum(1) / x.shape[1], reduction)


def _violations(x: Tensor, target: Tensor, margin: float) -> Tensor:
    """max(0, margin - target's score + score), zero at the target itself and, as in PyTorch, for NaN."""
    place = target.unsqueeze(1)
    z = reuse(_positive, margin - x.gather(1, place) + x)
    return reuse(torch.scatter, z, 1, place, 0)


def _positive(z: Tensor, **out: Tensor) -> Tensor:
    return torch.where(z > 0, z, z.new_zeros(()), **out)


def _slopes(x: Tensor, target: Tensor, margin: float, p: int) -> Tensor:
    z = _violations(x, target, margin)
    return (z > 0).to(x.dtype) if p == 1 else 2 * z


def _class_weight(x: Tensor, target: Tensor, weight: Tensor | None) -> Tensor | float:
    return 1.0 if weight is None else weight[target].unsqueeze(1)


@overridable
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The hinge loss over classes.

    Args:
        input: scores of shape ``(N, C)`` or ``(C,)``.
        target: class indices of shape ``(N,)`` or ``()``.
        p: the power of the violations, 1 or 2.
        margin: by how much the target's score has to exceed the others.
        weight: a constant of shape ``(C,)``: the weight of each target class.
        size_average: deprecated.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Returns:
        A scalar, or a tensor of the target's shape for ``reduction="none"``.

    Raises:
        TypeError: if an argument is no tensor.
        NotImplementedError: if the input is not floating point.
        ValueError: if ``p``, ``reduction`` or the number of the weight's dimensions is wrong.
        RuntimeError: if a shape or the target's dtype does not fit, or a target is no class.
    """
    op = "multi_margin_loss"
    reduction = reduction_of(op, reduction, size_average, reduce)
    x, target = floating(op, input), tensor(op, target, "target")
    if p not in (1, 2):
        raise ValueError(f"{op}: expected p to be 1 or 2, got {describe(p)}")
    if weight is not None and weight.dim() != 1:
        raise ValueError(f"{op}: expected a weight of one dimension, got {describe(weight)}")
    if x.dim() > 2 or (x.dim() and x.shape[-1] == 0):
        raise RuntimeError(f"{op}: expected an input of shape (N, C) or (C,) with classes, got {describe(x)}")
    if target.dtype is not torch.int64:
        raise RuntimeError(f"{op}: expected int64 class indices as target, got {describe(target)}; use .long()")
    scores = x.reshape(1, -1) if x.dim() < 2 else x
    samples, classes = scores.shape
    if target.dim() > 1 or target.numel() != samples:
        raise RuntimeError(f"{op}: expected {samples} target(s) for {describe(x)}, got {describe(target)}")
    if weight is not None and weight.numel() != classes:
        raise RuntimeError(f"{op}: expected a weight for each of {classes} classes, got {describe(weight)}")
    labels = target.reshape(samples)
    if readable(labels) and samples and bool(((labels < 0) | (labels >= classes)).any()):
        raise RuntimeError(
            f"{op}: expected class indices from 0 to {classes - 1}, got target values from "
            f"{labels.min().item()} to {labels.max().item()}"
        )
    losses = MultiMarginLossFunction.apply(scores, labels, constant_weight(op, weight), p, margin, reduction)
    return losses.view(target.shape) if reduction == "none" else losses
