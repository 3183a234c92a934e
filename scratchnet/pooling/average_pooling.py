r"""Average pooling: each output is the mean of its window.

.. math::
    y_p = \frac{1}{n_p} \sum_{r \in \text{window}} x_{p,r}
    \qquad \bar x_i = \sum_{p \ni i} \frac{\bar y_p}{n_p}

The count n of a window includes the padding it sees (``count_include_pad``) or not, or is ``divisor_override``.
Averaging is linear: the backward is its adjoint and saves nothing, and forward mode averages the tangent.

Shapes: B samples, C channels, H × W pixels, R × S kernel, P × Q outputs.

Source: Y. LeCun et al., "Handwritten digit recognition with a back-propagation network", 1989.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from scratchnet.arguments import floating, overridable
from scratchnet.function import Function, dispatch
from scratchnet.layout import laid_out
from scratchnet.pooling import in_place
from scratchnet.pooling.windows import (
    Counts,
    Size,
    divisor,
    finish,
    form,
    pooling_geometry,
    returns_channels_last,
    upcast,
    window_counts,
    with_batch,
)
from scratchnet.windows import Geometry, col2im, padded, sizes

__all__ = ["AvgPoolFunction", "avg_pool", "avg_pool1d", "avg_pool2d", "avg_pool3d", "average", "average_adjoint"]


class AvgPoolFunction(Function):
    """Divides the sum of each window by its count, a product of one factor per dimension. Saves nothing."""

    @staticmethod
    def forward(
        x: Tensor, *, geometry: Geometry, size: tuple[int, ...], counts: Counts, channels_last: bool
    ) -> tuple[Tensor, tuple[()]]:
        return average(x, geometry, counts), ()

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, channels_last: bool, **windows: Any
    ) -> Tensor:
        return laid_out(average_adjoint(grad, **windows), channels_last)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], **options: Any) -> Tensor:
        return AvgPoolFunction.forward(tangents[0], **options)[0]


@dispatch(in_place.average)
def average(x: Tensor, geometry: Geometry, counts: Counts) -> Tensor:
    """Adds the positions of all windows up, and divides."""
    wide = padded(x, geometry.padding, 0.0)
    first, *others = geometry.slices(geometry.outputs(x.shape[2:]))
    total, by = wide[first], divisor(counts, x)
    for position in others:
        total = total + wide[position]
    return total / by if x.is_floating_point() else total.div(by, rounding_mode="trunc")


@dispatch(in_place.average_adjoint)
def average_adjoint(grad: Tensor, geometry: Geometry, size: Sequence[int], counts: Counts) -> Tensor:
    """Gives each position of a window the same share of the gradient, and adds overlapping windows up."""
    share = (grad / divisor(counts, grad)).unsqueeze(2)
    return col2im(share.expand(-1, -1, geometry.positions, *grad.shape[2:]), size, geometry)


def avg_pool(
    dims: int,
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Averages each window.

    Args:
        dims: number of dimensions.
        input: tensor of floating-point numbers or integers.
        kernel_size: size of a window, in pixels.
        stride: distance between windows; the kernel size by default.
        padding: rows and columns of zeros added on each side, at most half the kernel.
        ceil_mode: whether the last window may extend beyond the padded image.
        count_include_pad: whether the zeros of the padding count.
        divisor_override: a divisor that replaces the count.

    Returns:
        A tensor with P × Q outputs in place of H × W.

    Raises:
        TypeError: if the input is not a tensor, or an option not an integer.
        RuntimeError: if the input's shape or an option is out of range.
    """
    op = f"avg_pool{dims}d"
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


avg_pool2d, avg_pool3d = form(avg_pool, 2), form(avg_pool, 3)


@overridable
def avg_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Averages each window of sequences (B, C, L) or (C, L), as `avg_pool2d` does."""
    return avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad)
