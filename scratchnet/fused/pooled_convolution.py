r"""Convolution of images, rectifier and maximum pooling.

.. math::
    y_p = \max\bigl(0,\; \max_{r \in \text{window}} z_{p, r}\bigr) \qquad z = \text{convolution of } x
    \qquad \bar z_{p, r} = \begin{cases} \bar y_p & r = r^*_p,\; y_p > 0 \\ 0 & \text{else} \end{cases}

with :math:`r^*` the place of the maximum in its window. The output and that place, one byte for each output, are all
that is kept of z. Where the windows are tiles of Winograd's convolution, z is never written out, and neither is
its gradient (`scratchnet.convolution.algorithms.winograd.pooled`).

Shapes: B images, C input and O output channels, H × W pixels, P × Q windows.

Sources: those of `scratchnet.convolution`, `scratchnet.activations.relu` and `scratchnet.pooling.max_pooling`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import autocasts, overridable
from scratchnet.convolution.algorithms.dispatch import convolve
from scratchnet.convolution.algorithms.winograd import pooled
from scratchnet.convolution.convolution import gradients, prepare, tangent
from scratchnet.convolution.shapes import Size
from scratchnet.function import LOW_PRECISION, Function, recorded
from scratchnet.fused.rectified_convolution import conv2d_relu, rectify, wants_channels_last
from scratchnet.layout import laid_out
from scratchnet.pooling.argmax import gather_at_argmax, max_and_argmax, scatter_to_argmax
from scratchnet.pooling.max_pooling import max_pool2d
from scratchnet.pooling.windows import pooling_geometry
from scratchnet.windows import Geometry

__all__ = ["ConvolutionReLUMaxPoolFunction", "conv2d_relu_max_pool2d"]


class ConvolutionReLUMaxPoolFunction(Function):
    """Convolves, rectifies, and takes the maximum of each window.

    Saves images, weight, argmax and where the output is positive.
    """

    @staticmethod
    def forward(
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        *,
        geometry: Geometry,
        groups: int,
        windows: Geometry,
        channels_last: bool,
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
        """What is left of each window, and its place there."""
        outputs = geometry.outputs(x.shape[2:])
        made = None
        if not recorded() and pooled.worthwhile(x, weight, geometry, groups, windows):
            made = pooled.convolve(x, weight, bias, geometry.padding, outputs, channels_last)
        y, which = made or max_and_argmax(
            rectify(convolve(x, weight, bias, geometry, groups, outputs, channels_last)), windows
        )
        return y, (x, weight, y != 0, which)

    @staticmethod
    def backward(
        grad: Tensor,
        saved: Sequence[Tensor],
        needs: Sequence[bool],
        *,
        geometry: Geometry,
        groups: int,
        windows: Geometry,
        channels_last: bool,
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Those of the convolution, for an upstream that is zero but at the winners' places."""
        x, weight, positive, which = saved
        grad = torch.where(positive, grad, 0)
        if not recorded() and pooled.worthwhile(x, weight, geometry, groups, windows):
            made = pooled.gradients(grad, which, x, weight, needs, geometry.padding)
            if made is not None:
                return (*made, grad.sum((0, 2, 3)) if needs[2] else None)
        upstream = scatter_to_argmax(grad, which, windows, geometry.outputs(x.shape[2:]))
        return gradients(upstream, x, weight, needs, geometry, groups)

    @staticmethod
    def jvp(
        tangents: Sequence[Tensor],
        saved: Sequence[Tensor],
        *,
        geometry: Geometry,
        groups: int,
        windows: Geometry,
        channels_last: bool,
    ) -> Tensor:
        """The convolution's tangent at the winners' places."""
        x, weight, positive, which = saved
        return torch.where(
            positive, gather_at_argmax(tangent(tangents, x, weight, geometry, groups), which, windows), 0
        )


@overridable
def conv2d_relu_max_pool2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: str | Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    pool_kernel_size: Size = 2,
    pool_stride: Size | None = None,
    pool_padding: Size = 0,
    pool_dilation: Size = 1,
    ceil_mode: bool = False,
    memory_format: torch.memory_format = torch.preserve_format,
) -> Tensor:
    """``max_pool2d(relu(conv2d(input, weight, bias, …)), …)``.

    In short dtypes and under autocast it is that composition, whose ties after rounding are others than before it.

    Args:
        input: images of shape ``(B, C, H, W)`` or ``(C, H, W)``.
        weight: kernels of shape ``(O, C / groups, R, S)``.
        bias: of shape ``(O,)``, added to each output channel.
        stride: pixels from one window of the convolution to the next.
        padding: pixels of zeros on each side; or ``"valid"``, none, or ``"same"``, so many that the convolution's
            output has the size of the input.
        dilation: pixels from one element of the kernel to the next.
        groups: channels are split into so many groups, which do not mix.
        pool_kernel_size: outputs of the convolution in a window of the pooling.
        pool_stride: outputs from one of these windows to the next; the window's size by default.
        pool_padding: outputs of -inf on each side, at most half the window.
        pool_dilation: outputs from one element of a window to the next.
        ceil_mode: whether a last window may stick out.
        memory_format: of the output: ``torch.contiguous_format``, ``torch.channels_last``, or
            ``torch.preserve_format``, that of `conv2d`.

    Returns:
        A tensor of shape ``(B, O, P, Q)`` or ``(O, P, Q)``.

    Raises:
        TypeError: if an argument is no tensor, or an option no integer.
        NotImplementedError: if a tensor is not floating point.
        RuntimeError: if a shape, dtype or option does not fit.
    """
    op = "conv2d_relu_max_pool2d"
    x, geometry, unbatched = prepare(op, 2, input, weight, bias, stride, padding, dilation, groups)
    pooling = pool_kernel_size, pool_stride, pool_padding, pool_dilation, ceil_mode
    # Before the composition as well, whose errors would name its own options.
    outputs = x.new_empty((1, len(weight), *geometry.outputs(x.shape[2:])), device="meta")
    windows = pooling_geometry(op, outputs, *pooling, prefix="pool_")
    channels_last = wants_channels_last(op, memory_format, x, weight)
    if x.dtype in LOW_PRECISION or autocasts(x):
        made = conv2d_relu(input, weight, bias, stride, padding, dilation, groups, memory_format=memory_format)
        return max_pool2d(made, *pooling)
    y = laid_out(
        ConvolutionReLUMaxPoolFunction.apply(x, weight, bias, geometry, groups, windows, channels_last),
        channels_last,
    )
    return y.squeeze(0) if unbatched else y
