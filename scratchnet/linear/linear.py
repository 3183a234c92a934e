r"""The linear (fully connected) layer.

.. math:: y = x W^\top + b

with a row x of ``in_features`` numbers for each of the R rows of a batch, W of shape
``(out_features, in_features)`` and b of shape ``(out_features,)``. With :math:`g = \partial L / \partial y`,

.. math::
    \frac{\partial L}{\partial x} = g\,W, \qquad
    \frac{\partial L}{\partial W} = g^\top x, \qquad
    \frac{\partial L}{\partial b} = \sum_{r=1}^{R} g_r

Every weight's gradient is the product of what came in at its input and the error at its output, summed over the
batch: the delta rule. All leading dimensions of x form one batch of rows, so that forward and each gradient are
one large matrix product.

Sources: B. Widrow and M. E. Hoff, "Adaptive switching circuits", 1960; for the backward pass, D. E. Rumelhart,
G. E. Hinton and R. J. Williams, "Learning representations by back-propagating errors", 1986.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import autocasts, describe, floating, overridable
from scratchnet.function import Function
from scratchnet.layout import matmul_like

__all__ = ["LinearFunction", "linear"]


class LinearFunction(Function):
    """Saves x and W."""

    autocast = "low_precision"
    native_low_precision = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        rows = _rows(x)
        y = rows @ weight.t() if bias is None else torch.addmm(bias, rows, weight.t())
        return _like(x, y), (x, weight)

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool]) -> tuple[Tensor | None, ...]:
        x, weight = saved
        rows = _rows(grad)
        grad_x = _like(x, matmul_like(x, rows, weight)) if needs[0] else None
        grad_weight = None
        if needs[1]:
            grad_weight = rows.t() @ _rows(x) if weight.is_contiguous() else (_rows(x).t() @ rows).t()
        grad_bias = rows.sum(0) if needs[2] else None
        return grad_x, grad_weight, grad_bias

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor]) -> Tensor:
        x, weight = saved
        tangent_x, tangent_weight, tangent_bias = tangents
        tangent = _rows(tangent_x) @ weight.t() + _rows(x) @ tangent_weight.t()
        return _like(x, tangent if tangent_bias is None else tangent + tangent_bias)


def _rows(x: Tensor) -> Tensor:
    """Flattens the leading dimensions, without copying where the strides allow it."""
    return x if x.dim() == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _like(x: Tensor, rows: Tensor) -> Tensor:
    """Unflattens rows to the leading dimensions of x."""
    return rows if x.dim() == 2 else rows.reshape(*x.shape[:-1], rows.shape[1])


@overridable
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Maps the last dimension affinely: ``input @ weight.T + bias``.

    Args:
        input: floating-point tensor of shape ``(*, in_features)``, with any number of leading dimensions.
        weight: tensor of shape ``(out_features, in_features)``, or ``(in_features,)`` for one output whose
            dimension is dropped.
        bias: tensor of shape ``(out_features,)``, or of one element, which every output shares.

    Returns:
        A tensor of shape ``(*, out_features)``.

    Raises:
        TypeError: if an argument is no tensor.
        NotImplementedError: if one is not floating point.
        RuntimeError: if the shapes do not fit together, or the dtypes differ.
    """
    _check(input, weight, bias)
    if weight.dim() == 1:
        return linear(input.contiguous(), weight.unsqueeze(0), bias).squeeze(-1)
    if bias is not None and bias.shape != weight.shape[:1]:
        bias = bias.expand(weight.shape[0])
    return LinearFunction.apply(input, weight, bias)


def _check(input: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    floating("linear", input, complex=True, integer=True)
    floating("linear", weight, "weight", complex=True, integer=True)
    if not 1 <= weight.dim() <= 2:
        raise RuntimeError(f"linear: expected weight of shape (out_features, in_features), got {describe(weight)}")
    if input.dim() == 0 or input.shape[-1] != weight.shape[-1]:
        raise RuntimeError(
            f"linear: expected input of shape (*, {weight.shape[-1]}), since weight has shape "
            f"{tuple(weight.shape)}, got {describe(input)}; its last dimension must be in_features"
        )
    dtypes = {input.dtype, weight.dtype}
    if bias is not None:
        dtypes.add(floating("linear", bias, "bias", complex=True, integer=True).dtype)
        outputs = weight.shape[0] if weight.dim() == 2 else 1
        if bias.dim() > 1 or bias.numel() not in (1, outputs):
            raise RuntimeError(
                f"linear: expected bias of shape ({outputs},) for weight of shape {tuple(weight.shape)}, "
                f"got {describe(bias)}"
            )
    if len(dtypes) > 1 and (torch.float64 in dtypes or not autocasts(input)):
        given = ", ".join(describe(t) for t in (input, weight, bias) if t is not None)
        raise RuntimeError(
            f"linear: expected input, weight and bias of one dtype, got {given}; convert the input with "
            f".to({weight.dtype}), or the layer with .to({input.dtype})"
        )
