r"""Unfold and fold: windows of an image to columns of a matrix (im2col), and their sum back to an image (col2im).

.. math::
    \operatorname{unfold}(x)_{(c, r, s), (p, q)} = x_{c,\; p + r,\; q + s}

Both are linear, and each is the adjoint, hence the backward, of the other: for any image x and any columns y

.. math::
    \langle y, \operatorname{unfold}(x) \rangle = \langle \operatorname{fold}(y), x \rangle

Neither saves anything, and forward mode applies the op to the tangent.

Shapes: B images, C channels, H × W pixels, R × S kernel, L = P·Q windows.

Source: K. Chellapilla, S. Puri and P. Simard, "High performance convolutional neural networks for document processing",
2006.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from scratchnet.arguments import describe, floating, overridable
from scratchnet.convolution.shapes import check_covers, window_geometry
from scratchnet.function import Function
from scratchnet.windows import Geometry, col2im, im2col, sizes

__all__ = ["FoldFunction", "UnfoldFunction", "fold", "unfold"]

Pair = int | Sequence[int]
Sizes = tuple[int, ...]


class UnfoldFunction(Function):
    """Maps images (B, C, H, W) to columns (B, C·R·S, L)."""

    @staticmethod
    def forward(x: Tensor, *, geometry: Geometry, size: Sizes) -> tuple[Tensor, tuple[()]]:
        return _unfold(x, geometry), ()

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, geometry: Geometry, size: Sizes
    ) -> Tensor:
        return _fold(grad, geometry, size)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], **options: Any) -> Tensor:
        return UnfoldFunction.forward(tangents[0], **options)[0]


class FoldFunction(Function):
    """Maps columns (B, C·R·S, L) to images (B, C, H, W)."""

    @staticmethod
    def forward(x: Tensor, *, geometry: Geometry, size: Sizes) -> tuple[Tensor, tuple[()]]:
        return _fold(x, geometry, size), ()

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, geometry: Geometry, size: Sizes
    ) -> Tensor:
        return _unfold(grad, geometry)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], **options: Any) -> Tensor:
        return FoldFunction.forward(tangents[0], **options)[0]


def _unfold(x: Tensor, geometry: Geometry) -> Tensor:
    windows = im2col(x, geometry)
    batch, channels, positions, *outputs = windows.shape
    return windows.reshape(batch, channels * positions, math.prod(outputs)).contiguous()


def _fold(cols: Tensor, geometry: Geometry, size: Sizes) -> Tensor:
    batch, rows, _ = cols.shape
    shape = (batch, rows // geometry.positions, geometry.positions, *geometry.outputs(size))
    return col2im(cols.reshape(shape), size, geometry).contiguous()


def _geometry(
    op: str, size: Sequence[int], kernel_size: Pair, dilation: Pair, padding: Pair, stride: Pair
) -> Geometry:
    kernel, margins = sizes(op, "kernel_size", kernel_size, 2, least=1), sizes(op, "padding", padding, 2, least=0)
    geometry = window_geometry(op, kernel, stride, margins, dilation, groups=1)
    check_covers(op, geometry, size)
    return geometry


@overridable
def unfold(input: Tensor, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1) -> Tensor:
    """Extracts the windows of images as columns.

    Args:
        input: images of shape ``(B, C, H, W)`` or ``(C, H, W)``.
        kernel_size: R and S.
        dilation: distance between elements of a window, in pixels.
        padding: rows and columns of zeros added on each side.
        stride: distance between windows, in pixels.

    Returns:
        A tensor of shape ``(B, C·R·S, L)`` or ``(C·R·S, L)``, one column per window.

    Raises:
        TypeError: if the input is not a tensor, or an option not an integer.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if shape and options do not match.
    """
    op = "unfold"
    x = floating(op, input, complex=True, boolean=True)
    if x.dim() not in (3, 4) or 0 in x.shape[-3:]:
        raise RuntimeError(
            f"{op}: expected an input of shape (B, C, H, W) or (C, H, W), in which only the batch may be empty, "
            f"got {describe(x)}"
        )
    size = tuple(x.shape[-2:])
    geometry = _geometry(op, size, kernel_size, dilation, padding, stride)
    if x.dim() == 3:
        return UnfoldFunction.apply(x.unsqueeze(0), geometry, size).squeeze(0)
    return UnfoldFunction.apply(x, geometry, size)


@overridable
def fold(
    input: Tensor, output_size: Pair, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1
) -> Tensor:
    """Adds windows, given as columns, up into images: the adjoint of `unfold`.

    Args:
        input: columns of shape ``(B, C·R·S, L)`` or ``(C·R·S, L)``.
        output_size: H and W.
        kernel_size: R and S.
        dilation: distance between elements of a window, in pixels.
        padding: rows and columns removed on each side.
        stride: distance between windows, in pixels.

    Returns:
        A tensor of shape ``(B, C, H, W)`` or ``(C, H, W)``.

    Raises:
        TypeError: if the input is not a tensor, or an option not an integer.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if shape and options do not match.
    """
    op = "fold"
    x = floating(op, input, complex=True, boolean=True)
    if x.dim() not in (2, 3) or 0 in x.shape[-2:]:
        raise RuntimeError(
            f"{op}: expected an input of shape (B, C·R·S, L) or (C·R·S, L), in which only the batch may be empty, "
            f"got {describe(x)}"
        )
    size = sizes(op, "output_size", output_size, 2, least=1)
    geometry = _geometry(op, size, kernel_size, dilation, padding, stride)
    outputs = geometry.outputs(size)
    if x.shape[-2] % geometry.positions or x.shape[-1] != math.prod(outputs):
        raise RuntimeError(
            f"{op}: expected a multiple of {geometry.positions} rows and {math.prod(outputs)} columns for {outputs} "
            f"windows of {geometry.kernel} pixels, got {describe(x)}"
        )
    if x.dim() == 2:
        return FoldFunction.apply(x.unsqueeze(0), geometry, size).squeeze(0)
    return FoldFunction.apply(x, geometry, size)
