r"""Losses of labels that are -1 or 1: whether a score is positive, whether two are alike, which of two is larger.

With a label y and a margin m:

.. math::
    L_\text{soft} = \log (1 + e^{-y x})
    \qquad \frac{\partial L}{\partial x} = -y \, \sigma(-y x)

    L_\text{hinge} = \begin{cases} x & y = 1 \\ \max(0, m - x) & y = -1 \end{cases}
    \qquad \frac{\partial L}{\partial x} = \begin{cases} 1 & y = 1 \\ -[x \le m] & y = -1 \end{cases}

    L_\text{rank} = \max(0, v), \quad v = m - y (x_1 - x_2)
    \qquad \frac{\partial L}{\partial x_1} = -y [v \ge 0] = -\frac{\partial L}{\partial x_2}
    \qquad \frac{\partial L}{\partial y} = -(x_1 - x_2) [v \ge 0]

The hinge embedding loss takes x for a distance: like pairs are drawn together, unlike ones pushed out to the
margin; another label than -1 and 1 gets both terms. Where a hinge bends, the slope is that of the side that
costs, as in PyTorch. The soft margin is computed as ``max(-yx, 0) + log(1 + exp(-|yx|))``, which does not overflow.

Source: Hadsell, Chopra and LeCun, "Dimensionality Reduction by Learning an Invariant Mapping", 2006 (embedding);
R. Herbrich et al., "Large Margin Rank Boundaries for Ordinal Regression", 2000 (ranking).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import describe, floating, overridable
from scratchnet.losses.binary import sigmoid_of_negative, softplus_of_negative
from scratchnet.losses.pointwise import PointwiseLoss, aligned, numbers, promoted_together
from scratchnet.losses.reduction import constant_weight, reduction_of

__all__ = [
    "HingeEmbeddingLossFunction",
    "MarginRankingLossFunction",
    "SoftMarginLossFunction",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "soft_margin_loss",
]


class SoftMarginLossFunction(PointwiseLoss):
    """The logistic loss of a score and a label. Saves its inputs; the label is a constant."""

    @staticmethod
    def value(x: Tensor, target: Tensor) -> Tensor:
        """The softplus of the negative product."""
        return torch.log1p(torch.exp(-target * x)) if x.is_complex() else softplus_of_negative(target * x)

    @staticmethod
    def slopes(x: Tensor, target: Tensor, *, needs: Sequence[bool]) -> tuple[Tensor, None]:
        """-y σ(-y x)."""
        gate = 1 / (1 + torch.exp(target * x)) if x.is_complex() else sigmoid_of_negative(target * x)
        return -target * gate, None


class HingeEmbeddingLossFunction(PointwiseLoss):
    """The loss of distances between like and unlike pairs. Saves its inputs; the label is a constant."""

    @staticmethod
    def value(x: Tensor, target: Tensor, *, margin: float) -> Tensor:
        """The distance of what is alike, and how far inside the margin what is unlike lies."""
        apart = (margin - x).to(x.dtype).clamp(min=0)
        return torch.where(target == -1, 0, x) + torch.where(target == 1, 0, apart)

    @staticmethod
    def slopes(x: Tensor, target: Tensor, *, needs: Sequence[bool], margin: float) -> tuple[Tensor, None]:
        """1 for what is alike, -1 for what is unlike and inside the margin."""
        return (target != -1).to(x.dtype) - ((target != 1) & (margin - x >= 0)).to(x.dtype), None


class MarginRankingLossFunction(PointwiseLoss):
    """The hinge loss of the difference of two scores. Saves its inputs."""

    @staticmethod
    def value(x1: Tensor, x2: Tensor, target: Tensor, *, margin: float) -> Tensor:
        """By how much the right order falls short of the margin."""
        return (margin - target * (x1 - x2)).clamp(min=0)

    @staticmethod
    def slopes(
        x1: Tensor, x2: Tensor, target: Tensor, *, needs: Sequence[bool], margin: float
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Returns the label for the scores and their difference for the label, where the margin is violated."""
        difference = x1 - x2
        kept = ~(margin - target * difference >= 0)  # NaN has the slope 0, as in PyTorch
        slope_x2 = target.masked_fill(kept, 0)
        slope_target = -difference.masked_fill(kept, 0) if needs[2] else None
        return -slope_x2 if needs[0] else None, slope_x2 if needs[1] else None, slope_target


@overridable
def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The logistic loss of scores for labels -1 and 1.

    Args:
        input: scores of any shape.
        target: labels -1 and 1, constants, of a shape that broadcasts with the input's.
        size_average: deprecated.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Returns:
        A scalar, or a tensor of the broadcast shape for ``reduction="none"``.

    Raises:
        TypeError: if an argument is no tensor.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if the target requires grad, or the shapes cannot be broadcast.
        ValueError: if ``reduction`` is unknown.
    """
    op = "soft_margin_loss"
    reduction = reduction_of(op, reduction, size_average, reduce)
    x, target = aligned(op, input=floating(op, input, complex=True), target=target)
    if x.shape != input.shape:
        raise RuntimeError(
            f"{op}: expected a target that broadcasts to the input's shape, got {describe(target)} for "
            f"{describe(input)}; expand the input"
        )
    constant_weight(op, target, "target")
    losses = SoftMarginLossFunction.apply(*promoted_together(op, x, target, complex=True), reduction)
    return losses.to(x.dtype)


@overridable
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The loss of distances between pairs that are alike (1) or not (-1).

    Args:
        input: distances, of any shape.
        target: labels -1 and 1 of a shape that broadcasts with the input's.
        margin: how far apart unlike pairs should be.
        size_average: deprecated.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Returns:
        A scalar, or a tensor of the broadcast shape for ``reduction="none"``.

    Raises:
        TypeError: if an argument is no tensor or ``margin`` no number.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if the shapes cannot be broadcast.
        ValueError: if ``reduction`` is unknown.
    """
    op = "hinge_embedding_loss"
    reduction = reduction_of(op, reduction, size_average, reduce)
    x, target = aligned(op, input=floating(op, input, integer=reduction != "mean"), target=target)
    return HingeEmbeddingLossFunction.apply(x, target, margin, reduction)


@overridable
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The hinge loss of which of two scores should be the larger one.

    Args:
        input1: scores of any shape.
        input2: scores to compare them with.
        target: 1 where the first should be larger, -1 where the second should. All three have as many dimensions
            and broadcast together.
        margin: by how much it should be larger.
        size_average: deprecated.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Returns:
        A scalar, or a tensor of the broadcast shape for ``reduction="none"``.

    Raises:
        TypeError: if an argument is no tensor or ``margin`` no number.
        RuntimeError: if the numbers of dimensions differ, or the shapes cannot be broadcast.
        ValueError: if ``reduction`` is unknown.
    """
    op = "margin_ranking_loss"
    reduction = reduction_of(op, reduction, size_average, reduce)
    x1, x2, y = numbers(op, input1=input1, input2=input2, target=target).values()
    if not x1.dim() == x2.dim() == y.dim():
        raise RuntimeError(
            f"{op}: expected inputs and target with the same number of dimensions, got {describe(x1)}, "
            f"{describe(x2)} and {describe(y)}; use unsqueeze to make them equal"
        )
    x1, x2, y = promoted_together(op, *aligned(op, input1=x1, input2=x2, target=y))
    return MarginRankingLossFunction.apply(x1, x2, y, margin, reduction)
