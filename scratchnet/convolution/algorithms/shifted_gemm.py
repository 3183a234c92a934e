r"""The products of convolution in place, a few images at a time, without writing the windows out.

Convolution is a sum of R·S matrix products on stretches of lines, laid out as `scratchnet.convolution.algorithms.polyphase`
says:

.. math::
    Y = \sum_{r, s} W_{r s} \, X_{[r W + s\,:]} \qquad
    \bar X = \sum_{r, s} W_{r s}^\top \, \bar Y_{[-(r W + s)\,:]} \qquad
    \bar W_{r s} = \sum_\text{images} \bar Y \, X_{[r W + s\,:]}^\top

Where they fit into the cache, the stretches of a row of the kernel, or of all of it, are put below each other and
multiplied at once. Lines and outputs of so many images as stay in the cache are under way at a time.

Shapes: B images, C input and O output channels, G groups, H × W pixels, R × S kernel, P × Q outputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from scratchnet.convolution.algorithms.polyphase import Lines, lines_of, of_each, stretches
from scratchnet.layout import is_channels_last
from scratchnet.windows import Geometry

__all__ = ["convolve", "correlate", "backward_input"]

CACHE_BYTES = 1 << 22


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    groups: int,
    outputs: Sequence[int],
    channels_last: bool = False,
) -> Tensor:
    """Of images ``(B, C, H, W)`` and a weight ``(O, C/G, R, S)``, the outputs ``(B, O, P, Q)``.

    With one group and channels to be ``channels_last``, they are so in memory.
    """
    batch, out, channels_last = len(x), len(weight), channels_last and groups == 1
    lines = lines_of(geometry, tuple(x.shape[2:]), tuple(outputs))
    y = (
        x.new_empty((batch, *outputs, out)).movedim(-1, 1)
        if channels_last
        else x.new_empty((batch, out, *outputs))
    )
    stacked, step = _at_once(lines, x, x.shape[1], out)
    matrices = _side_by_side(_kernels(weight, groups), stacked, step)
    dense = lines.length == math.prod(outputs)
    buffer = y.flatten(2) if dense else _lines_like(y, step, lines.length, groups)
    for block, seen in stretches(x, lines, step, groups):
        part = y[block]
        count = len(part)
        held = buffer[block] if dense else buffer[:count]
        line = held if groups == 1 else held.view(count * groups, out // groups, lines.length)
        _add_products(line, matrices, _below_each_other(seen, lines, stacked))
        if not dense:
            part.copy_(lines.windows_on(held))
        if bias is not None:
            part.add_(of_each(bias, part))
    return y


def backward_input(
    y: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, groups: int, size: Sequence[int]
) -> Tensor:
    """Of outputs ``(B, O, P, Q)`` and a weight ``(O, C/G, R, S)``, images ``(B, C, H, W)``."""
    batch, out, *outputs = y.shape
    channels = weight.shape[1] * groups
    lines = lines_of(geometry, tuple(size), tuple(outputs))
    total = y.new_empty((batch, channels, *size)) if lines.covering else y.new_zeros((batch, channels, *size))
    stacked, step = _at_once(lines, y, out, channels)
    stacked = stacked if len(lines.on_line) == 1 else 1
    # The last place first, whose stretch begins earliest.
    matrices = _side_by_side(_kernels(weight, groups).mT.flip(0), stacked, step)
    starts = [(on, lines.last - at) for on, at in reversed(lines.starts)]
    # Zeros before the first window and between the rows: what a stretch begins early with, and what no window made.
    padded = y.new_zeros((step, out, lines.last + lines.size))
    buffer = total if lines.whole else y.new_empty((step, channels, lines.size))
    for start in range(0, batch, step):
        part = total[start : start + step]
        count = len(part)
        lines.windows_on(padded[:count], lines.last).copy_(y[start : start + step])
        early = padded[:count].view(count * groups, out // groups, -1)
        line = (part if lines.whole else buffer[:count]).view(count * groups, channels // groups, lines.size)
        for i, (held, held_by) in enumerate(lines.on_line):
            stretches = [early.narrow(2, at, lines.size) for on, at in starts if on == i]
            mine = [m for m, (on, _) in zip(matrices, starts[::stacked], strict=True) if on == i]
            _add_products(line, mine, _below_each_other(stretches, lines, stacked))
            if not lines.whole:
                part[held_by] = line.view(count, channels, *lines.grid)[held]
        if bias is not None:
            part.add_(of_each(bias, part))
    return total


def correlate(y: Tensor, x: Tensor, geometry: Geometry, groups: int) -> Tensor:
    """Of outputs ``(B, O, P, Q)`` and images ``(B, C, H, W)``, a weight ``(O, C/G, R, S)``."""
    out, *outputs = y.shape[1:]
    channels = x.shape[1] // groups
    lines = lines_of(geometry, tuple(x.shape[2:]), tuple(outputs))
    stacked, step = _at_once(lines, x, x.shape[1], out)
    products = geometry.positions // stacked
    dense = lines.length == math.prod(outputs) and (y.is_contiguous() or (groups == 1 and is_channels_last(y)))
    buffer = y if dense else _lines_like(y, step, lines.length, groups).zero_()
    sides = out // groups, stacked * channels
    turned = sides[0] > sides[1]  # the longer along the rows: products with short ones are slow
    total = y.new_zeros((products, step * groups, *sorted(sides)))
    for block, seen in stretches(x, lines, step, groups):
        part = y[block]
        held = part.flatten(2) if dense else buffer[: len(part)]
        if not dense:
            lines.windows_on(held).copy_(part)
        line = held if groups == 1 else held.view(-1, out // groups, lines.length)
        for one, stretch in zip(total, _below_each_other(seen, lines, stacked), strict=True):
            one[: len(line)].baddbmm_(*((stretch, line.mT) if turned else (line, stretch.mT)))
    total = total.view(products, step, groups, *sorted(sides)).sum(1)
    total = (total.mT if turned else total).unflatten(3, (stacked, channels))
    return total.permute(1, 2, 4, 0, 3).reshape(out, channels, *geometry.kernel)


def _at_once(lines: Lines, x: Tensor, channels: int, out: int) -> tuple[int, int]:
    """How many places are multiplied at once, and of how many images: so many that what is made stays in the cache.

    The fewer and larger the products, the less two threads wait for each other. Places go by whole rows of the kernel.
    """
    room = CACHE_BYTES // x.element_size()
    places = 1
    for kernel, _ in reversed(lines.rows):
        if places * kernel * channels * lines.size > room:
            break
        places *= kernel
    numbers = (max(places, len(lines.on_line)) * channels + out) * lines.size
    return places, min(max(1, room // numbers), max(1, len(x)))


def _kernels(weight: Tensor, groups: int) -> Tensor:
    """For each place of the kernel a matrix for each group, ``(R·S, G, O/G, C/G)``."""
    out, channels = weight.shape[:2]
    return weight.reshape(groups, out // groups, channels, -1).permute(3, 0, 1, 2)


def _side_by_side(kernels: Tensor, stacked: int, images: int) -> Tensor:
    """The matrices of as many places side by side, for a batch of images: ``(R·S/stacked, images·G, …)``."""
    places, groups, rows, columns = kernels.shape
    each = kernels.reshape(places // stacked, stacked, groups, rows, columns).permute(0, 2, 3, 1, 4)
    each = each.reshape(-1, 1, groups, rows, stacked * columns)
    return each.expand(-1, images, -1, -1, -1).reshape(len(each), -1, rows, stacked * columns)


def _below_each_other(stretches: Sequence[Tensor], lines: Lines, stacked: int) -> Iterator[Tensor]:
    """As many stretches at a time below each other, in one buffer, which holds them until the next are asked for."""
    if stacked == 1:
        yield from stretches
        return
    count, channels, length = stretches[0].shape
    buffer = stretches[0].new_empty((count, stacked, channels, length))
    rows = [row for i, row in enumerate(lines.rows) if math.prod(k for k, _ in lines.rows[i:]) <= stacked]
    for i in range(0, len(stretches), stacked):
        if len(lines.on_line) == 1:
            first = stretches[i]
            begin, channel, number = first.stride()
            view = first.as_strided(
                (count, *(k for k, _ in rows), channels, length),
                (begin, *(later for _, later in rows), channel, number),
                first.storage_offset(),
            )
            buffer.view(view.shape).copy_(view)
        else:
            for j, stretch in enumerate(stretches[i : i + stacked]):
                buffer[:, j] = stretch
        yield buffer.view(count, stacked * channels, length)


def _lines_like(y: Tensor, count: int, length: int, groups: int) -> Tensor:
    """Memory for lines of so many images, ``(count, O, n)``; of one group channels last where those of ``y`` are."""
    out, channels_last = y.shape[1], groups == 1 and is_channels_last(y)
    return y.new_empty((count, length, out)).mT if channels_last else y.new_empty((count, out, length))


def _add_products(total: Tensor, matrices: Iterable[Tensor], stretches: Iterable[Tensor]) -> None:
    """Writes the sum of the matrices' products with their stretches, as rows where they are rows in memory."""
    rows = total.stride(2) != 1
    to = total.mT if rows else total
    for i, (matrix, stretch) in enumerate(zip(matrices, stretches, strict=True)):
        one = matrix[: len(total)]
        first, second = (stretch.mT, one.mT) if rows else (one, stretch)
        if i:
            to.baddbmm_(first, second)
        else:
            torch.bmm(first, second, out=to)
