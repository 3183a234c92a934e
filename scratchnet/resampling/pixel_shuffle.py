r"""Shuffles: the same elements in another order.

.. math::
    y_{c,\, hr + i,\, wr + j} = x_{c r^2 + i r + j,\, h,\, w} \qquad
    y_{b,\, kg + i} = x_{b,\, iC/g + k}

Pixel shuffle spreads groups of r² channels over blocks of r × r pixels, so that a convolution at the low resolution
can make an image at the high one; pixel unshuffle takes it back. Channel shuffle writes C channels as a table of g
rows, and reads it by columns, so that what one group of a grouped convolution has made reaches all groups of the
next. A permutation's derivative is its inverse: each backward is the other shuffle, and keeps nothing.

Sources: W. Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel
convolutional neural network", 2016; X. Zhang, X. Zhou, M. Lin and J. Sun, "ShuffleNet: an extremely efficient
convolutional neural network for mobile devices", 2018.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from scratchnet.arguments import describe, overridable, tensor
from scratchnet.function import Function
from scratchnet.layout import in_layout_of

__all__ = [
    "ChannelShuffleFunction",
    "PixelShuffleFunction",
    "PixelUnshuffleFunction",
    "channel_shuffle",
    "native_channel_shuffle",
    "pixel_shuffle",
    "pixel_unshuffle",
]


class PixelShuffleFunction(Function):
    """Saves nothing."""

    native_low_precision = True  # nothing is computed

    @staticmethod
    def forward(x: Tensor, *, factor: int) -> tuple[Tensor, tuple[()]]:
        return _to_pixels(x, factor), ()

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, factor: int) -> Tensor:
        return _to_channels(grad, factor)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, factor: int) -> Tensor:
        return _to_pixels(tangents[0], factor)


class PixelUnshuffleFunction(Function):
    """Saves nothing."""

    native_low_precision = True

    @staticmethod
    def forward(x: Tensor, *, factor: int) -> tuple[Tensor, tuple[()]]:
        return _to_channels(x, factor), ()

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, factor: int) -> Tensor:
        return _to_pixels(grad, factor)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, factor: int) -> Tensor:
        return _to_channels(tangents[0], factor)


class ChannelShuffleFunction(Function):
    """Saves nothing."""

    native_low_precision = True

    @staticmethod
    def forward(x: Tensor, *, groups: int) -> tuple[Tensor, tuple[()]]:
        return _transposed(x, groups), ()

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, groups: int) -> Tensor:
        return _transposed(grad, grad.shape[1] // groups)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, groups: int) -> Tensor:
        return _transposed(tangents[0], groups)


def _to_pixels(x: Tensor, r: int) -> Tensor:
    *lead, c, h, w = x.shape
    d = len(lead)
    blocks = x.reshape(*lead, c // r**2, r, r, h, w)
    y = blocks.movedim((d + 1, d + 2), (d + 2, d + 4)).reshape(*lead, c // r**2, h * r, w * r)
    return in_layout_of(x, y)


def _to_channels(x: Tensor, r: int) -> Tensor:
    *lead, c, h, w = x.shape
    d = len(lead)
    blocks = x.reshape(*lead, c, h // r, r, w // r, r)
    y = blocks.movedim((d + 2, d + 4), (d + 1, d + 2)).reshape(*lead, c * r**2, h // r, w // r)
    return in_layout_of(x, y)


def _transposed(x: Tensor, rows: int) -> Tensor:
    channels = x.shape[1]
    table = x.reshape(x.shape[0], rows, channels // max(rows, 1), *x.shape[2:])
    return in_layout_of(x, table.transpose(1, 2).reshape(x.shape))


@overridable
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Spreads groups of r² channels over blocks of r × r pixels.

    Args:
        input: tensor of shape ``(*, C · r², H, W)``.
        upscale_factor: r.

    Returns:
        A tensor of shape ``(*, C, H · r, W · r)``.

    Raises:
        TypeError: if the input is no tensor, or the factor no integer.
        RuntimeError: if the input has fewer than three dimensions, or its channels do not divide by r².
    """
    op = "pixel_shuffle"
    r = _factor(op, tensor(op, input), upscale_factor, "upscale_factor")
    if input.shape[-3] % r**2:
        raise RuntimeError(f"{op}: expected a multiple of {r**2} = {r}² channels, got {describe(input)}")
    return PixelShuffleFunction.apply(input, r)


@overridable
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Stacks blocks of r × r pixels as r² channels: the inverse of `pixel_shuffle`.

    Args:
        input: tensor of shape ``(*, C, H · r, W · r)``.
        downscale_factor: r.

    Returns:
        A tensor of shape ``(*, C · r², H, W)``.

    Raises:
        TypeError: if the input is no tensor, or the factor no integer.
        RuntimeError: if the input has fewer than three dimensions, or its sizes do not divide by r.
    """
    op = "pixel_unshuffle"
    r = _factor(op, tensor(op, input), downscale_factor, "downscale_factor")
    if input.shape[-2] % r or input.shape[-1] % r:
        raise RuntimeError(f"{op}: expected height and width to be multiples of {r}, got {describe(input)}")
    return PixelUnshuffleFunction.apply(input, r)


@overridable
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Takes the channels of g groups in turn, one of each group at a time.

    Args:
        input: tensor of shape ``(B, C, *)`` with at least one dimension after the channels.
        groups: g, which divides C.

    Returns:
        A tensor of the input's shape.

    Raises:
        TypeError: if the input is no tensor, or ``groups`` no integer.
        RuntimeError: if the input has fewer than three dimensions, or its channels do not divide by ``groups``.
    """
    op = "channel_shuffle"
    if tensor(op, input).dim() < 3:
        raise RuntimeError(f"{op}: expected an input of shape (B, C, *), got {describe(input)}")
    if groups < 1 or input.shape[1] % groups:
        raise RuntimeError(f"{op}: expected groups that divide {input.shape[1]} channels, got {groups}")
    return ChannelShuffleFunction.apply(input, groups)


@overridable
def native_channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Shuffles channels as `channel_shuffle` does; PyTorch's kernel of this name has no derivative."""
    return channel_shuffle(input, groups)


def _factor(op: str, input: Tensor, factor: int, name: str) -> int:
    if input.dim() < 3:
        raise RuntimeError(f"{op}: expected an input of shape (*, C, H, W), got {describe(input)}")
    if factor < 1:
        raise RuntimeError(f"{op}: expected {name} of at least 1, got {factor}")
    return factor
