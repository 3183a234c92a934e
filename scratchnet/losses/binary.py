r"""Binary cross entropy, of probabilities and of logits.

Of a probability x and a target t, both in [0, 1], with both logarithms of the loss held above -100 and the
denominator of its slope above 1e-12:

.. math::
    L = -t \log x - (1 - t) \log (1 - x)
    \qquad \frac{\partial L}{\partial x} = \frac{x - t}{x (1 - x)}
    \qquad \frac{\partial L}{\partial t} = \log (1 - x) - \log x

Of a logit x, with the positive class weighted by p:

.. math::
    L = (1 - t) \log (1 + e^x) + t p \log (1 + e^{-x})
    \qquad \frac{\partial L}{\partial x} = (1 - t) \sigma(x) - t p \sigma(-x)
    \qquad \frac{\partial L}{\partial t} = (p - 1) \log (1 + e^{-x}) - x

Through the logit the sigmoid's saturation cancels, so a confident mistake still learns. The logarithm is
computed as :math:`\max(-x, 0) + \log(1 + e^{-|x|})`, which neither overflows nor loses small values. Neither class
is computed as 1 less the other, so loss and slope keep their digits however sure a right logit is, up to ±∞: there
the term whose share is 0 counts as 0.

Source: I. J. Good, "Rational Decisions", 1952; bounds and conventions as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.activations.sigmoid import LogisticFunction
from scratchnet.activations.softplus import positive_part
from scratchnet.arguments import autocasts, describe, floating, overridable, tensor
from scratchnet.function import Function, readable
from scratchnet.losses.pointwise import PointwiseLoss
from scratchnet.losses.reduction import constant_weight, reduce, reduction_of, unreduce, weighted

__all__ = [
    "BCELossFunction",
    "BCEWithLogitsLossFunction",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "loss_of_logit",
    "sigmoid_of_negative",
    "slope_of_logit",
    "softplus_of_negative",
]

LOG_FLOOR = -100.0
# The built-in's kernel holds this bound as a float32, in float64 too.
SLOPE_FLOOR = torch.tensor(1e-12, dtype=torch.float32).item()


class BCESlopeFunction(PointwiseLoss):
    """The slope of the loss by the probability, whose own slopes are sums that do not cancel. Saves its inputs."""

    @staticmethod
    def value(x: Tensor, target: Tensor) -> Tensor:
        """(x - t) / (x (1 - x)), with a bounded denominator."""
        return (x - target) / ((1 - x) * x).clamp(min=SLOPE_FLOOR)

    @staticmethod
    def slopes(x: Tensor, target: Tensor, *, needs: Sequence[bool]) -> tuple[Tensor | None, Tensor | None]:
        """t / x² + (1 - t) / (1 - x)², which is the inverse of a denominator at its bound; and minus the inverse."""
        denominator = (1 - x) * x
        inverse = 1 / denominator.clamp(min=SLOPE_FLOOR)
        if not needs[0]:
            return None, -inverse
        left, right = (1 - x) * inverse, x * inverse
        curvature = target * left * left + (1 - target) * right * right
        return torch.where(denominator < SLOPE_FLOOR, inverse, curvature), -inverse if needs[1] else None


class BCELossFunction(Function):
    """Binary cross entropy of probabilities. Saves its inputs."""

    autocast = "float32"

    @staticmethod
    def forward(
        x: Tensor, target: Tensor, weight: Tensor | None, *, reduction: str
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The target's mean of the two bounded logarithms."""
        losses = (target - 1) * torch.log1p(-x).clamp(min=LOG_FLOOR) - target * torch.log(x).clamp(min=LOG_FLOOR)
        return reduce(weighted(losses, weight), reduction), (x, target) if weight is None else (x, target, weight)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, reduction: str
    ) -> tuple[Tensor | None, Tensor | None, None]:
        """Gradients of the probability, by its slope, and of the target, by the difference of the logarithms."""
        x, target, *weight = saved
        scale = unreduce(grad, x, reduction)
        scale = scale * weight[0] if weight else scale
        grad_x = BCESlopeFunction.apply(x, target, "none") * scale if needs[0] else None
        grad_target = _slope_of_target(x) * scale if needs[1] else None
        return grad_x, grad_target, None

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, reduction: str) -> Tensor:
        """Both slopes, each times its tangent."""
        x, target, *weight = saved
        slope = BCESlopeFunction.apply(x, target, "none")
        change = slope * tangents[0] + _slope_of_target(x) * tangents[1]
        return reduce(change * weight[0] if weight else change, reduction)


def _slope_of_target(x: Tensor) -> Tensor:
    return torch.log1p(-x) - torch.log(x)


class BCEWithLogitsLossFunction(Function):
    """Binary cross entropy of logits. Saves its inputs."""

    autocast = "float32"

    @staticmethod
    def forward(
        x: Tensor, target: Tensor, weight: Tensor | None, pos_weight: Tensor | None, *, reduction: str
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """Both classes' losses, each times its share."""
        losses = weighted(loss_of_logit(x, target, pos_weight), weight)
        return reduce(losses, reduction), (x, target, weight, pos_weight)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, reduction: str
    ) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Slopes: (1 - t) σ(x) - t p σ(-x) in the logit, (p - 1) log(1 + exp(-x)) - x in the target."""
        x, target, weight, pos_weight = saved
        scale = unreduce(grad, x, reduction)
        grad_x = weighted(slope_of_logit(x, target, pos_weight) * scale, weight) if needs[0] else None
        grad_target = weighted(_slope_of_label(x, pos_weight) * scale, weight) if needs[1] else None
        return grad_x, grad_target, None, None

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, reduction: str) -> Tensor:
        """Both slopes, each times its tangent."""
        x, target, weight, pos_weight = saved
        change = slope_of_logit(x, target, pos_weight) * tangents[0] + _slope_of_label(x, pos_weight) * tangents[1]
        return reduce(weighted(change, weight), reduction)


def softplus_of_negative(x: Tensor) -> Tensor:
    """log(1 + exp(-x))."""
    return positive_part(-x) + torch.log1p(torch.exp(-x.abs()))


def sigmoid_of_negative(x: Tensor) -> Tensor:
    """1 / (1 + exp(x))."""
    return LogisticFunction.apply(-x)


def loss_of_logit(x: Tensor, target: Tensor, pos_weight: Tensor | None = None) -> Tensor:
    """(1 - t) log(1 + exp(x)) + t p log(1 + exp(-x)), where a class without a share costs nothing."""
    tail = torch.log1p(torch.exp(-x.abs()))
    negative = torch.where(target == 1, 0, (1 - target) * (positive_part(x) + tail))
    share = _positive_share(target, pos_weight)
    return negative + torch.where(share == 0, 0, share * (positive_part(-x) + tail))


def slope_of_logit(x: Tensor, target: Tensor, pos_weight: Tensor | None = None) -> Tensor:
    """(1 - t) σ(x) - t p σ(-x)."""
    return (1 - target) * LogisticFunction.apply(x) - _positive_share(target, pos_weight) * sigmoid_of_negative(x)


def _positive_share(target: Tensor, pos_weight: Tensor | None) -> Tensor:
    return target if pos_weight is None else target * pos_weight


def _slope_of_label(x: Tensor, pos_weight: Tensor | None) -> Tensor:
    return -x if pos_weight is None else (pos_weight - 1) * softplus_of_negative(x) - x


@overridable
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Cross entropy of probabilities for two classes.

    Args:
        input: probabilities of the positive class, of any shape, between 0 and 1.
        target: of the same shape, between 0 and 1.
        weight: a constant that broadcasts to the input, and multiplies each loss.
        size_average: deprecated.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Returns:
        A scalar, or a tensor of the input's shape for ``reduction="none"``.

    Raises:
        TypeError: if an argument is no tensor.
        ValueError: if the shapes differ, or ``reduction`` is unknown.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if the dtypes differ, a value is not between 0 and 1, or the weight does not broadcast.
    """
    op = "binary_cross_entropy"
    reduction = reduction_of(op, reduction, size_average, reduce)
    x, target = _same_shape(op, floating(op, input), target)
    weight = constant_weight(op, weight, shape=x.shape)
    if x.dtype is not target.dtype and not autocasts(x):
        raise RuntimeError(
            f"{op}: expected input and target of one dtype, got {describe(x)} and {describe(target)}"
        )
    if readable(x):
        for name, values in (("input", x), ("target", target)):
            inside = (values >= 0) & (values <= 1)
            if not bool(inside.all()):
                odd = values.detach()[~inside].flatten()[0].item()
                raise RuntimeError(
                    f"{op}: expected all elements of {name} to be between 0 and 1, got {odd:g}; for logits use "
                    "binary_cross_entropy_with_logits"
                )
    return BCELossFunction.apply(x, target, weight, reduction)


@overridable
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Cross entropy for two classes, of logits: stable, and in no need of a sigmoid before it.

    Args:
        input: logits of the positive class, of any shape.
        target: of the same shape, between 0 and 1.
        weight: a constant that broadcasts to the input, and multiplies each loss.
        size_average: deprecated.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        pos_weight: a constant that broadcasts to the input, and multiplies the losses of the positive class.

    Returns:
        A scalar, or a tensor of the input's shape for ``reduction="none"``.

    Raises:
        TypeError: if an argument is no tensor.
        ValueError: if the shapes differ, or ``reduction`` is unknown.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if the target is not floating point, or a weight does not broadcast.
    """
    op = "binary_cross_entropy_with_logits"
    reduction = reduction_of(op, reduction, size_average, reduce)
    x, target = _same_shape(op, floating(op, input), target)
    if not target.is_floating_point():
        raise RuntimeError(f"{op}: expected a floating-point target, got {describe(target)}; use .float()")
    dtype = torch.promote_types(x.dtype, target.dtype)
    weight = constant_weight(op, weight, shape=x.shape)
    pos_weight = constant_weight(op, pos_weight, "pos_weight", x.shape)
    return BCEWithLogitsLossFunction.apply(x.to(dtype), target.to(dtype), weight, pos_weight, reduction)


def _same_shape(op: str, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    x, target = tensor(op, input), tensor(op, target, "target")
    if x.shape != target.shape:
        raise ValueError(
            f"{op}: expected a target of the input's shape {tuple(x.shape)}, got {describe(target)}; "
            "use target.expand_as(input) or unsqueeze to make them equal"
        )
    return x, target
