r"""Convolution of images and ReLU in one op, with one output in memory.

.. math::
    y = \max(z,\, 0) \qquad z = \text{convolution of } x
    \qquad \bar z = \begin{cases} \bar y & y > 0 \\ 0 & y = 0 \end{cases}

The ReLU saves only the output. Images, weight and bias get their gradients from :math:`\bar z` as in
`scratchnet.convolution.convolution`.

Sources: those of `scratchnet.convolution.convolution` and `scratchnet.activations.relu`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.activations.relu import where_positive
from scratchnet.arguments import overridable
from scratchnet.convolution.algorithms.dispatch import convolve, empty_outputs
from scratchnet.convolution.convolution import gradients, prepare, tangent
from scratchnet.convolution.shapes import Size
from scratchnet.function import Function, clipped, dispatch, elementwise, opaque
from scratchnet.layout import is_channels_last, laid_out
from scratchnet.windows import Geometry

__all__ = ["ConvolutionReLUFunction", "conv2d_relu", "convolve_rectified", "wants_channels_last"]


def _overwriting(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    groups: int,
    outputs: Sequence[int],
    channels_last: bool,
) -> Tensor:
    return convolve(x, weight, bias, geometry, groups, outputs, channels_last).clamp_(min=0)


@opaque(empty_outputs)
@dispatch(_overwriting)
def convolve_rectified(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    groups: int,
    outputs: Sequence[int],
    channels_last: bool,
) -> Tensor:
    """Returns the maximum of 0 and a convolution."""
    return clipped(convolve(x, weight, bias, geometry, groups, outputs, channels_last), 0)


def wants_channels_last(op: str, memory_format: torch.memory_format, x: Tensor, weight: Tensor) -> bool:
    """Returns whether an output in ``memory_format`` is channels last.

    Raises:
        RuntimeError: if images cannot have that format.
    """
    if memory_format == torch.preserve_format:
        return is_channels_last(x) or is_channels_last(weight)
    if memory_format not in (torch.channels_last, torch.contiguous_format):
        raise RuntimeError(
            f"{op}: expected memory_format to be torch.preserve_format, torch.channels_last or "
            f"torch.contiguous_format, got {memory_format}"
        )
    return memory_format == torch.channels_last


class ConvolutionReLUFunction(Function):
    """Convolves and rectifies a batch of images. Saves them, the weight and the output."""

    autocast = "low_precision"

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor, bias: Tensor | None, *, geometry: Geometry, groups: int, channels_last: bool
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        y = convolve_rectified(x, weight, bias, geometry, groups, geometry.outputs(x.shape[2:]), channels_last)
        return y, (x, weight, y)

    @staticmethod
    def backward(
        grad: Tensor,
        saved: Sequence[Tensor],
        needs: Sequence[bool],
        *,
        geometry: Geometry,
        groups: int,
        channels_last: bool,
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight, y = saved
        return gradients(elementwise(where_positive, y, grad), x, weight, needs, geometry, groups)

    @staticmethod
    def jvp(
        tangents: Sequence[Tensor],
        saved: Sequence[Tensor],
        *,
        geometry: Geometry,
        groups: int,
        channels_last: bool,
    ) -> Tensor:
        x, weight, y = saved
        return where_positive(y, tangent(tangents, x, weight, geometry, groups))


@overridable
def conv2d_relu(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: str | Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    memory_format: torch.memory_format = torch.preserve_format,
) -> Tensor:
    """Computes ``relu(conv2d(input, weight, bias, …))``.

    Takes the arguments of `conv2d`. ``memory_format`` sets the format of the output: ``torch.contiguous_format``,
    ``torch.channels_last``, or ``torch.preserve_format`` to choose as `conv2d` does.

    Returns:
        A tensor of shape ``(B, O, P, Q)`` or ``(O, P, Q)``.

    Raises:
        TypeError: if an argument is not a tensor, or an option not an integer.
        NotImplementedError: if a tensor is not floating point.
        RuntimeError: if shapes, dtypes or options do not match.
    """
    op = "conv2d_relu"
    x, geometry, unbatched = prepare(op, 2, input, weight, bias, stride, padding, dilation, groups)
    channels_last = wants_channels_last(op, memory_format, x, weight)
    y = laid_out(ConvolutionReLUFunction.apply(x, weight, bias, geometry, groups, channels_last), channels_last)
    return y.squeeze(0) if unbatched else y
