r"""The products of convolution in place, a few images at a time, without writing the windows out.

Row after row, a padded image is one line of numbers, and what one place of the kernel sees of it from all windows is a
stretch of that line. With rows of W numbers and a stride of 1,

.. math::
    x_{p + r,\; q + s} = \text{line}_{(p W + q) + (r W + s)}

so the place (r, s) begins r·W + s later than the first, and convolution is a sum of R·S matrix products on stretches
of the image as it stands. From one row of outputs to the next there are W numbers as well; those beyond Q belong to no
window, and are dropped.

.. math::
    Y = \sum_{r, s} W_{r s} \, X_{[r W + s\,:]} \qquad
    \bar X = \sum_{r, s} W_{r s}^\top \, \bar Y_{[-(r W + s)\,:]} \qquad
    \bar W_{r s} = \sum_\text{images} \bar Y \, X_{[r W + s\,:]}^\top

With a stride of t, the places t apart share a line, so the image is sorted into lines of every t-th row and column.
Where they fit into the cache, the stretches of a row of the kernel, or of all of it, are put below each other and
multiplied at once. Lines and outputs of so many images as stay in the cache are under way at a time.

Shapes: B images, C input and O output channels, G groups, H × W pixels, R × S kernel, P × Q outputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from scratchnet.windows import Geometry

__all__ = ["convolve", "correlate", "spread"]

CACHE_BYTES = 1 << 22

Index = tuple[slice, ...]


class Lines(NamedTuple):
    """How images lie on lines: see `lines_of`.

    Attributes:
        grid: rows and columns of a line.
        length: of a stretch.
        starts: for each place of the kernel, the number of its line and where its stretch begins.
        rows: for each dimension of the kernel, its size and how much later a stretch begins from place to place,
            where all are on one line.
        on_line: for each line, which part of it holds which part of the image.
        whole: whether there is one line, and it is the image.
        covering: whether the lines hold all of the image.
        outputs: P and Q.
    """

    grid: tuple[int, ...]
    length: int
    starts: tuple[tuple[int, int], ...]
    rows: tuple[tuple[int, int], ...]
    on_line: tuple[tuple[Index, Index], ...]
    whole: bool
    covering: bool
    outputs: tuple[int, ...]

    @property
    def size(self) -> int:
        """Numbers on a line."""
        return math.prod(self.grid)

    @property
    def last(self) -> int:
        """Where the last stretch begins."""
        return max(start for _, start in self.starts)

    def windows_on(self, line: Tensor, start: int = 0) -> Tensor:
        """The numbers of a line ``(b, O, n)`` that belong to windows, as ``(b, O, P, Q)``."""
        batch, channels, _ = line.stride()
        strides = (batch, channels, *_steps(self.grid))
        return line.as_strided((*line.shape[:2], *self.outputs), strides, line.storage_offset() + start)


def _steps(grid: Sequence[int]) -> tuple[int, ...]:
    """From one element to the next along each dimension of a line."""
    return tuple(math.prod(grid[i + 1 :]) for i in range(len(grid)))


@lru_cache(maxsize=256)
def lines_of(geometry: Geometry, size: tuple[int, ...], outputs: tuple[int, ...]) -> Lines:
    """The lines of images of one size, for the places of a kernel."""
    stride, extent = geometry.stride, geometry.extent(size)
    grid = tuple(-(-e // s) for e, s in zip(extent, stride, strict=True))
    steps = _steps(grid)
    positions = list(
        product(*(range(0, k * d, d) for k, d in zip(geometry.kernel, geometry.dilation, strict=True)))
    )
    phases = sorted({tuple(p % s for p, s in zip(at, stride, strict=True)) for at in positions})
    starts = tuple(
        (
            phases.index(tuple(p % s for p, s in zip(at, stride, strict=True))),
            sum(p // s * step for p, s, step in zip(at, stride, steps, strict=True)),
        )
        for at in positions
    )
    on_line = []
    for phase in phases:
        line, image = [slice(None)] * 2, [slice(None)] * 2
        for n, s, first, (before, _) in zip(size, stride, phase, geometry.padding, strict=True):
            begin = max(0, -(-(before - first) // s))
            pixel = first + s * begin - before
            count = max(0, -(-(n - pixel) // s))
            line.append(slice(begin, begin + count))
            image.append(slice(pixel, n, s) if count else slice(0, 0))
        on_line.append((tuple(line), tuple(image)))
    return Lines(
        grid,
        1 + sum((n - 1) * step for n, step in zip(outputs, steps, strict=True)),
        starts,
        tuple(
            (k, d // s * step)
            for k, d, s, step in zip(geometry.kernel, geometry.dilation, stride, steps, strict=True)
        ),
        tuple(on_line),
        whole=extent == size and set(stride) == {1},
        covering=len(phases) == math.prod(stride),
        outputs=outputs,
    )


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, groups: int, outputs: Sequence[int]
) -> Tensor:
    """Of images ``(B, C, H, W)`` and a weight ``(O, C/G, R, S)``, the outputs ``(B, O, P, Q)``."""
    batch, out = len(x), len(weight)
    lines = lines_of(geometry, tuple(x.shape[2:]), tuple(outputs))
    y = x.new_empty((batch, out, *outputs))
    stacked, step = _at_once(lines, x, x.shape[1], out)
    matrices = _side_by_side(_kernels(weight, groups), stacked, step)
    dense = lines.length == math.prod(outputs)
    buffer = y if dense else x.new_empty((step, out, lines.length))
    for block, stretches in _stretches(x, lines, step, groups):
        part = y[block]
        count = len(part)
        line = (part if dense else buffer[:count]).view(count * groups, out // groups, lines.length)
        _add_products(line, matrices, _below_each_other(stretches, lines, stacked))
        if not dense:
            part.copy_(lines.windows_on(line.view(count, out, lines.length)))
        if bias is not None:
            part.add_(_each(bias, part))
    return y


def spread(
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
            part.add_(_each(bias, part))
    return total


def correlate(y: Tensor, x: Tensor, geometry: Geometry, groups: int) -> Tensor:
    """Of outputs ``(B, O, P, Q)`` and images ``(B, C, H, W)``, a weight ``(O, C/G, R, S)``."""
    out, *outputs = y.shape[1:]
    channels = x.shape[1] // groups
    lines = lines_of(geometry, tuple(x.shape[2:]), tuple(outputs))
    stacked, step = _at_once(lines, x, x.shape[1], out)
    products = geometry.places // stacked
    dense = lines.length == math.prod(outputs) and y.is_contiguous()
    buffer = y if dense else y.new_zeros((step, out, lines.length))
    total = y.new_zeros((products, step * groups, out // groups, stacked * channels))
    for block, stretches in _stretches(x, lines, step, groups):
        part = y[block]
        if not dense:
            lines.windows_on(buffer[: len(part)]).copy_(part)
            part = buffer[: len(part)]
        line = part.view(-1, out // groups, lines.length)
        for one, stretch in zip(total, _below_each_other(stretches, lines, stacked), strict=True):
            one[: len(line)].baddbmm_(line, stretch.mT)
    total = total.view(products, step, groups, out // groups, stacked, channels).sum(1)
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


def _stretches(x: Tensor, lines: Lines, step: int, groups: int) -> Iterator[tuple[slice, list[Tensor]]]:
    """A few images at a time: which they are, and each place's stretch, ``(images·G, C/G, n)``."""
    batch, channels = x.shape[:2]
    whole = lines.whole and x.is_contiguous()
    buffer = None if whole else x.new_zeros((len(lines.on_line), step, channels, lines.size))
    for start in range(0, batch, step):
        part = x[start : start + step]
        count = len(part)
        if buffer is None:
            filled = [part]
        else:
            filled = [line[:count] for line in buffer]
            for line, (held, held_by) in zip(filled, lines.on_line, strict=True):
                line.view(count, channels, *lines.grid)[held] = part[held_by]
        each = [line.view(count * groups, channels // groups, lines.size) for line in filled]
        yield slice(start, start + step), [each[on].narrow(2, at, lines.length) for on, at in lines.starts]


def _add_products(total: Tensor, matrices: Iterable[Tensor], stretches: Iterable[Tensor]) -> None:
    """Writes the sum of the matrices' products with their stretches."""
    for i, (matrix, stretch) in enumerate(zip(matrices, stretches, strict=True)):
        if i:
            total.baddbmm_(matrix[: len(total)], stretch)
        else:
            torch.bmm(matrix[: len(total)], stretch, out=total)


def _each(bias: Tensor, y: Tensor) -> Tensor:
    """The bias, a number for each channel."""
    return bias.view(-1, *(1,) * (y.dim() - 2))
