r"""Depthwise convolution: a kernel of its own for each channel, and no sum over channels.

.. math::
    y_{c, p, q} = b_c + \sum_{r, s} w_{c, r, s} \, x_{c,\; p + r,\; q + s}

There is no matrix product in it, so each place of the kernel is a number for each channel, which multiplies the
stretch of the line that it sees (see `scratchnet.convolution.algorithms.polyphase`). The gradient in the image adds the
same numbers up the other way, and that in the weight is the sum of upstream times stretch.

Lines keep the layout of the images, and so many images as stay in the cache are under way at a time.

Shapes: B images, C channels, H × W pixels, R × S kernel, P × Q outputs, n numbers of a line.

Source: F. Chollet, "Xception: Deep learning with depthwise separable convolutions", 2017.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from scratchnet.convolution.algorithms.polyphase import Lines, lines_of, of_each, stretches
from scratchnet.layout import is_channels_last
from scratchnet.windows import Geometry

__all__ = ["applies", "convolve", "correlate", "backward_input"]

BLOCK_BYTES = 1 << 22


def applies(channels: int, out: int, groups: int) -> bool:
    """Whether each channel makes one of its own."""
    return 1 < groups == channels == out


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, outputs: Sequence[int], channels_last: bool
) -> Tensor:
    """Of images ``(B, C, H, W)`` and a weight ``(C, 1, R, S)``, the outputs ``(B, C, P, Q)``."""
    lines = lines_of(geometry, tuple(x.shape[2:]), tuple(outputs))
    step = _step(x, lines)
    y = _images(x, outputs, channels_last)
    buffer, numbers = _lines(x, step, lines.length, channels_last), _numbers(weight)
    for block, seen in stretches(x, lines, step, 1, channels_last):
        part = y[block]
        line = buffer[: len(part)]
        _add_multiples(line, numbers, seen)
        part.copy_(lines.windows_on(line))
        if bias is not None:
            part.add_(of_each(bias, part))
    return y


def backward_input(
    y: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, size: Sequence[int], channels_last: bool
) -> Tensor:
    """Of outputs ``(B, C, P, Q)`` and a weight ``(C, 1, R, S)``, images ``(B, C, H, W)``."""
    lines = lines_of(geometry, tuple(size), tuple(y.shape[2:]))
    step = _step(y, lines)
    total = _images(y, size, channels_last)
    if not lines.covering:
        total.zero_()
    padded = _lines(y, step, lines.last + lines.size, channels_last).zero_()
    buffer, numbers = _lines(y, step, lines.size, channels_last), _numbers(weight)
    for start in range(0, len(y), step):
        part = total[start : start + step]
        early, line = padded[: len(part)], buffer[: len(part)]
        lines.windows_on(early, lines.last).copy_(y[start : start + step])
        for i, (held, held_by) in enumerate(lines.on_line):
            mine = [(number, at) for number, (on, at) in zip(numbers, lines.starts, strict=True) if on == i]
            shifted = (early.narrow(2, lines.last - at, lines.size) for _, at in mine)
            _add_multiples(line, [number for number, _ in mine], shifted)
            part[held_by] = line.unflatten(2, lines.grid)[held]
        if bias is not None:
            part.add_(of_each(bias, part))
    return total


def correlate(y: Tensor, x: Tensor, geometry: Geometry) -> Tensor:
    """Of outputs ``(B, C, P, Q)`` and images ``(B, C, H, W)``, a weight ``(C, 1, R, S)``."""
    channels_last, channels = is_channels_last(x), x.shape[1]
    lines = lines_of(geometry, tuple(x.shape[2:]), tuple(y.shape[2:]))
    step = _step(x, lines)
    padded = _lines(x, step, lines.length, channels_last).zero_()
    products, total = torch.empty_like(padded), x.new_zeros((geometry.positions, channels))
    for block, seen in stretches(x, lines, step, 1, channels_last):
        part = y[block]
        line, product = padded[: len(part)], products[: len(part)]
        lines.windows_on(line).copy_(part)
        for one, stretch in zip(total, seen, strict=True):
            one.add_(torch.mul(line, stretch, out=product).sum((0, 2)))
    return total.t().reshape(channels, 1, *geometry.kernel)


def _add_multiples(total: Tensor, numbers: Iterable[Tensor], seen: Iterable[Tensor]) -> None:
    """Writes the sum of stretches ``(b, C, n)``, each times a number for each channel."""
    for i, (number, stretch) in enumerate(zip(numbers, seen, strict=True)):
        if i:
            total.addcmul_(number, stretch)
        else:
            torch.mul(number, stretch, out=total)


def _numbers(weight: Tensor) -> Tensor:
    """For each place of the kernel a number for each channel, ``(R·S, C, 1)``."""
    return weight.flatten(1).t().contiguous().unsqueeze(2)


def _step(x: Tensor, lines: Lines) -> int:
    """How many images are under way at a time."""
    numbers = (len(lines.on_line) + 1) * x.shape[1] * lines.size
    return max(1, min(len(x), BLOCK_BYTES // (numbers * x.element_size())))


def _lines(like: Tensor, count: int, length: int, channels_last: bool) -> Tensor:
    channels = like.shape[1]
    return (
        like.new_empty((count, length, channels)).mT
        if channels_last
        else like.new_empty((count, channels, length))
    )


def _images(like: Tensor, size: Sequence[int], channels_last: bool) -> Tensor:
    batch, channels = like.shape[:2]
    return (
        like.new_empty((batch, *size, channels)).movedim(-1, 1)
        if channels_last
        else like.new_empty((batch, channels, *size))
    )
