r"""Maximum pooling: each output is the largest element of its window.

.. math::
    y_p = \max_{r \in \text{window}} x_{p,r}
    \qquad \frac{\partial y_p}{\partial x_{p,r}} = \begin{cases} 1 & r = r^*_p \\ 0 & \text{else} \end{cases}

with :math:`r^*` the place of the maximum, which `scratchnet.pooling.argmax` finds. The gradient goes to that
place alone; where windows overlap, an element gets the sum over all that it won. All that the backward needs is
:math:`r^*`, one byte for each output.

Shapes: B samples, C channels, H × W pixels, R × S kernel, P × Q outputs.

Source: Y.-T. Zhou and R. Chellappa, "Computation of optical flow using a neural network", 1988.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from scratchnet.arguments import describe, overridable
from scratchnet.function import Function
from scratchnet.layout import as_images, is_channels_last, laid_out
from scratchnet.pooling.argmax import flat_indices, gather_at_argmax, max_and_argmax, scatter_to_argmax
from scratchnet.pooling.windows import Size, finish, pooling_geometry, upcast, with_batch
from scratchnet.windows import Geometry

__all__ = ["MaxPoolFunction", "max_pool1d", "max_pool2d", "max_pool3d"]


class MaxPoolFunction(Function):
    """The maximum of each window, and which place of the window it has. Keeps the place."""

    auxiliary = 1

    @staticmethod
    def forward(
        x: Tensor, *, geometry: Geometry, size: tuple[int, ...], channels_last: bool
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor]]:
        """The largest element of each window, and its number in the window."""
        y, which = max_and_argmax(x, geometry)
        return (y, which), (which,)

    @staticmethod
    def backward(
        grad: Tensor,
        saved: Sequence[Tensor],
        needs: Sequence[bool],
        *,
        geometry: Geometry,
        size: tuple[int, ...],
        channels_last: bool,
    ) -> Tensor:
        """Adds the gradients up at the places that won."""
        return laid_out(scatter_to_argmax(grad, saved[0], geometry, size), channels_last)

    @staticmethod
    def jvp(
        tangents: Sequence[Tensor],
        saved: Sequence[Tensor],
        *,
        geometry: Geometry,
        size: tuple[int, ...],
        channels_last: bool,
    ) -> Tensor:
        """The winner's tangent."""
        return gather_at_argmax(tangents[0], saved[0], geometry)


def _max_pool(
    op: str,
    dims: int,
    input: Tensor,
    kernel_size: Size,
    stride: Size | None,
    padding: Size,
    dilation: Size,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    x, unbatched = with_batch(op, input, dims)
    if x.dtype is torch.bool or (dims == 1 and not return_indices and not x.is_floating_point()):
        raise NotImplementedError(f"{op}: expected numbers, got {describe(x)}; convert it with .float()")
    geometry = pooling_geometry(op, x, kernel_size, stride, padding, dilation, ceil_mode)
    size = tuple(x.shape[2:])
    channels_last = is_channels_last(as_images(x))
    y, which = MaxPoolFunction.apply(upcast(x) if dims == 3 else x, geometry, size, channels_last)
    y = finish(y, channels_last, unbatched)
    if dims == 1 and not (x.requires_grad or return_indices):
        y = y.contiguous()  # the built-in has a kernel of its own for this
    return (y, finish(flat_indices(which, geometry, size), channels_last, unbatched)) if return_indices else y


@overridable
def max_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window along a line.

    Args:
        input: tensor of shape ``(B, C, L)`` or ``(C, L)``.
        kernel_size: elements of a window.
        stride: elements from one window to the next; the kernel's size by default.
        padding: elements of -inf on each side, at most half the kernel.
        dilation: elements from one element of a window to the next.
        ceil_mode: whether a last window may stick out.
        return_indices: whether to return where the elements were too.

    Returns:
        A tensor with P outputs in place of L; with ``return_indices`` also a tensor of
        indices into the flattened line.

    Raises:
        TypeError: if the input is no tensor, or an option no integer.
        NotImplementedError: if the input's dtype has no order or is not floating point.
        RuntimeError: if the input's shape or an option does not fit.
    """
    op = "max_pool1d"
    return _max_pool(op, 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@overridable
def max_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window of an image.

    Args:
        input: tensor of shape ``(B, C, H, W)`` or ``(C, H, W)``.
        kernel_size: pixels of a window.
        stride: pixels from one window to the next; the kernel's size by default.
        padding: pixels of -inf on each side, at most half the kernel.
        dilation: pixels from one element of a window to the next.
        ceil_mode: whether a last window may stick out.
        return_indices: whether to return where the elements were too.

    Returns:
        A tensor with P × Q outputs in place of H × W; with ``return_indices`` also a tensor of
        indices into the flattened image.

    Raises:
        TypeError: if the input is no tensor, or an option no integer.
        NotImplementedError: if the input's dtype has no order.
        RuntimeError: if the input's shape or an option does not fit.
    """
    op = "max_pool2d"
    return _max_pool(op, 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@overridable
def max_pool3d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window of a volume.

    Args:
        input: tensor of shape ``(B, C, D, H, W)`` or ``(C, D, H, W)``.
        kernel_size: voxels of a window.
        stride: voxels from one window to the next; the kernel's size by default.
        padding: voxels of -inf on each side, at most half the kernel.
        dilation: voxels from one element of a window to the next.
        ceil_mode: whether a last window may stick out.
        return_indices: whether to return where the elements were too.

    Returns:
        A tensor with N × P × Q outputs in place of D × H × W; with ``return_indices`` also a tensor of
        indices into the flattened volume.

    Raises:
        TypeError: if the input is no tensor, or an option no integer.
        NotImplementedError: if the input's dtype has no order.
        RuntimeError: if the input's shape or an option does not fit.
    """
    op = "max_pool3d"
    return _max_pool(op, 3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)
