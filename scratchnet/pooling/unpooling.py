r"""Max unpooling: scatters pooled elements to the positions they were taken from, and zeros elsewhere.

.. math::
    y_i = \begin{cases} x_p & i = i_p \\ 0 & \text{else} \end{cases}, \qquad
    \frac{\partial L}{\partial x_p} = g_{i_p}

with the indices :math:`i_p` into the flattened image that max pooling returns. Unpooling is the adjoint of selecting,
so the backward selects. If two elements have one index, the output holds the later one, and both get the gradient, as
in PyTorch.

Shapes: B samples, C channels, P × Q pooled elements, H × W pixels.

Source: M. D. Zeiler and R. Fergus, "Visualizing and understanding convolutional networks", 2014.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from scratchnet.arguments import describe, floating, tensor
from scratchnet.function import Function, readable
from scratchnet.layout import is_channels_last
from scratchnet.pooling.windows import Size, finish, form, upcast, with_batch
from scratchnet.windows import sizes

__all__ = ["MaxUnpoolFunction", "max_unpool", "max_unpool1d", "max_unpool2d", "max_unpool3d"]


class MaxUnpoolFunction(Function):
    """Scatters elements (B, C, P) to their indices among ``count`` zeros. Saves the indices."""

    @staticmethod
    def forward(x: Tensor, indices: Tensor, *, count: int) -> tuple[Tensor, tuple[Tensor]]:
        return x.new_zeros((*x.shape[:2], count)).scatter(2, indices, x), (indices,)

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], **_: Any) -> tuple[Tensor, None]:
        return grad.gather(2, saved[0]), None

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, count: int) -> Tensor:
        return MaxUnpoolFunction.forward(tangents[0], saved[0], count=count)[0]


def _size(
    op: str, pooled_size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int],
    wanted: Sequence[int] | None,
) -> tuple[int, ...]:  # fmt: skip
    """Returns the size of the image: ``wanted`` if it is within a stride of the default."""
    default = tuple(
        (n - 1) * s + k - 2 * p for n, k, s, p in zip(pooled_size, kernel, stride, padding, strict=True)
    )
    if wanted is None:
        return default
    if not isinstance(wanted, Sequence):
        raise TypeError(f"{op}: expected output_size to be a sequence of integers, got {describe(wanted)}")
    dims = len(default)
    if len(wanted) not in (dims, dims + 2):
        raise ValueError(f"{op}: expected output_size to hold {dims} or {dims + 2} integers, got {wanted}")
    full = tuple(wanted[-dims:])
    if not all(n - s < m < n + s for n, m, s in zip(default, full, stride, strict=True)):
        raise ValueError(f"{op}: expected an output_size within a stride {stride} of {default}, got {full}")
    return full


def max_unpool(
    dims: int,
    input: Tensor,
    indices: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Puts pooled elements back into their positions among the zeros.

    Args:
        dims: number of dimensions.
        input: floating-point tensor of pooled elements.
        indices: int64 tensor of that shape, as `max_pool2d` returns it.
        kernel_size: as passed to `max_pool2d`.
        stride: as passed to `max_pool2d`; the kernel size by default.
        padding: as passed to `max_pool2d`.
        output_size: H and W, or the whole shape of the output, if several sizes pool to P × Q.

    Returns:
        A tensor with H × W pixels in place of P × Q.

    Raises:
        TypeError: if an argument is not a tensor, or an option not an integer.
        NotImplementedError: if the input is not floating point.
        ValueError: if ``output_size`` does not pool to the input's size.
        RuntimeError: if a shape, an index or an option is out of range.
    """
    op = f"max_unpool{dims}d"
    x, unbatched = with_batch(op, input, dims)
    floating(op, x)
    if tensor(op, indices, "indices").dtype is not torch.int64 or indices.shape != input.shape:
        raise RuntimeError(
            f"{op}: expected indices of dtype int64 and of the input's shape, as max_pool{dims}d returns them with "
            f"return_indices=True, got {describe(indices)} for {describe(input)}"
        )
    kernel = sizes(op, "kernel_size", kernel_size, dims, least=0)
    steps = kernel if stride is None else sizes(op, "stride", stride, dims, least=1 if dims == 3 else 0)
    size = _size(op, x.shape[2:], kernel, steps, sizes(op, "padding", padding, dims, least=0), output_size)
    if min(size) < 0:
        raise ValueError(
            f"{op}: expected padding that leaves an output, got {padding} for an output of size {size}"
        )
    count = math.prod(size)
    flat = indices.reshape(x.shape).flatten(2)
    if readable(flat) and flat.numel() and not 0 <= int(flat.min()) <= int(flat.max()) < count:
        raise RuntimeError(
            f"{op}: expected indices from 0 to {count - 1}, the last of an image of {size}, got "
            f"{int(flat.min())} to {int(flat.max())}; pass the output_size of the image that was pooled"
        )
    y = MaxUnpoolFunction.apply(upcast(x).flatten(2), flat, count)
    return finish(y.view(*x.shape[:2], *size), dims == 2 and is_channels_last(x), unbatched)


max_unpool1d, max_unpool2d, max_unpool3d = (form(max_unpool, dims) for dims in (1, 2, 3))
