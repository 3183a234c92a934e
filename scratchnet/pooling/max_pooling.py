r"""Max pooling: each output is the maximum of its window.

.. math::
    y_p = \max_{r \in \text{window}} x_{p,r}
    \qquad \frac{\partial y_p}{\partial x_{p,r}} = \begin{cases} 1 & r = r^*_p \\ 0 & \text{else} \end{cases}

with :math:`r^*` the argmax, from `scratchnet.pooling.argmax`. The backward adds the gradients of all windows up at the
argmax positions. It needs only :math:`r^*`, usually one byte per output.

Shapes: B samples, C channels, H × W pixels, R × S kernel, P × Q outputs.

Source: Y.-T. Zhou and R. Chellappa, "Computation of optical flow using a neural network", 1988.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from scratchnet.arguments import describe, is_integer
from scratchnet.function import Function
from scratchnet.layout import as_images, is_channels_last, laid_out
from scratchnet.pooling.argmax import gather_at_argmax, max_and_argmax, scatter_to_argmax
from scratchnet.pooling.positions import flat_indices
from scratchnet.pooling.windows import Size, finish, form, pooling_geometry, upcast, with_batch
from scratchnet.windows import Geometry

__all__ = ["MaxPoolFunction", "max_pool", "max_pool1d", "max_pool2d", "max_pool3d"]

Sizes = tuple[int, ...]


class MaxPoolFunction(Function):
    """Returns the maximum and argmax of each window. Saves the argmax."""

    auxiliary = 1

    @staticmethod
    def forward(
        x: Tensor, *, geometry: Geometry, size: Sizes, channels_last: bool
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor]]:
        y, argmax = max_and_argmax(x, geometry)
        return (y, argmax), (argmax,)

    @staticmethod
    def backward(
        grad: Tensor,
        saved: Sequence[Tensor],
        needs: Sequence[bool],
        *,
        geometry: Geometry,
        size: Sizes,
        channels_last: bool,
    ) -> Tensor:
        return laid_out(scatter_to_argmax(grad, saved[0], geometry, size), channels_last)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, geometry: Geometry, **_: Any) -> Tensor:
        return gather_at_argmax(tangents[0], saved[0], geometry)


def max_pool(
    dims: int,
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Computes the maximum of each window.

    Args:
        dims: number of dimensions.
        input: tensor of any dtype that has an order.
        kernel_size: size of a window, in pixels.
        stride: distance between windows; the kernel size by default.
        padding: rows and columns of -inf added on each side, at most half the kernel.
        dilation: distance between elements of a window.
        ceil_mode: whether the last window may extend beyond the padded image.
        return_indices: whether to return indices as well.

    Returns:
        A tensor with P × Q outputs in place of H × W; with ``return_indices`` also their indices into the flattened
        images.

    Raises:
        TypeError: if the input is not a tensor, or an option not an integer.
        NotImplementedError: if the input's dtype has no order.
        RuntimeError: if the input's shape or an option is out of range.
    """
    op = f"max_pool{dims}d"
    x, unbatched = with_batch(op, input, dims)
    if not (x.is_floating_point() or (is_integer(x) and (dims > 1 or return_indices))):
        raise NotImplementedError(
            f"{op}: expected numbers that have an order, got {describe(x)}; use .float() or .abs()"
        )
    geometry = pooling_geometry(op, x, kernel_size, stride, padding, dilation, ceil_mode)
    size = tuple(x.shape[2:])
    channels_last = is_channels_last(as_images(x))
    y, argmax = MaxPoolFunction.apply(upcast(x) if dims == 3 else x, geometry, size, channels_last)
    y = finish(y, channels_last, unbatched)
    if dims == 1 and not (x.requires_grad or return_indices):
        y = y.contiguous()  # as the separate kernel of PyTorch for this case
    return (y, finish(flat_indices(argmax, geometry, size), channels_last, unbatched)) if return_indices else y


max_pool1d, max_pool2d, max_pool3d = (form(max_pool, dims) for dims in (1, 2, 3))
