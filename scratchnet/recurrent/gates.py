r"""The two squashing functions of recurrent networks, from one exponential.

.. math:: \sigma(x) = \frac{u + 1}{u + 2}, \quad \tanh \frac{x}{2} = \frac{u}{u + 2}, \qquad u = e^x - 1

Near 0 nothing cancels, since u is ``expm1``; for very negative x, u is -1 and the limits 0 and -1 follow; and
x is cut off at 40, beyond which both are 1 in double precision, so that u does not overflow. The cut keeps the
derivatives that autograd takes of the plain forms finite everywhere, which those of 1 / (1 + exp(-x)) are not.

The slopes are :math:`\sigma (1 - \sigma)` and :math:`1 - \tanh^2`: both follow from the outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["sigmoid", "sigmoid_", "sigmoid_slope", "sigmoid_slope_", "tanh", "tanh_", "tanh_slope", "tanh_slope_"]

LIMIT = 40.0


def sigmoid(x: Tensor) -> Tensor:
    """The logistic sigmoid."""
    e = torch.exp(x.clamp(max=LIMIT))
    return e / (e + 1)


def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    if torch.onnx.is_in_onnx_export():  # which has no expm1
        return 2 / (torch.exp(-2 * x) + 1) - 1
    u = torch.expm1((2 * x).clamp(max=LIMIT))
    return u / (u + 2)


def sigmoid_slope(y: Tensor) -> Tensor:
    """The derivative of the sigmoid, from its output."""
    return y * (1 - y)


def tanh_slope(y: Tensor) -> Tensor:
    """The derivative of the hyperbolic tangent, from its output."""
    return (1 - y) * (1 + y)


def sigmoid_(x: Tensor) -> Tensor:
    """The sigmoid in place."""
    return x.neg_().exp_().add_(1).reciprocal_()


def tanh_(x: Tensor, out: Tensor) -> Tensor:
    """The hyperbolic tangent, written to a buffer, which may be x: of |x|, whose roundings shrink, with the sign."""
    u = torch.abs(x).mul_(2).clamp_(max=LIMIT).expm1_()
    return torch.copysign(u.div_(u + 2), x, out=out)


def sigmoid_slope_(y: Tensor, out: Tensor) -> Tensor:
    """The derivative of the sigmoid, written to a buffer."""
    return torch.sub(1, y, out=out).mul_(y)


def tanh_slope_(y: Tensor, out: Tensor) -> Tensor:
    """The derivative of the hyperbolic tangent, written to a buffer: 1 - y and y (1 - y) do not cancel."""
    torch.sub(1, y, out=out)
    return out.addcmul_(out, y)
