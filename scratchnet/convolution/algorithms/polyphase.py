r"""Images as lines, on which the windows of convolution are stretches that begin later and later.

Row after row, a padded image is one line of numbers, and what one place of the kernel sees of it from all windows is a
stretch of that line. With rows of W numbers and a stride of 1,

.. math::
    x_{p + r,\; q + s} = \text{line}_{(p W + q) + (r W + s)}

so the place (r, s) begins r·W + s later than the first. From one row of outputs to the next there are W numbers as
well; those beyond Q belong to no window, and are dropped. With a stride of t, the places t apart share a line, so the
image is sorted into lines of every t-th row and column.

Shapes: b images at a time, C channels, G groups, H × W pixels, P × Q outputs, n numbers of a stretch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from torch import Tensor

from scratchnet.windows import Geometry

__all__ = ["Lines", "lines_of", "of_each", "stretches"]

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
        batch, channels, number = line.stride()
        strides = (batch, channels, *(step * number for step in _steps(self.grid)))
        return line.as_strided((*line.shape[:2], *self.outputs), strides, line.storage_offset() + start * number)


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


def stretches(
    x: Tensor, lines: Lines, step: int, groups: int, channels_last: bool = False
) -> Iterator[tuple[slice, list[Tensor]]]:
    """A few images at a time: which they are, and each place's stretch, ``(images·G, C/G, n)``.

    Lines of one group may have their channels ``channels_last`` in memory.
    """
    batch, channels = x.shape[:2]
    whole, count = lines.whole and x.is_contiguous() and not channels_last, len(lines.on_line)
    buffer = None
    if channels_last:
        buffer = x.new_zeros((count, step, lines.size, channels)).mT
    elif not whole:
        buffer = x.new_zeros((count, step, channels, lines.size))
    for start in range(0, batch, step):
        part = x[start : start + step]
        count = len(part)
        if buffer is None:
            filled = [part]
        else:
            filled = [line[:count] for line in buffer]
            for line, (held, held_by) in zip(filled, lines.on_line, strict=True):
                line.unflatten(2, lines.grid)[held] = part[held_by]
        each = [
            line if channels_last else line.view(count * groups, channels // groups, lines.size) for line in filled
        ]
        yield slice(start, start + step), [each[on].narrow(2, at, lines.length) for on, at in lines.starts]


def of_each(bias: Tensor, y: Tensor) -> Tensor:
    """The bias, a number for each channel."""
    return bias.view(-1, *(1,) * (y.dim() - 2))
