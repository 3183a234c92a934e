r"""The hyperbolic tangent.

.. math:: y = \frac{e^x - e^{-x}}{e^x + e^{-x}}, \qquad \frac{dy}{dx} = 1 - y^2

Large inputs saturate at ±1, not at 0; what goes to zero there is the slope.

Written with :math:`t = e^{2|x|} - 1` (``expm1``), :math:`|y| = t / (t + 2)`: nothing cancels near 0, where the
textbook quotient loses all digits of a small x, and near ±1 the rounding of t fades. From 20 on y is ±1 in every
dtype, so that larger inputs need not overflow.

Source: J. H. Lambert, "Observations trigonométriques", 1768.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scratchnet.arguments import overridable, promoted
from scratchnet.function import Elementwise, replayed

__all__ = ["TanhFunction", "tanh"]


class TanhSlopeFunction(Elementwise):
    """The slope of tanh from its output y. Saves y, of which its own slope is a plain multiple."""

    @staticmethod
    def value(y: Tensor) -> Tensor:
        """1 - y², as a product that does not cancel where y is close to ±1."""
        return (1 - y) * (1 + y)

    @staticmethod
    def slope(y: Tensor) -> Tensor:
        """-2 y."""
        return -2 * y


class TanhFunction(Elementwise):
    """The hyperbolic tangent. Saves its output alone, from which the slope follows."""

    slope_from_output = True

    @staticmethod
    def value(x: Tensor) -> Tensor:
        """sign(x) · expm1(2|x|) / (expm1(2|x|) + 2)."""
        if torch.onnx.is_in_onnx_export():  # which has neither expm1 nor copysign
            return 2 / (torch.exp(-2 * x) + 1) - 1
        if x.is_complex() or replayed():  # copysign has slope 0 at 0
            twice = x + x  # 2 x makes NaN of an infinity
            e = torch.expm1(torch.where(x.real < 0, twice, -twice))
            return torch.where(x.real < 0, e, -e) / (e + 2)
        t = torch.expm1(2 * torch.abs(x).clamp(max=20))
        return torch.copysign(t / (t + 2), x)

    @staticmethod
    def slope(y: Tensor) -> Tensor:
        """1 - y²."""
        return TanhSlopeFunction.apply(y)


@overridable
def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent of each element.

    Args:
        input: tensor of any shape; an integer tensor is taken in the default dtype.

    Returns:
        A tensor of the same shape, with values in [-1, 1].

    Raises:
        TypeError: if ``input`` is no tensor.
    """
    return TanhFunction.apply(promoted("tanh", input, complex=True))
