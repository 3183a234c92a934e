"""Targets that are class indices: which samples count and how much, and what is wrong with them if anything is.

Shapes: N samples, C classes, any further dimensions d; scores (N, C, d…) or (C,), targets (N, d…) or ().
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from scratchnet.arguments import autocasts, describe, floating, tensor
from scratchnet.function import readable
from scratchnet.losses.reduction import constant_weight, reduce

__all__ = ["CLASS", "ClassTargets", "check_smoothing", "check_weight", "checked"]

CLASS = 1


class ClassTargets(NamedTuple):
    """The targets of a batch.

    Attributes:
        labels: the class of each sample, some valid one where it is ignored.
        scale: the weight of each sample, 0 where it is ignored; None where all are 1.
        kept: whether each sample counts; None where all do.
    """

    labels: Tensor
    scale: Tensor | None
    kept: Tensor | None

    @classmethod
    def of(
        cls, target: Tensor, weight: Tensor | None, ignore_index: int | None, dtype: torch.dtype
    ) -> ClassTargets:
        """From class indices and the weights of classes.

        Args:
            target: the class indices.
            weight: the weight of each class.
            ignore_index: samples with this target count for nothing; None where there is none such.
            dtype: of the losses.
        """
        if ignore_index is None:
            return cls(target, None if weight is None else weight[target], None)
        kept = target != ignore_index
        labels = target.masked_fill(~kept, 0)
        return cls(labels, kept.to(dtype) if weight is None else weight[labels] * kept, kept)

    def pick(self, x: Tensor) -> Tensor:
        """The element of each sample's class."""
        return x.gather(CLASS, self.labels.unsqueeze(CLASS)).squeeze(CLASS)

    def counted(self, x: Tensor) -> Tensor:
        """One number for each sample, and 0 for one that is ignored, whatever its number is."""
        return x if self.kept is None else x.masked_fill(~self.kept, 0)

    def weighted(self, x: Tensor) -> Tensor:
        """One number for each sample that counts, times its weight; 0 for a weight of 0."""
        x = self.counted(x)
        return x if self.scale is None else (x * self.scale).masked_fill(self.scale == 0, 0)

    def uncounted(self, smoothing: float) -> Tensor | None:
        """Marks the ignored samples; a sample of weight 0 is not ignored where labels are smoothed."""
        if self.scale is not None and not smoothing:
            return self.scale == 0
        return None if self.kept is None else ~self.kept

    def average(self, losses: Tensor, reduction: str) -> Tensor:
        """Like `reduce`, but the mean divides by the weights: NaN where nothing counts."""
        if reduction == "mean" and self.scale is not None:
            return losses.sum() / self._divisor()
        return reduce(losses, reduction)

    def upstream(self, grad: Tensor, reduction: str) -> Tensor:
        """The adjoint of `average`: the gradient that comes to each sample's weighted loss."""
        return self._share(grad, reduction).expand(self.labels.shape)

    def factor(self, grad: Tensor, reduction: str) -> Tensor:
        """The gradient that comes to each weighted loss that counts, in one number: 0 where none does."""
        if self.labels.numel() == 0:
            return torch.zeros_like(grad)
        factor = self._share(grad, reduction)
        return factor if self.kept is None else factor.masked_fill(~self.kept.any(), 0)

    def _share(self, grad: Tensor, reduction: str) -> Tensor:
        """Returns the upstream gradient of each weighted loss that counts."""
        return grad / self._divisor() if reduction == "mean" else grad

    def _divisor(self) -> Tensor | int:
        """Returns the sum of the samples' weights, which the mean divides by."""
        return self.labels.numel() if self.scale is None else self.scale.sum()


def checked(
    op: str, input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int
) -> tuple[Tensor, Tensor, bool, int | None]:
    """Input and class indices with a batch dimension, whether they came without, and the index to be ignored.

    None in the place of the last says that no sample is known to have it.
    """
    x, target = floating(op, input), tensor(op, target, "target")
    if x.dim() == 0:
        raise ValueError(f"{op}: expected an input of shape (N, C, …) or (C,), got {describe(x)}")
    if target.dtype not in (torch.int64, torch.uint8):
        raise RuntimeError(f"{op}: expected int64 class indices as target, got {describe(target)}; use .long()")
    alone = x.dim() == 1
    if alone:
        if target.numel() != 1 or target.dim() > 1:
            raise ValueError(f"{op}: expected one target for an input of shape (C,), got {describe(target)}")
        x, labels = x.unsqueeze(0), target.reshape(1)
    else:
        labels = target
        if target.dim() and target.shape[0] != x.shape[0]:
            raise ValueError(
                f"{op}: expected as many targets as samples, got {describe(target)} for {describe(x)}"
            )
        expected = (x.shape[0], *x.shape[2:])
        if target.shape != expected:
            raise RuntimeError(
                f"{op}: expected target indices of shape {expected} for {describe(x)}, got {describe(target)}"
            )
    if x.shape[CLASS] == 0 and labels.numel():
        raise IndexError(f"{op}: expected an input with classes, got {describe(input)}")
    check_weight(op, weight, x)
    return x, labels.long(), alone, _ignored_among(op, labels, x.shape[CLASS], ignore_index)


def _ignored_among(op: str, labels: Tensor, classes: int, ignore_index: int) -> int | None:
    """The index to be ignored, None if all labels are known to be classes that count."""
    if not readable(labels) or labels.numel() == 0:
        return ignore_index
    lowest, highest = labels.amin().item(), labels.amax().item()
    if 0 <= lowest and highest < classes:
        return ignore_index if lowest <= ignore_index <= highest else None
    outside = (labels != ignore_index) & ((labels < 0) | (labels >= classes))
    if bool(outside.any()):
        raise IndexError(
            f"{op}: expected class indices from 0 to {classes - 1}, got {labels[outside][0].item()}; the input "
            f"has {classes} classes in dimension 1"
        )
    return ignore_index


def check_weight(op: str, weight: Tensor | None, x: Tensor) -> None:
    """Complains of weights that are not one for each class, in the dtype of the scores, and constant.

    Raises:
        RuntimeError: if the shape or the dtype does not fit, or they require grad.
    """
    if weight is None:
        return
    if weight.shape != (x.shape[CLASS],):
        raise RuntimeError(
            f"{op}: expected weight of shape ({x.shape[CLASS]},), one for each class, got {describe(weight)}"
        )
    if weight.dtype is not x.dtype and not autocasts(x):
        raise RuntimeError(f"{op}: expected weight in the input's dtype {x.dtype}, got {describe(weight)}")
    constant_weight(op, weight)


def check_smoothing(op: str, label_smoothing: float) -> None:
    """Complains of a share that is none.

    Raises:
        RuntimeError: if it is below 0 or above 1.
    """
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"{op}: expected label_smoothing between 0 and 1, got {label_smoothing}")
