"""From one loss per element or sample to what the user asked for: all of them, their sum or their mean."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from scratchnet.arguments import describe
from scratchnet.function import in_elementwise_strides

__all__ = ["REDUCTIONS", "constant_weight", "mean_or_zero", "reduce", "reduction_of", "unreduce", "weighted"]

REDUCTIONS = ("none", "mean", "sum")


def reduce(losses: Tensor, reduction: str) -> Tensor:
    """The losses themselves, their mean (NaN where there are none) or their sum."""
    return losses if reduction == "none" else losses.mean() if reduction == "mean" else losses.sum()


def mean_or_zero(losses: Tensor, reduction: str) -> Tensor:
    """Like `reduce`, but the mean of no samples is 0, as some built-ins have it."""
    return losses.sum() if reduction == "mean" and losses.numel() == 0 else reduce(losses, reduction)


def unreduce(grad: Tensor, losses: Tensor, reduction: str) -> Tensor:
    """The adjoint of `reduce`: the gradient of each loss, to be broadcast where it is the same for all."""
    return grad / max(losses.numel(), 1) if reduction == "mean" else grad


def weighted(x: Tensor, weight: Tensor | None) -> Tensor:
    """Multiplies each loss or slope by its weight; 0 for a weight of 0, even if it is infinite."""
    return x if weight is None else in_elementwise_strides(torch.where(weight == 0, 0, x * weight), (x,))


def reduction_of(op: str, reduction: str, size_average: bool | None = None, reduce: bool | None = None) -> str:
    """The reduction asked for, by PyTorch's present or its two deprecated arguments.

    Raises:
        ValueError: if it is none of ``"none"``, ``"mean"`` and ``"sum"``.
    """
    if size_average is not None or reduce is not None:
        average = size_average is None or size_average
        reduction = "none" if reduce is not None and not reduce else "mean" if average else "sum"
        warnings.warn(f"{op}: size_average and reduce are deprecated; use reduction='{reduction}'", stacklevel=4)
    if reduction not in REDUCTIONS:
        raise ValueError(f"{op}: expected reduction to be one of {REDUCTIONS}, got {describe(reduction)}")
    return reduction


def constant_weight(
    op: str, weight: Tensor | None, name: str = "weight", shape: torch.Size | None = None
) -> Tensor | None:
    """The weight, which scales the loss and is not learned, expanded to a shape if one is given.

    Raises:
        RuntimeError: if it requires grad, as the built-ins do, is complex, or cannot be expanded.
    """
    if weight is not None and weight.requires_grad and torch.is_grad_enabled():
        raise RuntimeError(
            f"{op}: expected {name} to be a constant, got one that requires grad; pass {name}.detach()"
        )
    if weight is None or shape is None:
        return weight
    if weight.is_complex():
        raise RuntimeError(f"{op}: expected {name} of real numbers, got {describe(weight)}; use .abs()")
    try:
        return weight.expand(shape)
    except RuntimeError:
        raise RuntimeError(
            f"{op}: expected {name} to broadcast to {tuple(shape)}, got {describe(weight)}"
        ) from None
