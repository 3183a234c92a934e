"""Chooses an algorithm for each product of convolution.

im2col runs where autograd or a transform records the operations. Otherwise: pointwise for 1 × 1 kernels, depthwise if
groups == channels, Winograd for 3 × 3 kernels with finite results, Toeplitz matrices of rows for large kernels with few
channels, gathered GEMM where the windows of an image fit into the cache, shifted GEMM for the rest. im2col also runs
where these would spread an infinity or NaN to other elements. In compiled graphs each product is one operator
(`opaque`), which chooses in the same way.

Results are channels last if images or kernels are.

Shapes: B images, C input and O output channels, G groups, H × W pixels, R × S kernel, P × Q outputs.
"""

from __future__ import annotations

import cmath
from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.convolution.algorithms import (
    depthwise,
    gathered_gemm,
    im2col,
    pointwise,
    shifted_gemm,
    toeplitz_rows,
)
from scratchnet.convolution.algorithms.winograd import filtering as winograd
from scratchnet.convolution.algorithms.winograd.pixels import Pixels
from scratchnet.function import dispatch, opaque, readable
from scratchnet.layout import as_images, empty_images, is_channels_last, laid_out
from scratchnet.windows import Geometry

__all__ = ["backward_input", "convolve", "correlate", "empty_outputs", "gradients", "returns_channels_last"]


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    groups: int,
    outputs: Sequence[int],
    channels_last: bool | None = None,
) -> Tensor:
    """Convolves images (B, C, H, W) with a weight (O, C/G, R, S) and adds a bias; returns (B, O, P, Q).

    ``channels_last`` sets the memory format of the result; by default it follows images and weight.
    """
    channels_last = returns_channels_last(x, weight) if channels_last is None else channels_last
    return laid_out(_convolve(x, weight, bias, geometry, groups, outputs, channels_last), channels_last)


def backward_input(
    y: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    groups: int,
    size: Sequence[int],
    channels_last: bool | None = None,
) -> Tensor:
    """Multiplies outputs (B, O, P, Q) by the adjoint of `convolve` and adds a bias; returns images (B, C, H, W).

    ``channels_last`` sets the memory format of the result; by default it follows outputs and weight.
    """
    channels_last = returns_channels_last(y, weight) if channels_last is None else channels_last
    return laid_out(_backward_input(y, weight, bias, geometry, groups, size, channels_last), channels_last)


def gradients(
    y: Tensor, x: Tensor, weight: Tensor, needs: Sequence[bool], geometry: Geometry, groups: int
) -> tuple[Tensor | None, Tensor | None]:
    """Returns `backward_input` and `correlate` of outputs (B, O, P, Q), where needed."""
    channels_last = returns_channels_last(x, weight)
    if needs[0] and needs[1]:
        both = _gradients(y, x, weight, geometry, groups, channels_last)
        return laid_out(both[0], channels_last), both[1]
    grad_x = backward_input(y, weight, None, geometry, groups, x.shape[2:], channels_last) if needs[0] else None
    return grad_x, correlate(y, x, geometry, groups) if needs[1] else None


def returns_channels_last(x: Tensor, weight: Tensor) -> bool:
    """Returns whether a product of images or outputs and a weight is channels last."""
    return is_channels_last(x) or is_channels_last(as_images(weight))


def _fast_convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    groups: int,
    outputs: Sequence[int],
    channels_last: bool,
) -> Tensor:
    if not (x.numel() and weight.numel()):
        return NotImplemented
    if pointwise.applies(geometry, groups, x.shape[2:], outputs):
        return pointwise.convolve(x, weight, bias, channels_last)
    if geometry.pads and not _finite(weight):
        return NotImplemented
    channels, out = x.shape[1], len(weight)
    if depthwise.applies(channels, out, groups):
        return depthwise.convolve(x, weight, bias, geometry, outputs, channels_last)
    if winograd.worthwhile(x, channels, out, geometry, groups):
        y = winograd.convolve(Pixels(x, geometry.padding), weight, bias, outputs, channels_last)
        if y is not None:
            return y
    if toeplitz_rows.worthwhile(x, channels // groups, out // groups, geometry, x.shape[2:], outputs):
        y = toeplitz_rows.convolve(x, weight, bias, geometry, groups, outputs, channels_last)
        if y is not None:
            return y
    if gathered_gemm.worthwhile(x, channels, out, geometry, groups, outputs):
        return gathered_gemm.convolve(x, weight, bias, geometry, outputs, channels_last)
    return shifted_gemm.convolve(x, weight, bias, geometry, groups, outputs, channels_last)


def empty_outputs(x: Tensor, weight: Tensor, outputs: Sequence[int], channels_last: bool) -> Tensor:
    """Allocates the result of `convolve`."""
    return empty_images(x, x.shape[0], weight.shape[0], outputs, channels_last)


@opaque(empty_outputs)
@dispatch(_fast_convolve)
def _convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    groups: int,
    outputs: Sequence[int],
    channels_last: bool,
) -> Tensor:
    if geometry.pads and not _finite(weight):
        return im2col.convolve_unpadded(x, weight, bias, geometry, groups, outputs)
    return im2col.convolve(x, weight, bias, geometry, groups, outputs)


def _fast_backward_input(
    y: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    groups: int,
    size: Sequence[int],
    channels_last: bool,
) -> Tensor:
    if not (y.numel() and weight.numel()):
        return NotImplemented
    if pointwise.applies(geometry, groups, size, y.shape[2:]):
        return pointwise.backward_input(y, weight, bias, channels_last)
    channels, out = weight.shape[1] * groups, y.shape[1]
    if winograd.worthwhile(y, channels, out, geometry, groups):
        x = winograd.backward_input(winograd.Outputs(y), weight, bias, geometry.padding, size, channels_last)
        if x is not None:
            return x
    if not _finite(weight):
        return _backward_input_by_im2col(y, weight, bias, geometry, groups, size)
    if depthwise.applies(channels, out, groups):
        return depthwise.backward_input(y, weight, bias, geometry, size, channels_last)
    if toeplitz_rows.worthwhile(y, channels // groups, out // groups, geometry, size, y.shape[2:]):
        x = toeplitz_rows.backward_input(y, weight, bias, geometry, groups, size, channels_last)
        if x is not None:
            return x
    if gathered_gemm.worthwhile(y, channels, out, geometry, groups, y.shape[2:]):
        return gathered_gemm.backward_input(y, weight, bias, geometry, size, channels_last)
    return shifted_gemm.backward_input(y, weight, bias, geometry, groups, size)


def _empty_inputs(y: Tensor, weight: Tensor, groups: int, size: Sequence[int], channels_last: bool) -> Tensor:
    return empty_images(y, y.shape[0], weight.shape[1] * groups, size, channels_last)


@opaque(_empty_inputs)
@dispatch(_fast_backward_input)
def _backward_input(
    y: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    groups: int,
    size: Sequence[int],
    channels_last: bool,
) -> Tensor:
    return im2col.backward_input(y, weight, bias, geometry, groups, size)


def _fast_correlate(y: Tensor, x: Tensor, geometry: Geometry, groups: int) -> Tensor:
    if not (y.numel() and x.numel()):
        return NotImplemented
    if pointwise.applies(geometry, groups, x.shape[2:], y.shape[2:]):
        return pointwise.correlate(y, x)
    channels, out = x.shape[1], y.shape[1]
    if winograd.worthwhile(y, channels, out, geometry, groups):
        weight = winograd.correlate(winograd.Outputs(y), Pixels(x, geometry.padding), x)
        if weight is not None:
            return weight
    by_rows = toeplitz_rows.worthwhile(x, channels // groups, out // groups, geometry, x.shape[2:], y.shape[2:])
    if depthwise.applies(channels, out, groups):
        weight = depthwise.correlate(y, x, geometry)
    elif by_rows and (found := toeplitz_rows.correlate(y, x, geometry, groups)) is not None:
        return found
    elif gathered_gemm.worthwhile(y, channels, out, geometry, groups, y.shape[2:]):
        weight = gathered_gemm.correlate(y, x, geometry)
    else:
        weight = shifted_gemm.correlate(y, x, geometry, groups)
    return weight if _finite(weight) else im2col.correlate_unpadded(y, x, geometry, groups)


def _empty_weight(y: Tensor, x: Tensor, geometry: Geometry, groups: int) -> Tensor:
    return x.new_empty((y.shape[1], x.shape[1] // groups, *geometry.kernel))


@opaque(_empty_weight)
@dispatch(_fast_correlate)
def correlate(y: Tensor, x: Tensor, geometry: Geometry, groups: int) -> Tensor:
    """Correlates outputs (B, O, P, Q) with images (B, C, H, W); returns a weight (O, C/G, R, S)."""
    if geometry.pads and not _finite(y):
        return im2col.correlate_unpadded(y, x, geometry, groups)
    return im2col.correlate(y, x, geometry, groups)


def _fast_gradients(
    y: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, groups: int, channels_last: bool
) -> tuple[Tensor, Tensor]:
    """Computes both from windows or tiles that are made once."""
    if not (y.numel() and weight.numel()):
        return NotImplemented
    if pointwise.applies(geometry, groups, x.shape[2:], y.shape[2:]):
        return pointwise.backward_input(y, weight, None, channels_last), pointwise.correlate(y, x)
    grad_x: Tensor | None
    grad_weight: Tensor | None
    sizes = x.shape[1], y.shape[1], geometry, groups
    if winograd.worthwhile(y, *sizes):
        needs, upstream = (True, True), winograd.Outputs(y)
        grad_x, grad_weight = winograd.gradients(upstream, x, weight, needs, geometry.padding, channels_last)
    elif gathered_gemm.worthwhile(y, *sizes, y.shape[2:]) and _finite(weight):
        grad_x, grad_weight = gathered_gemm.gradients(y, x, weight, geometry, channels_last)
        grad_weight = grad_weight if _finite(grad_weight) else None
    else:
        return NotImplemented
    if grad_x is None:
        grad_x = _backward_input_by_im2col(y, weight, None, geometry, groups, x.shape[2:])
    if grad_weight is None:
        grad_weight = im2col.correlate_unpadded(y, x, geometry, groups)
    return grad_x, grad_weight


def _empty_gradients(x: Tensor, weight: Tensor, channels_last: bool) -> tuple[Tensor, Tensor]:
    return empty_images(x, x.shape[0], x.shape[1], x.shape[2:], channels_last), weight.new_empty(weight.shape)


@opaque(_empty_gradients)
@dispatch(_fast_gradients)
def _gradients(
    y: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, groups: int, channels_last: bool
) -> tuple[Tensor, Tensor]:
    grad_x = _backward_input(y, weight, None, geometry, groups, x.shape[2:], channels_last)
    return grad_x, correlate(y, x, geometry, groups)


def _backward_input_by_im2col(
    y: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, groups: int, size: Sequence[int]
) -> Tensor:
    return torch.cat([im2col.backward_input(one, weight, bias, geometry, groups, size) for one in y.split(1)])


def _finite(x: Tensor) -> bool:
    """Returns whether all elements are finite, or True if reading them would stall a device.

    An infinity or NaN times a zero, of the padding or between the rows of a polyphase layout, would add a NaN.
    """
    return not readable(x) or cmath.isfinite(x.sum().item())
