r"""Convolution in two dimensions (strictly, cross-correlation).

.. math::
    y_{o, p, q} = b_o + \sum_{c, r, s} w_{o, c, r, s} \, x_{c,\; p + r,\; q + s}

With the windows of x written out as columns X (see `scratchnet.windows`), and the weight as a matrix
W of O × C·R·S, this is one matrix product, and so are its derivatives:

.. math::
    Y = W X + b
    \qquad \bar W = \sum_\text{images} \bar Y X^\top
    \qquad \bar X = W^\top \bar Y
    \qquad \bar b = \sum_\text{images, pixels} \bar Y

The image's gradient is the adjoint of taking windows, applied to :math:`\bar X`. The columns are R·S times as
large as the image and are not kept: the backward takes them again from x.

Shapes: B images, C input and O output channels, G groups, H × W pixels, R × S kernel, P × Q outputs.

Sources: Fukushima 1980; LeCun et al. 1989; as a matrix product: Chellapilla, Puri and Simard 2006.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from scratchnet.arguments import describe, floating
from scratchnet.function import Function, unobserved
from scratchnet.windows import Geometry, columns, image, in_layout_of, read_columns, sizes, write_padded

__all__ = ["Conv2d", "Conv2dFunction", "conv2d"]

CACHE_BYTES = 1 << 20
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class Conv2dFunction(Function):
    """Convolution of a batch of images. Keeps the images and the weight."""

    autocast = "low_precision"

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor, bias: Tensor | None, *, geometry: Geometry, groups: int
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """W X + b."""
        batch, out = x.shape[0], weight.shape[0]
        outputs = geometry.outputs(x.shape[2:])
        if unobserved():
            y = x.new_empty((batch, out, *outputs))
            matrix = _matrix(weight, groups)
            for block, cols in _blocks(x, geometry, groups):
                torch.matmul(matrix, cols, out=y[block].view(-1, groups, out // groups, math.prod(outputs)))
            if bias is not None:
                y.add_(bias.view(-1, 1, 1))
            return y, (x, weight)
        cols = _grouped(columns(x, geometry), groups)
        y = torch.matmul(_matrix(weight, groups), cols).reshape(batch, out, *outputs)
        return y if bias is None else y + bias.view(-1, 1, 1), (x, weight)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, geometry: Geometry, groups: int
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Of the image, the windows' adjoint of Wᵀ Ȳ; of the weight, Ȳ Xᵀ; of the bias, the sum of Ȳ."""
        x, weight = saved
        grad_x = _grad_image(grad, x, weight, geometry, groups) if needs[0] else None
        grad_weight = _grad_weight(grad, x, weight, geometry, groups) if needs[1] else None
        grad_bias = grad.sum((0, 2, 3)) if needs[2] else None
        return grad_x, grad_weight, grad_bias

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, geometry: Geometry, groups: int) -> Tensor:
        """Product rule: both convolutions."""
        x, weight = saved
        tangent_x, tangent_weight, tangent_bias = tangents
        forward = Conv2dFunction.mathematics.forward
        moved, _ = forward(tangent_x, weight, tangent_bias, geometry=geometry, groups=groups)
        turned, _ = forward(x, tangent_weight, None, geometry=geometry, groups=groups)
        return moved + turned


def _grad_image(grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, groups: int) -> Tensor:
    batch, channels, *size = x.shape
    outputs = grad.shape[2:]
    matrix = _matrix(weight, groups).mT
    if not unobserved():
        grads = torch.matmul(matrix, _grouped(grad, groups)).reshape(batch, channels, geometry.places, *outputs)
        return image(grads, size, geometry)
    total = x.new_zeros((batch, channels, *geometry.extent(size)))
    step = _images_at_once(x, geometry, outputs)
    places = geometry.slices(outputs)
    for start in range(0, batch, step):
        part = grad[start : start + step]
        grads = torch.matmul(matrix, _grouped(part, groups)).view(len(part), channels, geometry.places, *outputs)
        for i, place in enumerate(places):
            total[start : start + step][place].add_(grads[:, :, i])
    return total[geometry.inside(size)].contiguous()


def _grad_weight(grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, groups: int) -> Tensor:
    if not unobserved():
        cols = _grouped(columns(x, geometry), groups)
        return torch.matmul(_grouped(grad, groups), cols.mT).sum(0).reshape(weight.shape)
    total = torch.zeros_like(_matrix(weight, groups))
    for block, cols in _blocks(x, geometry, groups):
        for one, col in zip(_grouped(grad[block], groups), cols, strict=True):
            total.baddbmm_(one, col.mT)
    return total.view(weight.shape)


def _images_at_once(x: Tensor, geometry: Geometry, outputs: Sequence[int]) -> int:
    """So many images that their columns stay in the cache."""
    column_bytes = x.shape[1] * math.prod(geometry.kernel) * math.prod(outputs) * x.element_size()
    return max(1, CACHE_BYTES // max(column_bytes, 1))


def _blocks(x: Tensor, geometry: Geometry, groups: int) -> Iterator[tuple[slice, Tensor]]:
    """A few images at a time: which they are, and their columns ``(images, G, C/G·R·S, P·Q)`` in one buffer."""
    batch, channels, *size = x.shape
    outputs = geometry.outputs(size)
    step = min(_images_at_once(x, geometry, outputs), max(batch, 1))
    extent = geometry.extent(size)
    padded = x if extent == tuple(size) else x.new_zeros((step, channels, *extent))
    buffer = x.new_empty((step, channels, *geometry.kernel, *outputs))
    for start in range(0, batch, step):
        part = write_padded(x[start : start + step], geometry, padded)
        cols = read_columns(part, geometry, outputs, buffer)
        yield slice(start, start + step), _grouped(cols, groups)


def _matrix(weight: Tensor, groups: int) -> Tensor:
    """The kernels as a matrix for each group, ``(G, O/G, C/G·R·S)``."""
    return weight.reshape(groups, len(weight) // groups, math.prod(weight.shape[1:]))


def _grouped(x: Tensor, groups: int) -> Tensor:
    """Columns ``(B, C, R·S, P, Q)`` or outputs ``(B, O, P, Q)`` as a matrix for each group, ``(B, G, …, P·Q)``."""
    pixels = math.prod(x.shape[-2:])
    return x.reshape(len(x), groups, math.prod(x.shape[1:-2]) // groups, pixels)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: str | int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
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
        A tensor of shape ``(B, O, P, Q)`` or ``(O, P, Q)``, in the memory format of the input.

    Raises:
        TypeError: if an argument is no tensor.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if shapes, dtypes or options do not fit each other.
        ValueError: if ``groups`` is not positive.
    """
    op = "conv2d"
    x = floating(op, input)
    floating(op, weight, "weight")
    alone = x.dim() == 3
    if x.dim() not in (3, 4) or weight.dim() != 4:
        raise RuntimeError(
            f"{op}: expected an input of shape (B, C, H, W) or (C, H, W) and a weight of shape (O, C / groups, R, S), "
            f"got {describe(x)} and {describe(weight)}"
        )
    if groups < 1:
        raise ValueError(f"{op}: expected a positive number of groups, got {groups}")
    geometry = _geometry(op, weight, stride, padding, dilation)
    x = x.unsqueeze(0) if alone else x
    _check_shapes(op, x, weight, bias, geometry, groups)
    y = in_layout_of(x, Conv2dFunction.apply(x, weight, bias, geometry, groups))
    return y.squeeze(0) if alone else y


def _geometry(
    op: str,
    weight: Tensor,
    stride: int | tuple[int, ...],
    padding: str | int | tuple[int, ...],
    dilation: int | tuple[int, ...],
) -> Geometry:
    strides, dilations = sizes(op, "stride", stride, 2, least=1), sizes(op, "dilation", dilation, 2, least=1)
    kernel = (weight.shape[2], weight.shape[3])
    if padding == "same":
        if strides != (1, 1):
            raise RuntimeError(f"{op}: expected a stride of 1 with padding='same', got {strides}")
        needed = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
        top, left = (n // 2 for n in needed)
        return Geometry(kernel, strides, ((top, needed[0] - top), (left, needed[1] - left)), dilations)
    if isinstance(padding, str):
        if padding != "valid":
            raise RuntimeError(f"{op}: expected padding to be 'valid', 'same' or numbers, got {padding!r}")
        padding = 0
    vertical, horizontal = sizes(op, "padding", padding, 2, least=0)
    return Geometry(kernel, strides, ((vertical, vertical), (horizontal, horizontal)), dilations)


def _check_shapes(
    op: str, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, groups: int
) -> None:
    channels, out = weight.shape[1] * groups, weight.shape[0]
    if x.shape[1] != channels:
        raise RuntimeError(
            f"{op}: expected {channels} input channels for {describe(weight)} in {groups} group(s), got {describe(x)}"
        )
    if out % groups:
        raise RuntimeError(
            f"{op}: expected output channels that divide into {groups} groups, got {describe(weight)}"
        )
    if bias is not None and bias.shape != (out,):
        raise RuntimeError(f"{op}: expected a bias of shape ({out},), got {describe(bias)}")
    others = [weight] if bias is None else [weight, bias]
    if any(t.dtype is not x.dtype for t in others) and not torch.is_autocast_enabled(x.device.type):
        raise RuntimeError(
            f"{op}: expected input, weight and bias of one dtype, got {', '.join(map(describe, [x, *others]))}"
        )
    if min(geometry.outputs(x.shape[2:])) < 1:
        raise RuntimeError(
            f"{op}: expected an image of at least the kernel's size, got a kernel of {geometry.kernel} with dilation "
            f"{geometry.dilation} on {geometry.extent(x.shape[2:])} pixels, padding included"
        )


class Conv2d(nn.Module):
    """`conv2d` with its kernels and bias as parameters.

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: R and S.
        stride: pixels from one window to the next.
        padding: pixels on each side, ``"valid"`` or ``"same"``.
        dilation: pixels from one element of the kernel to the next.
        groups: channels are split into so many groups, which do not mix.
        bias: whether to add a learned bias to each output channel.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        ValueError: if ``groups``, ``padding`` or ``padding_mode`` is not one of these.
    """

    __constants__ = [
        "dilation",
        "groups",
        "in_channels",
        "kernel_size",
        "out_channels",
        "output_padding",
        "padding",
        "padding_mode",
        "stride",
    ]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: str | int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        op = "Conv2d"
        if groups < 1:
            raise ValueError(f"{op}: expected a positive number of groups, got {groups}")
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ValueError(f"{op}: expected {name} to be a multiple of groups={groups}, got {channels}")
        if isinstance(padding, str) and padding not in ("valid", "same"):
            raise ValueError(f"{op}: expected padding to be 'valid', 'same' or numbers, got {padding!r}")
        if padding_mode not in PADDING_MODES:
            raise ValueError(f"{op}: expected padding_mode to be one of {PADDING_MODES}, got {padding_mode!r}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = sizes(op, "kernel_size", kernel_size, 2, least=1)
        self.stride = sizes(op, "stride", stride, 2, least=1)
        if padding == "same" and self.stride != (1, 1):
            raise ValueError(f"{op}: expected a stride of 1 with padding='same', got {self.stride}")
        self.padding = padding if isinstance(padding, str) else sizes(op, "padding", padding, 2, least=0)
        self.dilation = sizes(op, "dilation", dilation, 2, least=1)
        self.transposed = False
        self.output_padding = (0, 0)
        self.groups = groups
        self.padding_mode = padding_mode
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        if bias:
            self.bias = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws weight and bias uniformly within one over the root of the number of inputs to an output."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        fan_in = self.weight[0].numel()
        if self.bias is not None and fan_in:
            bound = 1 / math.sqrt(fan_in)
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """Applies `conv2d`."""
        if self.padding_mode == "zeros":
            return conv2d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        geometry = _geometry("Conv2d", self.weight, self.stride, self.padding, self.dilation)
        for dim, margins in zip((-2, -1), geometry.padding, strict=True):
            input = _extend(input, dim, margins, self.padding_mode)
        return conv2d(input, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    def extra_repr(self) -> str:
        """The options, those that have their default left out."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0, 0):
            text += f", padding={self.padding}"
        if self.dilation != (1, 1):
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


def _extend(x: Tensor, dim: int, margins: tuple[int, int], mode: str) -> Tensor:
    """The image continued beyond its edge along one dimension, by looking up where each new pixel comes from."""
    size = x.shape[dim]
    largest = {"reflect": size - 1, "replicate": max(margins), "circular": size}[mode]
    if max(margins) > largest or size == 0:
        raise RuntimeError(
            f"Conv2d: expected padding of at most {largest} for padding_mode={mode!r} on {size} pixels, got {margins}"
        )
    place = torch.arange(-margins[0], size + margins[1], device=x.device)
    if mode == "reflect":
        place = place.abs()
        place = torch.where(place >= size, 2 * (size - 1) - place, place)
    elif mode == "replicate":
        place = place.clamp(0, size - 1)
    else:
        place = place % size
    return x.index_select(dim, place)
