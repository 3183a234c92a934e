r"""The shrinkage functions, which pull small values to zero: hard, soft and tanh.

.. math::
    \operatorname{hard}(x) = \begin{cases} x & |x| > \lambda \\ 0 & |x| \le \lambda \end{cases}
    \qquad \operatorname{soft}(x) = x - \min(\max(x, -\lambda), \lambda)
    \qquad \operatorname{tanhshrink}(x) = x - \tanh x

The first two have slope 1 outside [-λ, λ] and 0 in it, the ends included. Soft shrinkage is the step that a penalty
``λ |x|`` makes in proximal gradient descent; hard shrinkage is that of a penalty on the number of non-zeros. The slope
of the third is :math:`1 - (1 - \tanh^2 x) = \tanh^2 x`. Near 0 the difference x - tanh x is about x³/3, smaller than
the rounding of x; Lambert's continued fraction gives it without a difference:

.. math::
    \tanh x = \frac{x}{1 + C}, \quad C = \cfrac{x^2}{3 + \cfrac{x^2}{5 + \cfrac{x^2}{7 + \dots}}}
    \qquad x - \tanh x = x\,\frac{C}{1 + C}

Source: Donoho and Johnstone, "Ideal spatial adaptation by wavelet shrinkage", 1994.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scratchnet.activations.tanh import TanhFunction
from scratchnet.arguments import floating, overridable, promoted
from scratchnet.function import Elementwise

__all__ = [
    "HardshrinkFunction",
    "SoftshrinkFunction",
    "TanhshrinkFunction",
    "hardshrink",
    "softshrink",
    "tanhshrink",
]


class HardshrinkFunction(Elementwise):
    """The input outside [-λ, λ], 0 in it."""

    @staticmethod
    def value(x: Tensor, *, lambd: float) -> Tensor:
        """Drops what is small."""
        return torch.where(torch.abs(x) <= lambd, 0, x)

    @staticmethod
    def chain(x: Tensor, v: Tensor, *, lambd: float) -> Tensor:
        """v outside, 0 inside."""
        return torch.where(torch.abs(x) <= lambd, 0, v)


class SoftshrinkFunction(Elementwise):
    """Moves the input by λ towards 0, where it stops. Saves its input."""

    @staticmethod
    def value(x: Tensor, *, lambd: float) -> Tensor:
        """The input less what of it lies in [-λ, λ]."""
        return x - x.clamp(-lambd, lambd)

    @staticmethod
    def chain(x: Tensor, v: Tensor, *, lambd: float) -> Tensor:
        """v outside, 0 inside."""
        return torch.where(torch.abs(x) <= lambd, 0, v)


class TanhshrinkFunction(Elementwise):
    """x - tanh(x). Saves its input."""

    @staticmethod
    def value(x: Tensor) -> Tensor:
        """x - tanh x; near 0, where these cancel, x C / (1 + C)."""
        if x.is_complex():
            return x - TanhFunction.apply(x)
        fraction = _fraction(x.clamp(-0.5, 0.5))
        near = fraction / (fraction + 1) * x
        return torch.where(torch.abs(x) < 0.5, near, x - TanhFunction.apply(x))

    @staticmethod
    def slope(x: Tensor) -> Tensor:
        """tanh² x near 0, and 1 less its small difference from 1 farther out: each where it has more digits."""
        tanh = TanhFunction.apply(x)
        if x.is_complex():
            return tanh * tanh
        e = torch.exp(-2 * torch.abs(x))
        return torch.where(torch.abs(x) < 1, tanh * tanh, 1 - 4 * e / ((1 + e) * (1 + e)))


def _fraction(x: Tensor) -> Tensor:
    """Lambert's C, which up to 1/2 needs seven terms in float64."""
    square = x * x
    fraction = square / 15
    for odd in (13, 11, 9, 7, 5, 3):
        fraction = square / (fraction + odd)
    return fraction


@overridable
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """The input where its magnitude exceeds ``lambd``, and 0 elsewhere.

    Args:
        input: floating-point tensor of any shape.
        lambd: λ; of a negative one nothing is small.

    Returns:
        A tensor of the same shape.

    Raises:
        TypeError: if ``input`` is no tensor or ``lambd`` no number.
        NotImplementedError: if ``input`` is not floating point.
    """
    return HardshrinkFunction.apply(floating("hardshrink", input), lambd)


@overridable
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """The input moved by ``lambd`` towards 0, where it stops.

    Args:
        input: floating-point tensor of any shape.
        lambd: λ, at least 0.

    Returns:
        A tensor of the same shape.

    Raises:
        TypeError: if ``input`` is no tensor or ``lambd`` no number.
        NotImplementedError: if ``input`` is not floating point.
        RuntimeError: if ``lambd`` is negative, NaN or more than the input's dtype can hold.
    """
    x = floating("softshrink", input)
    largest = torch.finfo(x.dtype).max
    if not 0 <= lambd <= largest:
        raise RuntimeError(f"softshrink: expected lambd between 0 and {largest:.3g} for {x.dtype}, got {lambd}")
    return SoftshrinkFunction.apply(x, lambd)


@overridable
def tanhshrink(input: Tensor) -> Tensor:
    """The input less its hyperbolic tangent.

    Args:
        input: tensor of any shape; an integer tensor is taken in the default dtype.

    Returns:
        A tensor of the same shape.

    Raises:
        TypeError: if ``input`` is no tensor.
    """
    return TanhshrinkFunction.apply(promoted("tanhshrink", input, complex=True, boolean=False))
