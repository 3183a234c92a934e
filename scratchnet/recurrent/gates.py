r"""The two squashing functions of recurrent networks, from one exponential.

.. math:: \sigma(x) = \frac{u + 1}{u + 2}, \quad \tanh \frac{x}{2} = \frac{u}{u + 2}, \qquad u = e^x - 1

Near 0 nothing cancels, since u is ``expm1``; for very negative x, u is -1 and the limits 0 and -1 follow; and
x is cut off near 40, beyond which both are 1 in double precision, so that u does not overflow. The cut keeps the
derivatives that autograd takes of the plain forms finite everywhere, which those of 1 / (1 + exp(-x)) are not.

The slopes are :math:`\sigma (1 - \sigma)` and :math:`1 - \tanh^2`: both follow from the outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["LIMIT", "sigmoid", "sigmoid_slope", "tanh", "tanh_slope"]

LIMIT = 40.720703125  # whose exponential is nearly a number of both dtypes, so that exp and expm1 round it alike


def sigmoid(x: Tensor) -> Tensor:
    """Returns e / (e + 1) with e = exp(x), finite in all derivatives."""
    e = torch.exp(x.clamp(max=LIMIT))
    return e / (e + 1)


def tanh(x: Tensor) -> Tensor:
    """Returns u / (u + 2) with u = exp(2x) - 1."""
    if torch.onnx.is_in_onnx_export():  # which has no expm1
        return 2 / (torch.exp(-2 * x) + 1) - 1
    u = torch.expm1((2 * x).clamp(max=LIMIT))
    return u / (u + 2)


def sigmoid_slope(y: Tensor) -> Tensor:
    """Returns the derivative of the sigmoid, from its output."""
    return y * (1 - y)


def tanh_slope(y: Tensor) -> Tensor:
    """Returns the derivative of the hyperbolic tangent, from its output."""
    return (1 - y) * (1 + y)
