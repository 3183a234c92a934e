r"""Unfold and fold: the windows of an image as the columns of a matrix (im2col), and their sum (col2im).

.. math::
    \operatorname{unfold}(x)_{(c, r, s), (p, q)} = x_{c,\; p + r,\; q + s}

Both are linear, and each is the other's adjoint, so each is the other's backward: for any image x and any columns y

.. math::
    \langle y, \operatorname{unfold}(x) \rangle = \langle \operatorname{fold}(y), x \rangle

Neither keeps anything, and forward mode is the op itself on the tangent.

Shapes: B images, C channels, H × W pixels, R × S kernel, L = P·Q windows.

Source: Chellapilla, Puri and Simard, "High Performance Convolutional Neural Networks for Document Processing", 2006.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from scratchnet.arguments import describe, floating, overridable
from scratchnet.function import Function, recorded
from scratchnet.windows import Geometry, col2im, im2col, read_columns, sizes, write_padded

__all__ = ["FoldFunction", "UnfoldFunction", "fold", "unfold"]

Pair = int | Sequence[int]


class UnfoldFunction(Function):
    """From images ``(B, C, H, W)`` to columns ``(B, C·R·S, L)``."""

    @staticmethod
    def forward(x: Tensor, *, geometry: Geometry, size: tuple[int, ...]) -> tuple[Tensor, tuple[()]]:
        """Takes the windows."""
        return _unfolded(x, geometry), ()

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, geometry: Geometry, size: tuple[int, ...]
    ) -> Tensor:
        """Adds the windows up."""
        return _folded(grad, geometry, size)

    @staticmethod
    def jvp(
        tangents: Sequence[Tensor], saved: Sequence[Tensor], *, geometry: Geometry, size: tuple[int, ...]
    ) -> Tensor:
        """Takes the windows of the tangent."""
        return _unfolded(tangents[0], geometry)


class FoldFunction(Function):
    """From columns ``(B, C·R·S, L)`` to images ``(B, C, H, W)``."""

    @staticmethod
    def forward(x: Tensor, *, geometry: Geometry, size: tuple[int, ...]) -> tuple[Tensor, tuple[()]]:
        """Adds the windows up."""
        return _folded(x, geometry, size), ()

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, geometry: Geometry, size: tuple[int, ...]
    ) -> Tensor:
        """Takes the windows."""
        return _unfolded(grad, geometry)

    @staticmethod
    def jvp(
        tangents: Sequence[Tensor], saved: Sequence[Tensor], *, geometry: Geometry, size: tuple[int, ...]
    ) -> Tensor:
        """Adds the windows of the tangent up."""
        return _folded(tangents[0], geometry, size)


def _unfolded(x: Tensor, geometry: Geometry) -> Tensor:
    batch, channels, *size = x.shape
    outputs = geometry.outputs(size)
    shape = (batch, channels * geometry.positions, math.prod(outputs))
    if recorded():
        return im2col(x, geometry).reshape(shape)
    wide = write_padded(x, geometry, x.new_zeros((batch, channels, *geometry.extent(size))))
    return read_columns(wide, geometry, outputs, x.new_empty((batch, channels, *geometry.kernel, *outputs))).view(
        shape
    )


def _folded(cols: Tensor, geometry: Geometry, size: tuple[int, ...]) -> Tensor:
    batch, rows, _ = cols.shape
    outputs = geometry.outputs(size)
    windows = cols.reshape(batch, rows // geometry.positions, geometry.positions, *outputs)
    if recorded():
        return col2im(windows, size, geometry)
    total = cols.new_zeros((batch, rows // geometry.positions, *geometry.extent(size)))
    for i, place in enumerate(geometry.slices(outputs)):
        total[place].add_(windows[:, :, i])
    return total[geometry.inside(size)].contiguous()


def _windows(
    op: str, size: Sequence[int], kernel_size: Pair, dilation: Pair, padding: Pair, stride: Pair
) -> Geometry:
    margins = sizes(op, "padding", padding, 2, least=0)
    geometry = Geometry(
        sizes(op, "kernel_size", kernel_size, 2, least=1),
        sizes(op, "stride", stride, 2, least=1),
        tuple((p, p) for p in margins),
        sizes(op, "dilation", dilation, 2, least=1),
    )
    if min(geometry.outputs(size)) < 1:
        raise RuntimeError(
            f"{op}: expected an image of at least the kernel's size, got a kernel of {geometry.kernel} with dilation "
            f"{geometry.dilation} on {geometry.extent(size)} pixels, padding included"
        )
    return geometry


@overridable
def unfold(input: Tensor, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1) -> Tensor:
    """The windows of images as columns.

    Args:
        input: images of shape ``(B, C, H, W)`` or ``(C, H, W)``.
        kernel_size: R and S.
        dilation: pixels from one element of a window to the next.
        padding: pixels of zeros on each side.
        stride: pixels from one window to the next.

    Returns:
        A tensor of shape ``(B, C·R·S, L)`` or ``(C·R·S, L)``, one column for each window.

    Raises:
        TypeError: if the input is no tensor, or an option no integer.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if shape and options do not fit each other.
    """
    op = "unfold"
    x = floating(op, input, complex=True, boolean=True)
    if x.dim() not in (3, 4) or 0 in x.shape[-3:]:
        raise RuntimeError(
            f"{op}: expected an input of shape (B, C, H, W) or (C, H, W), of which only the batch may be empty, "
            f"got {describe(x)}"
        )
    size = tuple(x.shape[-2:])
    geometry = _windows(op, size, kernel_size, dilation, padding, stride)
    if x.dim() == 3:
        return UnfoldFunction.apply(x.unsqueeze(0), geometry, size).squeeze(0)
    return UnfoldFunction.apply(x, geometry, size)


@overridable
def fold(
    input: Tensor, output_size: Pair, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1
) -> Tensor:
    """Adds windows, given as columns, up into images.

    Args:
        input: columns of shape ``(B, C·R·S, L)`` or ``(C·R·S, L)``.
        output_size: H and W.
        kernel_size: R and S.
        dilation: pixels from one element of a window to the next.
        padding: pixels on each side of the image into which windows reach, and which are dropped.
        stride: pixels from one window to the next.

    Returns:
        A tensor of shape ``(B, C, H, W)`` or ``(C, H, W)``.

    Raises:
        TypeError: if the input is no tensor, or an option no integer.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if shape and options do not fit each other.
    """
    op = "fold"
    x = floating(op, input, complex=True, boolean=True)
    if x.dim() not in (2, 3) or 0 in x.shape[-2:]:
        raise RuntimeError(
            f"{op}: expected an input of shape (B, C·R·S, L) or (C·R·S, L), of which only the batch may be empty, "
            f"got {describe(x)}"
        )
    size = sizes(op, "output_size", output_size, 2, least=1)
    geometry = _windows(op, size, kernel_size, dilation, padding, stride)
    outputs = geometry.outputs(size)
    if x.shape[-2] % geometry.positions or x.shape[-1] != math.prod(outputs):
        raise RuntimeError(
            f"{op}: expected a multiple of {geometry.positions} rows and {math.prod(outputs)} columns for {outputs} "
            f"windows of {geometry.kernel} pixels, got {describe(x)}"
        )
    if x.dim() == 2:
        return FoldFunction.apply(x.unsqueeze(0), geometry, size).squeeze(0)
    return FoldFunction.apply(x, geometry, size)
