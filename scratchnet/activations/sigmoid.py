r"""The logistic sigmoid.

.. math:: y = \frac{1}{1 + e^{-x}}, \qquad \frac{dy}{dx} = y\,(1 - y)

The slope is largest at 0, where it is 1/4, and fades in both tails: there a unit is saturated and learns slowly.

:math:`e^{-x}` overflows to infinity for very negative x, and 1 / (1 + inf) is the correct limit 0; for very
positive x it vanishes, and the result is 1. No case distinction is needed.

Source: P.-F. Verhulst, "Recherches mathématiques sur la loi d'accroissement de la population", 1845.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scratchnet.arguments import overridable, promoted
from scratchnet.function import Elementwise, recorded

__all__ = ["LogisticFunction", "SigmoidFunction", "bounded", "sigmoid", "sigmoid_slope"]

# Beyond, a gate is 0 or 1 in every dtype, and to the right its slope no longer counts beside it.
LEFT, RIGHT = -1000.0, 40.0


class SigmoidFunction(Elementwise):
    """The sigmoid. Keeps its output alone, from which the slope follows."""

    slope_from_output = True

    @staticmethod
    def value(x: Tensor) -> Tensor:
        """1 / (1 + exp(-x))."""
        return torch.reciprocal(1 + torch.exp(-x))

    @staticmethod
    def slope(y: Tensor) -> Tensor:
        """y (1 - y)."""
        return (1 - y) * y


class LogisticFunction(Elementwise):
    """The sigmoid inside other ops. Keeps its input, whose slope has all its digits in both tails."""

    @staticmethod
    def value(x: Tensor) -> Tensor:
        """exp(x) / (exp(x) + 1), which is not 0 before exp(x) is."""
        if x.is_complex():
            return torch.reciprocal(1 + torch.exp(-x))
        e = torch.exp(x.clamp(LEFT, RIGHT))
        return e / (e + 1)

    @staticmethod
    def slope(x: Tensor) -> Tensor:
        """σ(x) σ(-x)."""
        return sigmoid_slope(x)


def sigmoid_slope(x: Tensor) -> Tensor:
    """σ'(x) = σ(x) σ(-x), for the backward passes of what has a sigmoid inside.

    It has all its digits in both tails, where 1 - σ would have none left to multiply.
    """
    if not recorded():
        e = torch.exp(-torch.abs(x))
        return e / torch.square(1 + e)
    return LogisticFunction.apply(x) * LogisticFunction.apply(-x)


def bounded(x: Tensor, *, right: bool = True) -> Tensor:
    """The factor of a gate, or of its slope: finite where that is 0, so that 0 · ∞ is 0 and not NaN."""
    if x.is_complex():
        return x
    if not recorded():
        return x.clamp(LEFT, RIGHT if right else None)
    # The slope of clamp would not let NaN pass, and second derivatives see the gate's slope up to underflow.
    x = torch.where(x < LEFT, LEFT, x)
    return torch.where(x > -LEFT, -LEFT, x) if right else x


@overridable
def sigmoid(input: Tensor) -> Tensor:
    """The logistic sigmoid of each element.

    Args:
        input: tensor of any shape; an integer tensor is taken in the default dtype.

    Returns:
        A tensor of the same shape, with values in [0, 1].
    """
    return SigmoidFunction.apply(promoted("sigmoid", input, complex=True))
