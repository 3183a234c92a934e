r"""Convolution (strictly, cross-correlation) in one, two and three dimensions.

.. math::
    y_{o, p, q} = b_o + \sum_{c, r, s} w_{o, c, r, s} \, x_{c,\; p + r,\; q + s}

Convolution is linear in the image and in the weight, so its gradients are the two other products that
`scratchnet.convolution.algorithms` derives:

.. math::
    \bar x = \texttt{backward_input}(\bar y, w) \qquad
    \bar w = \texttt{correlate}(\bar y, x) \qquad
    \bar b = \sum_\text{images, pixels} \bar y

Shapes, for two dimensions: B images, C input and O output channels, H × W pixels, R × S kernel, P × Q outputs.

Sources: K. Fukushima, "Neocognitron", 1980; Y. LeCun et al., "Backpropagation applied to handwritten zip code
recognition", 1989.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from scratchnet.arguments import describe, overridable, tensor
from scratchnet.convolution.algorithms import dispatch as dispatched
from scratchnet.convolution.shapes import Size, check_channels, check_covers, window_geometry, with_batch
from scratchnet.function import Function, dispatch
from scratchnet.layout import as_images, is_channels_last, laid_out
from scratchnet.windows import Geometry

__all__ = [
    "ConvolutionFunction",
    "conv1d",
    "conv2d",
    "conv3d",
    "convolution",
    "gradients",
    "in_strides_of",
    "prepare",
    "tangent",
]


class ConvolutionFunction(Function):
    """Convolves a batch of sequences, images or volumes. Saves them and the weight."""

    autocast = "low_precision"

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor, bias: Tensor | None, *, geometry: Geometry, groups: int
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        return dispatched.convolve(x, weight, bias, geometry, groups, geometry.outputs(x.shape[2:])), (x, weight)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, geometry: Geometry, groups: int
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = saved
        return gradients(grad, x, weight, needs, geometry, groups)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, geometry: Geometry, groups: int) -> Tensor:
        x, weight = saved
        return tangent(tangents, x, weight, geometry, groups)


def gradients(
    grad: Tensor, x: Tensor, weight: Tensor, needs: Sequence[bool], geometry: Geometry, groups: int
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Returns the gradients of images, weight and bias, where needed."""
    grad_x, grad_weight = dispatched.gradients(grad, x, weight, needs, geometry, groups)
    if grad_weight is not None:
        grad_weight = in_strides_of(weight, grad_weight)
    grad_bias = grad.sum((0, *range(2, grad.dim()))) if needs[2] else None
    return grad_x, grad_weight, grad_bias


def _as_strided(weight: Tensor, grad: Tensor) -> Tensor:
    if grad.stride() == weight.stride():
        return grad
    grad = laid_out(grad, is_channels_last(as_images(weight)))
    strides = zip(grad.shape, grad.stride(), weight.stride(), strict=True)
    same = all([size == 1 or here == there for size, here, there in strides])
    return grad.as_strided(grad.shape, weight.stride()) if same else grad


@dispatch(_as_strided)
def in_strides_of(weight: Tensor, grad: Tensor) -> Tensor:
    """Returns a weight's gradient in the weight's memory format and, where nothing records it, in its strides.

    The strides of dimensions of size 1 count too: `torch.nn.parallel.DistributedDataParallel` copies if they differ.
    """
    return laid_out(grad, is_channels_last(as_images(weight)))


def tangent(tangents: Sequence[Tensor], x: Tensor, weight: Tensor, geometry: Geometry, groups: int) -> Tensor:
    """Returns the tangent of the outputs, by the product rule."""
    tangent_x, tangent_weight, tangent_bias = tangents
    outputs = geometry.outputs(x.shape[2:])
    of_x = dispatched.convolve(tangent_x, weight, tangent_bias, geometry, groups, outputs)
    return of_x + dispatched.convolve(x, tangent_weight, None, geometry, groups, outputs)


def prepare(
    op: str,
    dims: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Size,
    padding: str | Size,
    dilation: Size,
    groups: int,
) -> tuple[Tensor, Geometry, bool]:
    """Checks the arguments of `conv2d` and its like.

    Returns:
        The input with a batch dimension, the windows, and whether the input came without a batch.
    """
    x, unbatched = with_batch(op, dims, input, weight, "O, C / groups")
    geometry = window_geometry(op, weight.shape[2:], stride, padding, dilation, groups)
    check_channels(op, x, weight, bias, groups, weight.shape[1] * groups, weight.shape[0])
    check_covers(op, geometry, x.shape[2:])
    return x, geometry, unbatched


def convolution(
    op: str,
    dims: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Size,
    padding: str | Size,
    dilation: Size,
    groups: int,
) -> Tensor:
    """Checks the arguments and convolves; returns the memory format that PyTorch returns."""
    x, geometry, unbatched = prepare(op, dims, input, weight, bias, stride, padding, dilation, groups)
    if x.shape[1] == 0:  # PyTorch returns no output channels either
        y = (x * weight.sum()).reshape(x.shape[0], 0, *geometry.outputs(x.shape[2:]))
        return y.squeeze(0) if unbatched else y
    y = ConvolutionFunction.apply(x, weight, bias, geometry, groups)
    return y.squeeze(0) if unbatched else y


@overridable
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: str | Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Convolves sequences (B, C, L) or (C, L) with kernels (O, C / groups, R).

    Returns a tensor of shape (B, O, P) or (O, P). The options are those of `conv2d`.
    """
    return convolution("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


@overridable
def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """Convolves sequences in time-batch-channel order.

    Args:
        input: sequences of shape ``(L, B, C)``.
        weight: kernels of shape ``(R, C, O)``.
        bias: tensor of shape ``(O,)``.
        pad: number of zeros added at both ends.

    Returns:
        A tensor of shape ``(P, B, O)``.

    Raises:
        TypeError: if an argument is not a tensor, or ``pad`` not an integer.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if shapes or dtypes do not match.
    """
    op = "conv_tbc"
    x, kernels = tensor(op, input), tensor(op, weight, "weight")
    if x.dim() != 3 or kernels.dim() != 3:
        raise RuntimeError(
            f"{op}: expected input (L, B, C) and weight (R, C, O), got {describe(x)} and {describe(kernels)}"
        )
    tensor(op, bias, "bias")
    y = convolution(op, 1, x.permute(1, 2, 0), kernels.permute(2, 1, 0), bias, 1, pad, 1, 1)
    if not x.shape[2]:  # sums of no terms, where other convolutions return no output channels
        y = y.sum(1, keepdim=True) + bias.unsqueeze(1)
    return y.permute(2, 0, 1).contiguous()


@overridable
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: str | Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Convolves images with kernels, and adds a bias.

    Args:
        input: images of shape ``(B, C, H, W)`` or ``(C, H, W)``.
        weight: kernels of shape ``(O, C / groups, R, S)``.
        bias: tensor of shape ``(O,)``.
        stride: distance between windows, in pixels.
        padding: rows and columns of zeros added on each side; ``"valid"`` adds none, ``"same"`` as many as give
            the output the size of the input.
        dilation: distance between elements of the kernel, in pixels.
        groups: number of groups that the channels are split into; each group is convolved separately.

    Returns:
        A tensor of shape ``(B, O, P, Q)`` or ``(O, P, Q)``, in channels-last format if input or weight are.

    Raises:
        TypeError: if an argument is not a tensor, or an option not an integer.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if shapes, dtypes or options do not match.
    """
    return convolution("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


@overridable
def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: str | Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Convolves volumes (B, C, D, H, W) or (C, D, H, W) with kernels (O, C / groups, R, S, T).

    Returns a tensor of shape (B, O, N, P, Q) or (O, N, P, Q). The options are those of `conv2d`.
    """
    return convolution("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)
