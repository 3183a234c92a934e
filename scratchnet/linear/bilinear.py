r"""The bilinear layer: every pair of features of two inputs, weighed.

.. math:: y_o = x_1^\top W_o\, x_2 + b_o

With the outer product of the two inputs as one row of I · J features, it is a linear layer, and
:math:`G = \sum_o g_o W_o` (I × J for each row) is the gradient of that outer product:

.. math::
    \frac{\partial L}{\partial x_1} = G\, x_2, \qquad
    \frac{\partial L}{\partial x_2} = G^\top x_1, \qquad
    \frac{\partial L}{\partial W_o} = \sum_r g_{ro}\, x_{1,r}\, x_{2,r}^\top, \qquad
    \frac{\partial L}{\partial b} = \sum_r g_r

Shapes: R rows, I and J features of the inputs, O outputs, W of shape ``(O, I, J)``.

Source: J. B. Tenenbaum and W. T. Freeman, "Separating style and content with bilinear models", 2000.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import autocasts, describe, floating, overridable
from scratchnet.function import Function

__all__ = ["BilinearFunction", "bilinear"]


class BilinearFunction(Function):
    """Saves the inputs and W; the outer product is computed again."""

    autocast = "widest"

    @staticmethod
    def forward(
        x1: Tensor, x2: Tensor, weight: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        pairs, flat = _outer(x1, x2), weight.flatten(1)
        y = pairs @ flat.t() if bias is None else torch.addmm(bias, pairs, flat.t())
        return y, (x1, x2, weight)

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool]) -> tuple[Tensor | None, ...]:
        x1, x2, weight = saved
        grad_x1 = grad_x2 = None
        if not weight.shape[0]:  # sums of no terms, also beside infinities
            grad_x1, grad_x2 = torch.zeros_like(x1), torch.zeros_like(x2)
        elif needs[0] or needs[1]:
            pairs = (grad @ weight.flatten(1)).view(grad.shape[0], *weight.shape[1:])
            grad_x1 = (pairs @ x2.unsqueeze(2)).squeeze(2) if needs[0] else None
            grad_x2 = (x1.unsqueeze(1) @ pairs).squeeze(1) if needs[1] else None
        grad_weight = (grad.t() @ _outer(x1, x2)).view(weight.shape) if needs[2] else None
        grad_bias = grad.sum(0) if needs[3] else None
        return grad_x1, grad_x2, grad_weight, grad_bias

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor]) -> Tensor:
        x1, x2, weight = saved
        tangent_x1, tangent_x2, tangent_weight, tangent_bias = tangents
        flat = weight.flatten(1)
        tangent = (_outer(tangent_x1, x2) + _outer(x1, tangent_x2)) @ flat.t()
        tangent = tangent + _outer(x1, x2) @ tangent_weight.flatten(1).t()
        return tangent if tangent_bias is None else tangent + tangent_bias


def _outer(x1: Tensor, x2: Tensor) -> Tensor:
    """Returns all products of a feature of x₁ and one of x₂, (R, I · J)."""
    return (x1.unsqueeze(2) * x2.unsqueeze(1)).reshape(x1.shape[0], x1.shape[1] * x2.shape[1])


@overridable
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Maps the last dimensions of two inputs bilinearly.

    Args:
        input1: floating-point tensor of shape ``(*, I)``.
        input2: floating-point tensor of shape ``(*, J)``, with the same leading dimensions.
        weight: tensor of shape ``(O, I, J)``.
        bias: tensor of shape ``(O,)``.

    Returns:
        A tensor of shape ``(*, O)``.

    Raises:
        TypeError: if an argument is no tensor.
        NotImplementedError: if one is not floating point.
        RuntimeError: if the shapes do not fit together, or the dtypes differ.
    """
    op = "bilinear"
    named = {"input1": input1, "input2": input2, "weight": weight} | ({} if bias is None else {"bias": bias})
    tensors = [floating(op, t, name, complex=True, integer=True) for name, t in named.items()]
    if weight.dim() != 3:
        raise RuntimeError(f"{op}: expected weight of shape (O, I, J), got {describe(weight)}")
    outputs, first, second = weight.shape
    if input1.shape[:-1] != input2.shape[:-1] or input1.dim() != input2.dim() or input1.dim() == 0:
        raise RuntimeError(
            f"{op}: expected inputs of the same leading dimensions, got {describe(input1)} and {describe(input2)}"
        )
    if input1.shape[-1] != first or input2.shape[-1] != second:
        raise RuntimeError(
            f"{op}: expected inputs of {first} and {second} features, since weight has shape "
            f"{tuple(weight.shape)}, got {describe(input1)} and {describe(input2)}"
        )
    if bias is not None and tuple(bias.shape) != (outputs,):
        raise RuntimeError(f"{op}: expected bias of shape ({outputs},), got {describe(bias)}")
    if len({t.dtype for t in tensors}) > 1 and not autocasts(input1):
        given = ", ".join(map(describe, tensors))
        raise RuntimeError(f"{op}: expected inputs, weight and bias of one dtype, got {given}")
    leading = input1.shape[:-1]
    rows = math.prod(leading)
    y = BilinearFunction.apply(input1.reshape(rows, first), input2.reshape(rows, second), weight, bias)
    return y.view(*leading, outputs)
