r"""The logistic sigmoid.

.. math:: y = \frac{1}{1 + e^{-x}}, \qquad \frac{dy}{dx} = y\,(1 - y)

The slope is largest at 0, where it is 1/4, and fades in both tails: there a unit is saturated and learns slowly.

:math:`e^{-x}` overflows to infinity for very negative x, and 1 / (1 + inf) is the correct limit 0; for very
positive x it vanishes, and the result is 1. No case distinction is needed.

Source: P.-F. Verhulst, "Recherches mathématiques sur la loi d'accroissement de la population", 1845.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scratchnet.arguments import overridable, promoted
from scratchnet.function import Elementwise

__all__ = ["RIGHT", "LogisticFunction", "LogisticSlopeFunction", "SigmoidFunction", "bounded", "sigmoid"]

# Inputs beyond which a gate and its slope are 0 in every dtype, and on the right one from which the gate is 1.
FAR, RIGHT = 1000.0, 40.0


class SigmoidFunction(Elementwise):
    """The sigmoid. Saves its output alone, from which the slope follows."""

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
    """The sigmoid inside other ops. Saves its input, from which the slope has all its digits in both tails."""

    @staticmethod
    def value(x: Tensor) -> Tensor:
        """exp(x) / (exp(x) + 1), which is not 0 before exp(x) is."""
        if x.is_complex():
            return torch.reciprocal(1 + torch.exp(-x))
        e = torch.exp(x.clamp(-FAR, RIGHT))
        return e / (e + 1)

    @staticmethod
    def slope(x: Tensor) -> Tensor:
        return LogisticSlopeFunction.apply(x)


class LogisticSlopeFunction(Elementwise):
    """σ' = σ(x) σ(-x), with all its digits in both tails, where 1 - σ has none. Its own slope is σ' (σ(-x) - σ(x))."""

    @staticmethod
    def value(x: Tensor) -> Tensor:
        """exp(-|x|) / (1 + exp(-|x|))²."""
        if x.is_complex():
            return LogisticFunction.apply(x) * LogisticFunction.apply(-x)
        e = torch.exp(-torch.abs(x))
        return e / torch.square(1 + e)

    @staticmethod
    def slope(x: Tensor) -> Tensor:
        return LogisticSlopeFunction.apply(x) * (LogisticFunction.apply(-x) - LogisticFunction.apply(x))


def bounded(x: Tensor, right: float = FAR) -> Tensor:
    """Bounds the factor of a gate or of its slope where that is 0, so that 0 · ∞ is 0; NaN passes gradients on."""
    if x.is_complex():
        return x
    x = torch.where(x < -FAR, -FAR, x)
    return x if right == math.inf else torch.where(x > right, right, x)


@overridable
def sigmoid(input: Tensor) -> Tensor:
    """The logistic sigmoid of each element.

    Args:
        input: tensor of any shape; an integer tensor is taken in the default dtype.

    Returns:
        A tensor of the same shape, with values in [0, 1].
    """
    return SigmoidFunction.apply(promoted("sigmoid", input, complex=True))
