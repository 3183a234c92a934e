r"""Convolution in one, two and three dimensions (strictly, cross-correlation).

.. math::
    y_{o, p, q} = b_o + \sum_{c, r, s} w_{o, c, r, s} \, x_{c,\; p + r,\; q + s}

It is linear in the image and in the weight, so each of its gradients is another of the three products that
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
from scratchnet.convolution.algorithms import dispatch
from scratchnet.convolution.shapes import Size, check_channels, window_geometry, with_batch
from scratchnet.function import Function, recorded
from scratchnet.layout import as_images, in_layout_of, is_channels_last, laid_out
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
    """Convolution of a batch of images, or of lines or volumes. Keeps them and the weight."""

    autocast = "low_precision"

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor, bias: Tensor | None, *, geometry: Geometry, groups: int
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The outputs of all windows, and the bias."""
        return dispatch.convolve(x, weight, bias, geometry, groups, geometry.outputs(x.shape[2:])), (x, weight)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, geometry: Geometry, groups: int
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The two other products, and the sum over images and pixels."""
        x, weight = saved
        return gradients(grad, x, weight, needs, geometry, groups)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, geometry: Geometry, groups: int) -> Tensor:
        """Product rule: both convolutions."""
        x, weight = saved
        return tangent(tangents, x, weight, geometry, groups)


def gradients(
    grad: Tensor, x: Tensor, weight: Tensor, needs: Sequence[bool], geometry: Geometry, groups: int
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """In the images, the weight and the bias, of those that are needed."""
    grad_x, grad_weight = dispatch.gradients(grad, x, weight, needs, geometry, groups)
    if grad_x is not None:
        grad_x = in_layout_of(x, grad_x, weight)
    if grad_weight is not None:
        grad_weight = in_strides_of(weight, grad_weight)
    grad_bias = grad.sum((0, *range(2, grad.dim()))) if needs[2] else None
    return grad_x, grad_weight, grad_bias


def in_strides_of(weight: Tensor, grad: Tensor) -> Tensor:
    """Returns a weight's gradient in the weight's memory format, and in its strides of dimensions of size 1.

    `torch.nn.parallel.DistributedDataParallel` compares these too, and copies where they differ.
    """
    if not recorded() and grad.stride() == weight.stride():
        return grad
    grad = laid_out(grad, is_channels_last(as_images(weight)))
    if recorded() or 1 not in grad.shape:
        return grad
    strides = zip(grad.shape, grad.stride(), weight.stride(), strict=True)
    same = all([size == 1 or here == there for size, here, there in strides])
    return grad.as_strided(grad.shape, weight.stride()) if same else grad


def tangent(tangents: Sequence[Tensor], x: Tensor, weight: Tensor, geometry: Geometry, groups: int) -> Tensor:
    """Of the outputs, by the product rule."""
    tangent_x, tangent_weight, tangent_bias = tangents
    outputs = geometry.outputs(x.shape[2:])
    moved = dispatch.convolve(tangent_x, weight, tangent_bias, geometry, groups, outputs)
    return moved + dispatch.convolve(x, tangent_weight, None, geometry, groups, outputs)


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
    """The images with a batch dimension, how the kernels lie on them, and whether there was one image alone.

    Raises:
        TypeError, NotImplementedError, RuntimeError: as the functional forms say.
    """
    x, unbatched = with_batch(op, dims, input, weight, "O, C / groups")
    geometry = window_geometry(op, weight.shape[2:], stride, padding, dilation, groups)
    check_channels(op, x, weight, bias, groups, weight.shape[1] * groups, weight.shape[0])
    size = x.shape[2:]
    if min(geometry.outputs(size)) < 1:
        raise RuntimeError(
            f"{op}: expected an input of at least the kernel's size, got a kernel of {geometry.kernel} with dilation "
            f"{geometry.dilation} on {geometry.extent(size)} elements, padding included"
        )
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
    """Of prepared images, kernels and a bias, in the layout that PyTorch returns."""
    x, geometry, unbatched = prepare(op, dims, input, weight, bias, stride, padding, dilation, groups)
    if x.shape[1] == 0:  # which leaves no output channels either, in PyTorch
        y = (x * weight.sum()).reshape(len(x), 0, *geometry.outputs(x.shape[2:]))
        return y.squeeze(0) if unbatched else y
    y = in_layout_of(x, ConvolutionFunction.apply(x, weight, bias, geometry, groups), weight)
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
    """Convolves sequences with a set of kernels.

    Args:
        input: sequences of shape ``(B, C, L)`` or ``(C, L)``.
        weight: kernels of shape ``(O, C / groups, R)``.
        bias: of shape ``(O,)``, added to each output channel.
        stride: elements from one window to the next.
        padding: elements of zeros on each side; or ``"valid"``, none, or ``"same"``, so many that the output has
            the input's size.
        dilation: elements from one element of the kernel to the next.
        groups: channels are split into so many groups, which do not mix.

    Returns:
        A tensor of shape ``(B, O, P)`` or ``(O, P)``.

    Raises:
        TypeError: if an argument is no tensor, or an option no integer.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if shapes, dtypes or options do not fit each other.
    """
    return convolution("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


@overridable
def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """Convolves sequences that have time first and channels last.

    Args:
        input: sequences of shape ``(L, B, C)``.
        weight: kernels of shape ``(R, C, O)``.
        bias: of shape ``(O,)``.
        pad: steps of zeros before and after.

    Returns:
        A tensor of shape ``(P, B, O)``.

    Raises:
        TypeError: if an argument is no tensor, or ``pad`` no integer.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if shapes or dtypes do not fit each other.
    """
    op = "conv_tbc"
    x, kernels = tensor(op, input), tensor(op, weight, "weight")
    if x.dim() != 3 or kernels.dim() != 3:
        raise RuntimeError(
            f"{op}: expected input (L, B, C) and weight (R, C, O), got {describe(x)} and {describe(kernels)}"
        )
    tensor(op, bias, "bias")
    y = convolution(op, 1, x.permute(1, 2, 0), kernels.permute(2, 1, 0), bias, 1, pad, 1, 1)
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
    """Convolves images with a set of kernels.

    Args:
        input: images of shape ``(B, C, H, W)`` or ``(C, H, W)``.
        weight: kernels of shape ``(O, C / groups, R, S)``.
        bias: of shape ``(O,)``, added to each output channel.
        stride: pixels from one window to the next.
        padding: pixels of zeros on each side; or ``"valid"``, none, or ``"same"``, so many that the output has
            the input's size.
        dilation: pixels from one element of the kernel to the next.
        groups: channels are split into so many groups, which do not mix.

    Returns:
        A tensor of shape ``(B, O, P, Q)`` or ``(O, P, Q)``, channels last in memory
        where those of input or weight are.

    Raises:
        TypeError: if an argument is no tensor, or an option no integer.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if shapes, dtypes or options do not fit each other.
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
    """Convolves volumes with a set of kernels.

    Args:
        input: volumes of shape ``(B, C, D, H, W)`` or ``(C, D, H, W)``.
        weight: kernels of shape ``(O, C / groups, R, S, T)``.
        bias: of shape ``(O,)``, added to each output channel.
        stride: voxels from one window to the next.
        padding: voxels of zeros on each side; or ``"valid"``, none, or ``"same"``, so many that the output has
            the input's size.
        dilation: voxels from one element of the kernel to the next.
        groups: channels are split into so many groups, which do not mix.

    Returns:
        A tensor of shape ``(B, O, N, P, Q)`` or ``(O, N, P, Q)``, channels last in memory
        where those of input or weight are.

    Raises:
        TypeError: if an argument is no tensor, or an option no integer.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if shapes, dtypes or options do not fit each other.
    """
    return convolution("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)
