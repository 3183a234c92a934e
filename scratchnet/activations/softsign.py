r"""Softsign.

.. math:: y = \frac{x}{1 + |x|}, \qquad \frac{dy}{dx} = \frac{1}{(1 + |x|)^2}

It saturates at ±1 as tanh does, but with the square of the distance, not exponentially, so that saturated units keep
more of a gradient. The second derivative jumps at 0, where it is 0 here as in PyTorch.

Source: Bergstra, Desjardins, Lamblin and Bengio, "Quadratic polynomials learn better image features", 2009.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scratchnet.arguments import overridable, promoted
from scratchnet.function import Elementwise

__all__ = ["SoftsignFunction", "softsign"]


class SoftsignFunction(Elementwise):
    """The input over one more than its magnitude. Saves its input."""

    holomorphic = False

    @staticmethod
    def value(x: Tensor) -> Tensor:
        """x / (1 + |x|), which is ±1 from 1e30 on in every dtype, and so at ±∞."""
        x = x if x.is_complex() else x.clamp(-1e30, 1e30)
        return x / (1 + torch.abs(x))

    @staticmethod
    def chain(x: Tensor, v: Tensor) -> Tensor:
        """v / (1 + |x|)², whose square cannot overflow; of a complex v the part across x is divided but once."""
        inverse = torch.reciprocal(1 + torch.abs(x))
        if x.is_complex():
            return inverse * (v - x * inverse * (x.sgn().conj() * v).real)
        return inverse * inverse * v


@overridable
def softsign(input: Tensor) -> Tensor:
    """The input over one more than its magnitude.

    Args:
        input: tensor of any shape; an integer tensor is taken in the default dtype.

    Returns:
        A tensor of the same shape, with values in [-1, 1].

    Raises:
        TypeError: if ``input`` is no tensor.
    """
    return SoftsignFunction.apply(promoted("softsign", input, complex=True, boolean=False))
