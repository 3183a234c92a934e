r"""The triplet loss: an anchor should be nearer to its like than to what is unlike.

With distances d and a margin m, and with the swap on, the nearer of anchor and positive to the negative:

.. math::
    L = \max(0, v), \quad v = m + d(a, p) - \min\{d(a, n), d(p, n)\}
    \qquad \frac{\partial L}{\partial d(a, p)} = [v \ge 0]
    \qquad \frac{\partial L}{\partial d(a, n)} = -[v \ge 0] \, [d(a, n) < d(p, n)]

Two equal distances to the negative share the slope. The distance is a p-norm, or any function.

Sources: Schroff, Kalenichenko and Philbin, "FaceNet", CVPR 2015; the swap: Balntas et al., "Learning Local Feature
Descriptors with Triplets and Shallow Convolutional Neural Networks", BMVC 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from scratchnet.arguments import autocasts, describe, overridable, tensor
from scratchnet.function import LOW_PRECISION
from scratchnet.losses.pointwise import PointwiseLoss, numbers, promoted_together
from scratchnet.losses.reduction import reduction_of
from scratchnet.similarity.distance import pairwise_distance

__all__ = ["SwappedTripletFunction", "TripletFunction", "triplet_margin_loss", "triplet_margin_with_distance_loss"]

Distance = Callable[[Tensor, Tensor], Tensor]


class TripletFunction(PointwiseLoss):
    """The hinge of the distances to the positive and to the negative. Saves both."""

    autocast = None

    @staticmethod
    def value(positive: Tensor, negative: Tensor, *, margin: float) -> Tensor:
        """By how much the negative is too near."""
        return (margin + positive - negative).clamp(min=0)

    @staticmethod
    def slopes(
        positive: Tensor, negative: Tensor, *, needs: Sequence[bool], margin: float
    ) -> tuple[Tensor, Tensor]:
        """1 and -1 where the margin is not kept."""
        costs = (margin + positive - negative >= 0).to(positive.dtype)
        return costs, -costs


class SwappedTripletFunction(PointwiseLoss):
    """The hinge with the nearer of two distances to the negative. Saves all three."""

    autocast = None

    @staticmethod
    def value(positive: Tensor, negative: Tensor, swapped: Tensor, *, margin: float) -> Tensor:
        """By how much the negative is too near to one of the others."""
        return (margin + positive - torch.minimum(negative, swapped)).clamp(min=0)

    @staticmethod
    def slopes(
        positive: Tensor, negative: Tensor, swapped: Tensor, *, needs: Sequence[bool], margin: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """1, and -1 for the nearer of the two, half of it for each of two equal ones."""
        costs = (margin + positive - torch.minimum(negative, swapped) >= 0).to(positive.dtype)
        share = (negative < swapped).to(costs.dtype) + 0.5 * (negative == swapped).to(costs.dtype)
        return costs, -costs * share, -costs * (1 - share)


@overridable
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The triplet loss of p-norm distances.

    Args:
        anchor: vectors of shape ``(…, D)``.
        positive: vectors that are like them, of a shape that broadcasts with the anchor's.
        negative: vectors that are not.
        margin: by how much farther the negative should be, more than 0.
        p: which norm of the difference is the distance.
        eps: added to each difference.
        swap: also compare the negative with the positive, and take the nearer one.
        size_average: deprecated.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Returns:
        A scalar, or a tensor of the broadcast shape without its last dimension for ``reduction="none"``.

    Raises:
        TypeError: if an argument is no tensor.
        ValueError: if ``margin`` is not positive or ``reduction`` unknown.
        RuntimeError: if the numbers of dimensions differ, or the shapes cannot be broadcast.
    """
    op = "triplet_margin_loss"
    reduction = reduction_of(op, reduction, size_average, reduce)
    _check(op, anchor, positive, negative, margin)
    numbers(op, anchor=anchor, positive=positive, negative=negative)
    given = promoted_together(op, anchor, positive, negative, complex=True)
    if autocasts(anchor) and torch.float64 not in (x.dtype for x in given):
        given = [x.float() for x in given]
    return _rounded_once(op, given, lambda a, b: pairwise_distance(a, b, p, eps), margin, swap, reduction)


@overridable
def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Distance | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """The triplet loss of any distance.

    Args:
        anchor: tensor whose shape the distance takes.
        positive: what is like it, with as many dimensions.
        negative: what is not.
        distance_function: gives a tensor of distances for two tensors; by default the Euclidean distance of
            vectors along the last dimension.
        margin: by how much farther the negative should be, more than 0.
        swap: also compare the negative with the positive, and take the nearer one.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Returns:
        A scalar, or a tensor of the distances' shape for ``reduction="none"``.

    Raises:
        TypeError: if an argument is no tensor.
        ValueError: if ``margin`` is not positive or ``reduction`` unknown.
        RuntimeError: if the numbers of dimensions differ.
    """
    op = "triplet_margin_with_distance_loss"
    reduction = reduction_of(op, reduction)
    _check(op, anchor, positive, negative, margin)
    if distance_function is not None and not callable(distance_function):
        raise TypeError(f"{op}: expected distance_function to be callable, got {describe(distance_function)}")
    if distance_function is None:
        return _rounded_once(op, (anchor, positive, negative), pairwise_distance, margin, swap, reduction)
    return _compare(op, (anchor, positive, negative), distance_function, margin, swap, reduction)


def _check(op: str, anchor: Tensor, positive: Tensor, negative: Tensor, margin: float) -> None:
    for value, name in ((anchor, "anchor"), (positive, "positive"), (negative, "negative")):
        tensor(op, value, name)
    if margin <= 0:
        raise ValueError(f"{op}: expected margin to be more than 0, got {describe(margin)}")
    if not anchor.dim() == positive.dim() == negative.dim():
        raise RuntimeError(
            f"{op}: expected anchor, positive and negative with the same number of dimensions, got "
            f"{describe(anchor)}, {describe(positive)} and {describe(negative)}; use unsqueeze to make them equal"
        )


def _rounded_once(
    op: str, given: Sequence[Tensor], distance: Distance, margin: float, swap: bool, reduction: str
) -> Tensor:
    """`_compare` with a distance of ours, in float32 where a short dtype would leave few digits of differences."""
    dtype = given[0].dtype
    if dtype not in LOW_PRECISION or any(x.dtype is not dtype for x in given) or autocasts(given[0]):
        return _compare(op, given, distance, margin, swap, reduction)
    return _compare(op, [x.float() for x in given], distance, margin, swap, reduction).to(dtype)


def _compare(
    op: str,
    given: Sequence[Tensor],
    distance_function: Distance,
    margin: float,
    swap: bool,
    reduction: str,
) -> Tensor:
    """The loss of the distances between anchor, positive and negative."""
    anchor, positive, negative = given
    distances = [distance_function(anchor, positive), distance_function(anchor, negative)]
    if swap:
        distances.append(distance_function(positive, negative))
    function = SwappedTripletFunction if swap else TripletFunction
    return function.apply(*torch.broadcast_tensors(*promoted_together(op, *distances)), margin, reduction)
