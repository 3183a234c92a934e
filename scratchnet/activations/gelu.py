r"""The Gaussian error linear unit, exact and with tanh.

.. math::
    y = x\,\Phi(x), \quad \Phi(x) = \frac{1}{2} \operatorname{erfc} \frac{-x}{\sqrt 2}
    \qquad \frac{dy}{dx} = \Phi(x) + x\,\varphi(x), \quad \varphi(x) = \frac{e^{-x^2/2}}{\sqrt{2\pi}}

Φ is the distribution function of the normal distribution: the input times the probability that a normal variable is
smaller, or the expectation of a unit that is dropped with the probability that it is larger. The complementary error
function keeps the digits in the left tail, where 1 + erf cancels. The approximation has

.. math::
    \Phi(x) \approx \frac{1}{2} \bigl(1 + \tanh u\bigr) = \sigma(2u), \quad
    2u = 2 \sqrt{2/\pi}\,(x + 0.044715\,x^3)
    \qquad \frac{dy}{dx} = \sigma(2u) \Bigl(1 + x\,\sigma(-2u) \frac{d(2u)}{dx}\Bigr)

and as a sigmoid it does not cancel on the left, as 1 + tanh does. At -∞ both are 0, their limit.

Source: Hendrycks and Gimpel, "Gaussian Error Linear Units (GELUs)", 2016.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scratchnet.activations.sigmoid import LogisticFunction, bounded
from scratchnet.arguments import describe, floating, overridable
from scratchnet.function import Elementwise

__all__ = ["GELUFunction", "TanhGELUFunction", "gelu"]

LINEAR = 2 * math.sqrt(2 / math.pi)
CUBIC = 0.044715 * LINEAR


class GELUFunction(Elementwise):
    """x Φ(x). Saves its input."""

    @staticmethod
    def value(x: Tensor) -> Tensor:
        """The input times the probability that a normal variable is smaller."""
        return _normal_distribution(x) * bounded(x, math.inf)

    @staticmethod
    def slope(x: Tensor) -> Tensor:
        """Φ(x) + x φ(x)."""
        z = bounded(x)
        bell = torch.exp(-0.5 * (z * z))
        return torch.addcmul(_normal_distribution(z), z, bell, value=1 / math.sqrt(2 * math.pi))


def _normal_distribution(x: Tensor) -> Tensor:
    return 0.5 * torch.erfc(x * -math.sqrt(0.5))


class TanhGELUFunction(Elementwise):
    """x σ(2u). Saves its input."""

    @staticmethod
    def value(x: Tensor) -> Tensor:
        """x / (1 + exp(-2u)), the input times the approximate probability."""
        x = bounded(x, math.inf)
        return x / (1 + torch.exp((-CUBIC * (x * x) - LINEAR) * x))

    @staticmethod
    def slope(x: Tensor) -> Tensor:
        """σ(2u) (1 + x σ(-2u) (2u)')."""
        z = bounded(x)
        square = z * z
        twice_u = (CUBIC * square + LINEAR) * z
        probability, other = LogisticFunction.apply(twice_u), LogisticFunction.apply(-twice_u)
        return probability * (1 + z * other * (3 * CUBIC * square + LINEAR))


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
