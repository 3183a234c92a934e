r"""Convolution of images, and a rectifier over its outputs, in the same memory.

.. math::
    y = \max(z,\, 0) \qquad z = \text{convolution of } x
    \qquad \bar z = \begin{cases} \bar y & y > 0 \\ 0 & y = 0 \end{cases}

The output is all that the rectifier keeps. Images, kernels and bias get their gradients from :math:`\bar z` as in
`scratchnet.convolution.convolution`.

Sources: those of `scratchnet.convolution.convolution` and `scratchnet.activations.relu`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.activations.relu import where_positive
from scratchnet.arguments import overridable
from scratchnet.convolution.algorithms.dispatch import convolve
from scratchnet.convolution.convolution import gradients, prepare, tangent
from scratchnet.convolution.shapes import Size
from scratchnet.function import Function, elementwise, recorded
from scratchnet.layout import is_channels_last, laid_out
from scratchnet.windows import Geometry

__all__ = ["ConvolutionReLUFunction", "conv2d_relu", "wants_channels_last", "rectify"]


def rectify(z: Tensor) -> Tensor:
    """max(z, 0) of outputs that nobody else sees."""
    return z.clamp(min=0) if recorded() else z.clamp_(min=0)


def wants_channels_last(op: str, memory_format: torch.memory_format, x: Tensor, weight: Tensor) -> bool:
    """Whether channels of an output in that format lie last in memory.

    Raises:
        RuntimeError: if it is none of the three that images have.
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
    """Convolution of a batch of images, rectified. Keeps them, the weight and the output."""

    autocast = "low_precision"

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor, bias: Tensor | None, *, geometry: Geometry, groups: int, channels_last: bool
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """The outputs of all windows, clamped from below."""
        y = rectify(convolve(x, weight, bias, geometry, groups, geometry.outputs(x.shape[2:]), channels_last))
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
        """Those of the convolution, for the gradient where the output is positive."""
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
        """The convolution's tangent where the output is positive."""
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
    """``relu(conv2d(input, weight, bias, …))``.

    Args:
        input: images of shape ``(B, C, H, W)`` or ``(C, H, W)``.
        weight: kernels of shape ``(O, C / groups, R, S)``.
        bias: of shape ``(O,)``, added to each output channel.
        stride: pixels from one window to the next.
        padding: pixels of zeros on each side; or ``"valid"``, none, or ``"same"``, so many that the output has
            the size of the input.
        dilation: pixels from one element of the kernel to the next.
        groups: channels are split into so many groups, which do not mix.
        memory_format: of the output: ``torch.contiguous_format``, ``torch.channels_last``, or
            ``torch.preserve_format``, that of `conv2d`.

    Returns:
        A tensor of shape ``(B, O, P, Q)`` or ``(O, P, Q)``.

    Raises:
        TypeError: if an argument is no tensor, or an option no integer.
        NotImplementedError: if a tensor is not floating point.
        RuntimeError: if a shape, dtype or option does not fit.
    """
    op = "conv2d_relu"
    x, geometry, unbatched = prepare(op, 2, input, weight, bias, stride, padding, dilation, groups)
    channels_last = wants_channels_last(op, memory_format, x, weight)
    y = laid_out(ConvolutionReLUFunction.apply(x, weight, bias, geometry, groups, channels_last), channels_last)
    return y.squeeze(0) if unbatched else y
