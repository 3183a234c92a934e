r"""Average pooling: each output is the mean of its window.

.. math::
    y_p = \frac{1}{n_p} \sum_{r \in \text{window}} x_{p,r}
    \qquad \bar x_i = \sum_{p \ni i} \frac{\bar y_p}{n_p}

The count n of a window includes the padding it sees, or does not (``count_include_pad``), or is a number given
(``divisor_override``). Averaging is linear: the backward is its adjoint and keeps nothing, forward mode is the same
average of the tangent.

Shapes: B samples, C channels, H × W pixels, R × S kernel, P × Q outputs.

Source: Y. LeCun et al., "Handwritten digit recognition with a back-propagation network", 1989.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import floating, overridable
from scratchnet.function import Function, recorded
from scratchnet.layout import laid_out
from scratchnet.pooling.windows import Size, finish, pooling_geometry, returns_channels_last, upcast, with_batch
from scratchnet.windows import Geometry, col2im, padded, sizes

__all__ = ["AvgPoolFunction", "avg_pool1d", "avg_pool2d", "avg_pool3d", "divisor", "window_counts"]

Counts = tuple[int | tuple[int, ...], ...]


class AvgPoolFunction(Function):
    """The sum of each window over its count, a product of one factor for each dimension. Keeps nothing."""

    @staticmethod
    def forward(
        x: Tensor, *, geometry: Geometry, size: tuple[int, ...], counts: Counts, channels_last: bool
    ) -> tuple[Tensor, tuple[()]]:
        """The averages."""
        return average(x, geometry, counts), ()

    @staticmethod
    def backward(
        grad: Tensor,
        saved: Sequence[Tensor],
        needs: Sequence[bool],
        *,
        geometry: Geometry,
        size: tuple[int, ...],
        counts: Counts,
        channels_last: bool,
    ) -> Tensor:
        """The shares of the gradient."""
        return laid_out(average_adjoint(grad, geometry, size, counts), channels_last)

    @staticmethod
    def jvp(
        tangents: Sequence[Tensor],
        saved: Sequence[Tensor],
        *,
        geometry: Geometry,
        size: tuple[int, ...],
        counts: Counts,
        channels_last: bool,
    ) -> Tensor:
        """The averages of the tangent."""
        return average(tangents[0], geometry, counts)


def average(x: Tensor, geometry: Geometry, counts: Counts) -> Tensor:
    """Adds up the places of all windows at once, and divides."""
    wide = padded(x, geometry, 0.0)
    first, *others = geometry.slices(geometry.outputs(x.shape[2:]))
    if not recorded():
        total = wide[first].clone(memory_format=torch.contiguous_format)
        for place in others:
            total.add_(wide[place])
        return total.div_(divisor(counts, x))
    total = wide[first]
    for place in others:
        total = total + wide[place]
    by = divisor(counts, x)
    return total / by if x.is_floating_point() else total.div(by, rounding_mode="trunc")


def average_adjoint(grad: Tensor, geometry: Geometry, size: Sequence[int], counts: Counts) -> Tensor:
    """The adjoint of `average`: gives every place of a window the same share, and adds the windows up."""
    share = grad / divisor(counts, grad)
    if recorded():
        return col2im(share.unsqueeze(2).expand(-1, -1, geometry.positions, *grad.shape[2:]), size, geometry)
    total = grad.new_zeros((*grad.shape[:2], *geometry.extent(size)))
    for place in geometry.slices(grad.shape[2:]):
        total[place].add_(share)
    return total[geometry.inside(size)]


def divisor(counts: Counts, like: Tensor) -> Tensor | int:
    """The counts of all windows, ``(P, Q)``, or the one that all have."""
    total: Tensor | int = 1
    for count in counts:
        along: Tensor | int
        if not isinstance(count, tuple):
            along = count
        else:
            outputs, kernel, stride, margin, low, high = count
            starts = torch.arange(outputs, device=like.device) * stride - margin
            along = ((starts + kernel).clamp(max=high) - starts.clamp(min=low)).to(like.dtype)
        total = (total.unsqueeze(-1) if isinstance(total, Tensor) else total) * along
    return total


def window_counts(geometry: Geometry, size: Sequence[int], margins: Sequence[int], include_pad: bool) -> Counts:
    """How many elements windows have along each dimension, with or without padding, but never beyond it.

    Either a number that all have, or what follows: how many windows, kernel, stride, margin, first element and last.
    """
    return tuple(
        k
        if isinstance(padding[1], int)
        and padding == (p, p)
        and (include_pad or not p)  # in a trace it is no integer
        else (m, k, s, p, *((-p, n + p) if include_pad else (0, n)))
        for n, m, k, s, p, padding in zip(
            size, geometry.outputs(size), geometry.kernel, geometry.stride, margins, geometry.padding, strict=True
        )
    )


def _avg_pool(
    op: str,
    dims: int,
    input: Tensor,
    kernel_size: Size,
    stride: Size | None,
    padding: Size,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    x, unbatched = with_batch(op, input, dims)
    floating(op, x, integer=True)
    geometry = pooling_geometry(op, x, kernel_size, stride, padding, 1, ceil_mode)
    size = tuple(x.shape[2:])
    if divisor_override is None:
        counts = window_counts(geometry, size, sizes(op, "padding", padding, dims, least=0), count_include_pad)
    elif divisor_override:
        counts = (divisor_override,)
    else:
        raise RuntimeError(f"{op}: expected a divisor_override other than 0, got {divisor_override}")
    channels_last = returns_channels_last(x)
    return finish(
        AvgPoolFunction.apply(upcast(x) if dims == 3 else x, geometry, size, counts, channels_last),
        channels_last,
        unbatched,
    )


@overridable
def avg_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window along a line.

    Args:
        input: tensor of shape ``(B, C, L)`` or ``(C, L)``.
        kernel_size: elements of a window.
        stride: elements from one window to the next; the kernel's size by default.
        padding: elements of zeros on each side, at most half the kernel.
        ceil_mode: whether a last window may stick out.
        count_include_pad: whether the mean counts the zeros of the padding.

    Returns:
        A tensor with P outputs in place of L.

    Raises:
        TypeError: if the input is no tensor, or an option no integer.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if the input's shape or an option does not fit.
    """
    op = "avg_pool1d"
    return _avg_pool(op, 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


@overridable
def avg_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of an image.

    Args:
        input: tensor of shape ``(B, C, H, W)`` or ``(C, H, W)``.
        kernel_size: pixels of a window.
        stride: pixels from one window to the next; the kernel's size by default.
        padding: pixels of zeros on each side, at most half the kernel.
        ceil_mode: whether a last window may stick out.
        count_include_pad: whether the mean counts the zeros of the padding.
        divisor_override: divide by this number instead.

    Returns:
        A tensor with P × Q outputs in place of H × W.

    Raises:
        TypeError: if the input is no tensor, or an option no integer.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if the input's shape or an option does not fit.
    """
    op = "avg_pool2d"
    return _avg_pool(op, 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


@overridable
def avg_pool3d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of a volume.

    Args:
        input: tensor of shape ``(B, C, D, H, W)`` or ``(C, D, H, W)``.
        kernel_size: voxels of a window.
        stride: voxels from one window to the next; the kernel's size by default.
        padding: voxels of zeros on each side, at most half the kernel.
        ceil_mode: whether a last window may stick out.
        count_include_pad: whether the mean counts the zeros of the padding.
        divisor_override: divide by this number instead.

    Returns:
        A tensor with N × P × Q outputs in place of D × H × W.

    Raises:
        TypeError: if the input is no tensor, or an option no integer.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if the input's shape or an option does not fit.
    """
    op = "avg_pool3d"
    return _avg_pool(op, 3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
