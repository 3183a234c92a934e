r"""Convolution of images, ReLU and max pooling in one op.

.. math::
    y_p = \max\bigl(0,\; \max_{r \in \text{window}} z_{p, r}\bigr) \qquad z = \text{convolution of } x
    \qquad \bar z_{p, r} = \begin{cases} \bar y_p & r = r^*_p,\; y_p > 0 \\ 0 & \text{else} \end{cases}

with :math:`r^*` the argmax of the window. In place of z, the op saves two bytes per output: the argmax, and whether
the output is positive. If the windows are the tiles of Winograd's convolution, neither z nor its gradient is stored
(`scratchnet.convolution.algorithms.winograd.pooled`).

Shapes: B images, C input and O output channels, H × W pixels, P × Q windows.

Sources: those of `scratchnet.convolution`, `scratchnet.activations.relu` and `scratchnet.pooling.max_pooling`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import autocasts, overridable
from scratchnet.convolution.algorithms import dispatch as dispatched
from scratchnet.convolution.algorithms.winograd import pooled
from scratchnet.convolution.convolution import in_strides_of, prepare, tangent
from scratchnet.convolution.shapes import Size
from scratchnet.function import LOW_PRECISION, Function, clipped, dispatch, opaque
from scratchnet.fused.rectified_convolution import conv2d_relu, wants_channels_last
from scratchnet.layout import empty_images, laid_out
from scratchnet.pooling.argmax import gather_at_argmax, max_and_argmax, scatter_to_argmax
from scratchnet.pooling.max_pooling import max_pool2d
from scratchnet.pooling.positions import index_dtype
from scratchnet.pooling.windows import pooling_geometry
from scratchnet.windows import Geometry

__all__ = ["ConvolutionReLUMaxPoolFunction", "conv2d_relu_max_pool2d"]


def _forward_by_tiles(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    groups: int,
    windows: Geometry,
    channels_last: bool,
) -> tuple[Tensor, Tensor]:
    if not pooled.worthwhile(x, weight, geometry, groups, windows):
        return NotImplemented
    outputs = geometry.outputs(x.shape[2:])
    return pooled.convolve(x, weight, bias, geometry.padding, outputs, channels_last) or NotImplemented


def _empty_outputs(
    x: Tensor, weight: Tensor, geometry: Geometry, windows: Geometry, channels_last: bool
) -> tuple[Tensor, Tensor]:
    size = windows.outputs(geometry.outputs(x.shape[2:]))
    y = empty_images(x, x.shape[0], weight.shape[0], size, channels_last)
    return y, empty_images(x, x.shape[0], weight.shape[0], size, True, index_dtype(windows))


@opaque(_empty_outputs)
@dispatch(_forward_by_tiles)
def _convolve_rectified_pooled(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    groups: int,
    windows: Geometry,
    channels_last: bool,
) -> tuple[Tensor, Tensor]:
    """Returns the maximum of each window and 0, and the argmax."""
    z = dispatched.convolve(x, weight, bias, geometry, groups, geometry.outputs(x.shape[2:]), channels_last)
    largest, argmax = max_and_argmax(z, windows)
    y = clipped(largest, 0)
    return torch.where(argmax == windows.positions, largest, y) if windows.pads else y, argmax


def _backward_by_tiles(
    grad: Tensor,
    argmax: Tensor,
    x: Tensor,
    weight: Tensor,
    geometry: Geometry,
    groups: int,
    windows: Geometry,
    channels_last: bool,
    need_x: bool,
    need_weight: bool,
) -> Sequence[Tensor]:
    if not pooled.worthwhile(x, weight, geometry, groups, windows):
        return NotImplemented
    fused = pooled.gradients(grad, argmax, x, weight, (need_x, need_weight), geometry.padding)
    return NotImplemented if fused is None else [g for g in fused if g is not None]


def _empty_gradients(
    x: Tensor, weight: Tensor, channels_last: bool, need_x: bool, need_weight: bool
) -> Sequence[Tensor]:
    grad_x = [empty_images(x, x.shape[0], x.shape[1], x.shape[2:], channels_last)] if need_x else []
    return [*grad_x, weight.new_empty(weight.shape)] if need_weight else grad_x


@opaque(_empty_gradients)
@dispatch(_backward_by_tiles)
def _gradients_at_argmax(
    grad: Tensor,
    argmax: Tensor,
    x: Tensor,
    weight: Tensor,
    geometry: Geometry,
    groups: int,
    windows: Geometry,
    channels_last: bool,
    need_x: bool,
    need_weight: bool,
) -> Sequence[Tensor]:
    """Returns those gradients of images and weight that are needed, from that of the maxima."""
    upstream = scatter_to_argmax(grad, argmax, windows, geometry.outputs(x.shape[2:]))
    both = dispatched.gradients(upstream, x, weight, (need_x, need_weight), geometry, groups)
    return [g for g in both if g is not None]


class ConvolutionReLUMaxPoolFunction(Function):
    """Convolves, rectifies and pools. Saves images, weight, argmax, and where the output is not positive."""

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
        y, argmax = _convolve_rectified_pooled(x, weight, bias, geometry, groups, windows, channels_last)
        return y, (x, weight, y <= 0, argmax)

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
        """Returns the convolution's gradients, with the upstream scattered to the argmax positions."""
        x, weight, off, argmax = saved
        grad = torch.where(off, 0, grad)
        last = dispatched.returns_channels_last(x, weight)
        found = _gradients_at_argmax(grad, argmax, x, weight, geometry, groups, windows, last, needs[0], needs[1])
        grad_x = laid_out(found[0], last) if needs[0] else None
        grad_weight = in_strides_of(weight, found[-1]) if needs[1] else None
        return grad_x, grad_weight, grad.sum((0, 2, 3)) if needs[2] else None

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
        x, weight, off, argmax = saved
        of_z = tangent(tangents, x, weight, geometry, groups)
        return torch.where(off, 0, gather_at_argmax(of_z, argmax, windows))


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
    """Computes ``max_pool2d(relu(conv2d(input, weight, bias, …)), …)``.

    Takes the arguments of `conv2d`, ``ceil_mode``, and the other arguments of `max_pool2d` with the prefix ``pool_``.

    In float16 and bfloat16 and under autocast it runs the ops in turn, because rounding between them creates ties.

    ``memory_format`` sets the format of the output: ``torch.contiguous_format``, ``torch.channels_last``, or
    ``torch.preserve_format`` to choose as `conv2d` does.

    Returns:
        A tensor of shape ``(B, O, P, Q)`` or ``(O, P, Q)``.

    Raises:
        TypeError: if an argument is not a tensor, or an option not an integer.
        NotImplementedError: if a tensor is not floating point.
        RuntimeError: if shapes, dtypes or options do not match.
    """
    op = "conv2d_relu_max_pool2d"
    x, geometry, unbatched = prepare(op, 2, input, weight, bias, stride, padding, dilation, groups)
    pooling = pool_kernel_size, pool_stride, pool_padding, pool_dilation, ceil_mode
    outputs = x.new_empty((1, weight.shape[0], *geometry.outputs(x.shape[2:])), device="meta")
    windows = pooling_geometry(op, outputs, *pooling, prefix="pool_")
    channels_last = wants_channels_last(op, memory_format, x, weight)
    if x.dtype in LOW_PRECISION or autocasts(x):
        z = conv2d_relu(input, weight, bias, stride, padding, dilation, groups, memory_format=memory_format)
        return max_pool2d(z, *pooling)
    y = laid_out(
        ConvolutionReLUMaxPoolFunction.apply(x, weight, bias, geometry, groups, windows, channels_last),
        channels_last,
    )
    return y.squeeze(0) if unbatched else y
