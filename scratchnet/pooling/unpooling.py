r"""Maximum unpooling: puts pooled elements back to where they came from, among zeros.

.. math::
    y_i = \begin{cases} x_p & i = i_p \\ 0 & \text{else} \end{cases}, \qquad
    \frac{\partial L}{\partial x_p} = g_{i_p}

with the indices :math:`i_p` into the flattened image that maximum pooling returns. It is the transpose of selecting,
and the backward selects. Where two elements claim one place, the later one has it, and both get its gradient, as in
PyTorch.

Shapes: B samples, C channels, P × Q pooled elements, H × W pixels.

Source: M. D. Zeiler and R. Fergus, "Visualizing and understanding convolutional networks", 2014.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import describe, floating, overridable, tensor
from scratchnet.function import Function, readable
from scratchnet.layout import is_channels_last
from scratchnet.pooling.windows import Size, finish, upcast, with_batch
from scratchnet.windows import sizes

__all__ = ["MaxUnpoolFunction", "max_unpool1d", "max_unpool2d", "max_unpool3d"]


class MaxUnpoolFunction(Function):
    """Elements ``(B, C, P)`` at their indices among ``count`` zeros. Keeps the indices."""

    @staticmethod
    def forward(x: Tensor, indices: Tensor, *, count: int) -> tuple[Tensor, tuple[Tensor]]:
        """Writes the elements."""
        return x.new_zeros((*x.shape[:2], count)).scatter(2, indices, x), (indices,)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, count: int
    ) -> tuple[Tensor, None]:
        """Reads the gradient where each element went."""
        return grad.gather(2, saved[0]), None

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, count: int) -> Tensor:
        """Writes the tangents."""
        t = tangents[0]
        return t.new_zeros((*t.shape[:2], count)).scatter(2, saved[0], t)


def _size(
    op: str, pooled_size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int],
    wanted: Sequence[int] | None,
) -> tuple[int, ...]:  # fmt: skip
    """The size of the image: the smallest that pools to the input's, or one within a stride of it."""
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


def _unpool(
    op: str,
    dims: int,
    input: Tensor,
    indices: Tensor,
    kernel_size: Size,
    stride: Size | None,
    padding: Size,
    output_size: Sequence[int] | None,
) -> Tensor:
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
    count = math.prod(size)
    places = indices.reshape(x.shape).flatten(2)
    if readable(places) and places.numel() and not 0 <= int(places.min()) <= int(places.max()) < count:
        raise RuntimeError(
            f"{op}: expected indices from 0 to {count - 1}, the last of an image of {size}, got "
            f"{int(places.min())} to {int(places.max())}; pass the output_size of the image that was pooled"
        )
    y = MaxUnpoolFunction.apply(upcast(x).flatten(2), places, count)
    return finish(y.view(*x.shape[:2], *size), dims == 2 and is_channels_last(x), unbatched)


@overridable
def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Puts the elements of a pooled line back to where they came from, among zeros.

    Args:
        input: floating-point tensor of shape ``(B, C, P)`` or ``(C, P)``.
        indices: int64 tensor of that shape, the indices that `max_pool1d` returned.
        kernel_size: the pooling's.
        stride: the pooling's; the kernel's size by default.
        padding: the pooling's.
        output_size: the size L of the line, where several pool to one size; or the whole shape.

    Returns:
        A tensor with L elements in place of P.

    Raises:
        TypeError: if an argument is no tensor, or an option no integer.
        NotImplementedError: if the input is not floating point.
        ValueError: if ``output_size`` does not pool to the input's size.
        RuntimeError: if a shape, the indices or an option do not fit.
    """
    return _unpool("max_unpool1d", 1, input, indices, kernel_size, stride, padding, output_size)


@overridable
def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Puts the elements of a pooled image back to where they came from, among zeros.

    Args:
        input: floating-point tensor of shape ``(B, C, P, Q)`` or ``(C, P, Q)``.
        indices: int64 tensor of that shape, the indices that `max_pool2d` returned.
        kernel_size: the pooling's.
        stride: the pooling's; the kernel's size by default.
        padding: the pooling's.
        output_size: the size H × W of the image, where several pool to one size; or the whole shape.

    Returns:
        A tensor with H × W pixels in place of P × Q.

    Raises:
        TypeError: if an argument is no tensor, or an option no integer.
        NotImplementedError: if the input is not floating point.
        ValueError: if ``output_size`` does not pool to the input's size.
        RuntimeError: if a shape, the indices or an option do not fit.
    """
    return _unpool("max_unpool2d", 2, input, indices, kernel_size, stride, padding, output_size)


@overridable
def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Puts the elements of a pooled volume back to where they came from, among zeros.

    Args:
        input: floating-point tensor of shape ``(B, C, N, P, Q)`` or ``(C, N, P, Q)``.
        indices: int64 tensor of that shape, the indices that `max_pool3d` returned.
        kernel_size: the pooling's.
        stride: the pooling's; the kernel's size by default.
        padding: the pooling's.
        output_size: the size D × H × W of the volume, where several pool to one size; or the whole shape.

    Returns:
        A tensor with D × H × W voxels in place of N × P × Q.

    Raises:
        TypeError: if an argument is no tensor, or an option no integer.
        NotImplementedError: if the input is not floating point.
        ValueError: if ``output_size`` does not pool to the input's size.
        RuntimeError: if a shape, the indices or an option do not fit.
    """
    return _unpool("max_unpool3d", 3, input, indices, kernel_size, stride, padding, output_size)
