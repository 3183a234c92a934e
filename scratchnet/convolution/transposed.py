r"""Transposed convolution: the adjoint of convolution in its input.

.. math::
    y_{o,\; p + r,\; q + s} \mathrel{+}= w_{c, o, r, s} \, x_{c, p, q}

Each element of the input adds a multiple of the kernel to the output; the kernels of neighboring elements are
``stride`` apart. A convolution with the same options maps the output back to the size of the input. A strided
convolution does so for several sizes; ``output_padding`` chooses among them, counted from the smallest.

The forward pass is the gradient of a convolution in its input, and vice versa (`scratchnet.convolution.algorithms`).
The weight is the weight of that convolution, of shape C × O × R × S:

.. math::
    y = b + \texttt{backward_input}(x, w) \qquad
    \bar x = \texttt{convolve}(\bar y, w) \qquad
    \bar w = \texttt{correlate}(x, \bar y)

Shapes, for two dimensions: B images, C input and O output channels, H × W pixels, R × S kernel, P × Q outputs.

Source: M. Zeiler, D. Krishnan, G. Taylor and R. Fergus, "Deconvolutional networks", 2010.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from scratchnet.arguments import overridable
from scratchnet.convolution.algorithms.dispatch import (
    backward_input,
    convolve,
    correlate,
    returns_channels_last,
)
from scratchnet.convolution.convolution import in_strides_of
from scratchnet.convolution.shapes import Size, check_channels, window_geometry, with_batch
from scratchnet.function import Function
from scratchnet.windows import Geometry, sizes

__all__ = ["TransposedConvolutionFunction", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]


class TransposedConvolutionFunction(Function):
    """Computes a transposed convolution of a given output size. Saves the input and the weight."""

    autocast = "low_precision"

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor, bias: Tensor | None, *, geometry: Geometry, groups: int, size: tuple[int, ...]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        return backward_input(x, weight, bias, geometry, groups, size), (x, weight)

    @staticmethod
    def backward(
        grad: Tensor,
        saved: Sequence[Tensor],
        needs: Sequence[bool],
        *,
        geometry: Geometry,
        groups: int,
        size: tuple[int, ...],
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = saved
        grad_x = grad_weight = None
        if needs[0]:
            last = returns_channels_last(x, weight)
            grad_x = convolve(grad, weight, None, geometry, groups, x.shape[2:], last)
        if needs[1]:
            grad_weight = in_strides_of(weight, correlate(x, grad, geometry, groups))
        grad_bias = grad.sum((0, *range(2, grad.dim()))) if needs[2] else None
        return grad_x, grad_weight, grad_bias

    @staticmethod
    def jvp(
        tangents: Sequence[Tensor],
        saved: Sequence[Tensor],
        *,
        geometry: Geometry,
        groups: int,
        size: tuple[int, ...],
    ) -> Tensor:
        x, weight = saved
        tangent_x, tangent_weight, tangent_bias = tangents
        of_x = backward_input(tangent_x, weight, tangent_bias, geometry, groups, size)
        return of_x + backward_input(x, tangent_weight, None, geometry, groups, size)


def smallest_size(geometry: Geometry, outputs: Sequence[int]) -> tuple[int, ...]:
    """Returns the size of the smallest image that has this number of windows."""
    return tuple(
        (n - 1) * s - before - after + d * (k - 1) + 1
        for n, k, s, (before, after), d in zip(
            outputs, geometry.kernel, geometry.stride, geometry.padding, geometry.dilation, strict=True
        )
    )


def _transposed(
    op: str,
    dims: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Size,
    padding: Size,
    output_padding: Size,
    groups: int,
    dilation: Size,
) -> Tensor:
    x, unbatched = with_batch(op, dims, input, weight, "C, O / groups")
    padding = sizes(op, "padding", padding, dims, least=0)
    geometry = window_geometry(op, weight.shape[2:], stride, padding, dilation, groups)
    check_channels(op, x, weight, bias, groups, weight.shape[0], weight.shape[1] * groups)
    extra = sizes(op, "output_padding", output_padding, dims, least=0)
    if any(e >= max(s, d) for e, s, d in zip(extra, geometry.stride, geometry.dilation, strict=True)):
        raise RuntimeError(
            f"{op}: expected an output_padding smaller than stride or dilation, got {extra} for a stride of "
            f"{geometry.stride} and a dilation of {geometry.dilation}"
        )
    size = tuple(n + e for n, e in zip(smallest_size(geometry, x.shape[2:]), extra, strict=True))
    if min(size) < (1 if unbatched else 0):
        raise RuntimeError(
            f"{op}: expected padding that leaves an output, got padding {padding} of a kernel of {geometry.kernel} "
            f"with stride {geometry.stride} and dilation {geometry.dilation} for an input of {tuple(x.shape[2:])} "
            f"elements; it would be of size {size}"
        )
    y = TransposedConvolutionFunction.apply(x, weight, bias, geometry, groups, size)
    return y.squeeze(0) if unbatched else y


@overridable
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """Computes the adjoint of `conv1d` for sequences (B, C, L) or (C, L) and kernels (C, O / groups, R).

    Returns a tensor of shape (B, O, P) or (O, P). The options are those of `conv_transpose2d`.
    """
    op = "conv_transpose1d"
    return _transposed(op, 1, input, weight, bias, stride, padding, output_padding, groups, dilation)


@overridable
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """Computes the adjoint of `conv2d`, and adds a bias.

    Args:
        input: images of shape ``(B, C, H, W)`` or ``(C, H, W)``.
        weight: kernels of shape ``(C, O / groups, R, S)``.
        bias: tensor of shape ``(O,)``.
        stride: distance in the output between neighboring pixels of the input.
        padding: rows and columns removed from each side of the output.
        output_padding: rows and columns added at the end of the output, fewer than ``stride`` or ``dilation``.
        groups: number of groups that the channels are split into; each group is convolved separately.
        dilation: distance in the output between elements of the kernel.

    Returns:
        A tensor of shape ``(B, O, P, Q)`` or ``(O, P, Q)``, in channels-last format if input or weight are.

    Raises:
        TypeError: if an argument is not a tensor, or an option not an integer.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if shapes, dtypes or options do not match.
    """
    op = "conv_transpose2d"
    return _transposed(op, 2, input, weight, bias, stride, padding, output_padding, groups, dilation)


@overridable
def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """Computes the adjoint of `conv3d` for volumes (B, C, D, H, W) or (C, D, H, W).

    Takes kernels (C, O / groups, R, S, T); returns a tensor of shape (B, O, N, P, Q) or (O, N, P, Q). The options are
    those of `conv_transpose2d`.
    """
    op = "conv_transpose3d"
    return _transposed(op, 3, input, weight, bias, stride, padding, output_padding, groups, dilation)
