r"""The Gaussian error linear unit, exact and with tanh.

.. math::
    y = x\,\Phi(x), \quad \Phi(x) = \frac{1}{2} \Bigl(1 + \operatorname{erf} \frac{x}{\sqrt 2}\Bigr)
    \qquad \frac{dy}{dx} = \Phi(x) + x\,\varphi(x), \quad \varphi(x) = \frac{e^{-x^2/2}}{\sqrt{2\pi}}

Φ is the distribution function of the normal distribution: the input times the probability that a normal variable is
smaller, or the expectation of a unit that is dropped with the probability that it is larger. The approximation has

.. math::
    \Phi(x) \approx \frac{1}{2} \bigl(1 + \tanh u\bigr) = \sigma(2u), \quad
    2u = 2 \sqrt{2/\pi}\,(x + 0.044715\,x^3)
    \qquad \frac{dy}{dx} = \sigma + x\,\sigma' \frac{d(2u)}{dx}

and as a sigmoid it does not cancel on the left, as 1 + tanh does.

Source: Hendrycks and Gimpel, "Gaussian Error Linear Units (GELUs)", 2016.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scratchnet.activations.sigmoid import LogisticFunction, sigmoid_slope
from scratchnet.arguments import describe, floating, overridable
from scratchnet.function import Elementwise

__all__ = ["GELUFunction", "TanhGELUFunction", "gelu"]

LINEAR = 2 * math.sqrt(2 / math.pi)
CUBIC = 0.044715 * LINEAR


class GELUFunction(Elementwise):
    """x Φ(x). Keeps its input."""

    @staticmethod
    def value(x: Tensor) -> Tensor:
        """The input times the probability that a normal variable is smaller."""
        return _normal_distribution(x) * x

    @staticmethod
    def slope(x: Tensor) -> Tensor:
        """Φ(x) + x φ(x)."""
        bell = torch.exp(-0.5 * (x * x))
        return torch.addcmul(_normal_distribution(x), x, bell, value=1 / math.sqrt(2 * math.pi))


def _normal_distribution(x: Tensor) -> Tensor:
    return 0.5 * (1 + torch.erf(x * math.sqrt(0.5)))


class TanhGELUFunction(Elementwise):
    """x σ(2u). Keeps its input."""

    @staticmethod
    def value(x: Tensor) -> Tensor:
        """The input times the approximate probability."""
        return LogisticFunction.apply((CUBIC * (x * x) + LINEAR) * x) * x

    @staticmethod
    def slope(x: Tensor) -> Tensor:
        """σ + x σ' (2u)'."""
        square = x * x
        twice_u = (CUBIC * square + LINEAR) * x
        probability = LogisticFunction.apply(twice_u)
        return probability + x * sigmoid_slope(twice_u) * (3 * CUBIC * square + LINEAR)


@overridable
def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """The input times the probability that a normal variable is smaller.

    Args:
        input: floating-point tensor of any shape.
        approximate: ``"none"`` for the error function, ``"tanh"`` for the approximation, which is off by at most
            0.0005.

    Returns:
        A tensor of the same shape.

    Raises:
        TypeError: if ``input`` is no tensor or ``approximate`` no string.
        NotImplementedError: if ``input`` is not floating point.
        RuntimeError: if ``approximate`` is another string.
    """
    x = floating("gelu", input)
    if not isinstance(approximate, str):
        raise TypeError(f"gelu: expected approximate to be 'none' or 'tanh', got {describe(approximate)}")
    if approximate not in ("none", "tanh"):
        raise RuntimeError(f"gelu: expected approximate to be 'none' or 'tanh', got {approximate!r}")
    return (GELUFunction if approximate == "none" else TanhGELUFunction).apply(x)
