r"""Polyphase layout of images, in which each kernel position reads a shifted view.

Flatten a padded image row by row. The pixels that one kernel position sees from all windows are a contiguous view of
the flattened image. With rows of W pixels and a stride of 1,

.. math::
    x_{p + r,\; q + s} = \text{flat}_{(p W + q) + (r W + s)}

so kernel position (r, s) has an offset of r·W + s. Consecutive rows of outputs are W elements apart as well; the
columns beyond Q belong to no window and are dropped. With a stride of t, the image is split into t × t phases, each
with every t-th row and column; kernel positions that differ by a multiple of t share a phase.

Shapes: b images per tile, C channels, G groups, H × W pixels, P × Q outputs, n elements of a shifted view.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from torch import Tensor

from scratchnet.layout import empty_images
from scratchnet.windows import Geometry

__all__ = ["Phases", "per_channel", "phases_of", "shifted_views"]

Index = tuple[slice, ...]


class Phases(NamedTuple):
    """The phases of images of one size.

    Attributes:
        grid: number of rows and columns of a phase.
        length: number of elements of a shifted view.
        offsets: for each kernel position, the index of its phase and the offset of its view in it.
        shifts: for each dimension of the kernel, its size and the difference of offset between neighboring
            positions; meaningful if there is one phase.
        slices: for each phase, the index of its pixels in the phase and in the image.
        is_image: whether the only phase is the image itself.
        covers_image: whether the phases hold every pixel.
        outputs: P and Q.
    """

    grid: tuple[int, ...]
    length: int
    offsets: tuple[tuple[int, int], ...]
    shifts: tuple[tuple[int, int], ...]
    slices: tuple[tuple[Index, Index], ...]
    is_image: bool
    covers_image: bool
    outputs: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of elements of a phase."""
        return math.prod(self.grid)

    @property
    def max_offset(self) -> int:
        """The largest offset of a shifted view."""
        return max(offset for _, offset in self.offsets)

    def windows(self, flat: Tensor, offset: int = 0) -> Tensor:
        """Views the elements of ``flat`` (b, O, n) that belong to windows as (b, O, P, Q)."""
        batch, channels, element = flat.stride()
        strides = (batch, channels, *(step * element for step in _steps(self.grid)))
        return flat.as_strided((*flat.shape[:2], *self.outputs), strides, flat.storage_offset() + offset * element)


def _steps(grid: Sequence[int]) -> tuple[int, ...]:
    """Returns the contiguous strides of a grid."""
    return tuple(math.prod(grid[i + 1 :]) for i in range(len(grid)))


@lru_cache(maxsize=256)
def phases_of(geometry: Geometry, size: tuple[int, ...], outputs: tuple[int, ...]) -> Phases:
    """Splits images of one size into the phases that a kernel reads."""
    stride, extent = geometry.stride, geometry.extent(size)
    grid = tuple(-(-e // s) for e, s in zip(extent, stride, strict=True))
    steps = _steps(grid)
    positions = list(
        product(*(range(0, k * d, d) for k, d in zip(geometry.kernel, geometry.dilation, strict=True)))
    )
    phases = sorted({tuple(p % s for p, s in zip(position, stride, strict=True)) for position in positions})
    offsets = tuple(
        (
            phases.index(tuple(p % s for p, s in zip(position, stride, strict=True))),
            sum(p // s * step for p, s, step in zip(position, stride, steps, strict=True)),
        )
        for position in positions
    )
    slices = []
    for phase in phases:
        in_phase, in_image = [slice(None)] * 2, [slice(None)] * 2
        for n, s, first, (before, _) in zip(size, stride, phase, geometry.padding, strict=True):
            begin = max(0, -(-(before - first) // s))
            pixel = first + s * begin - before
            count = max(0, -(-(n - pixel) // s))
            in_phase.append(slice(begin, begin + count))
            in_image.append(slice(pixel, n, s) if count else slice(0, 0))
        slices.append((tuple(in_phase), tuple(in_image)))
    return Phases(
        grid,
        1 + sum((n - 1) * step for n, step in zip(outputs, steps, strict=True)),
        offsets,
        tuple(
            (k, d // s * step)
            for k, d, s, step in zip(geometry.kernel, geometry.dilation, stride, steps, strict=True)
        ),
        tuple(slices),
        is_image=extent == size and set(stride) == {1},
        covers_image=len(phases) == math.prod(stride),
        outputs=outputs,
    )


def shifted_views(
    x: Tensor, phases: Phases, step: int, groups: int, channels_last: bool = False
) -> Iterator[tuple[slice, list[Tensor]]]:
    """Yields tiles of ``step`` images and, for each kernel position, its view (b·G, C/G, n).

    The views share one buffer, which the next tile overwrites. ``channels_last`` needs one group.
    """
    batch, channels = x.shape[:2]
    buffer = None
    if channels_last or not (phases.is_image and x.is_contiguous()):
        shape = (phases.size,)
        buffer = [empty_images(x, step, channels, shape, channels_last).zero_() for _ in phases.slices]
    for start in range(0, batch, step):
        images = x[start : start + step]
        count = len(images)
        if buffer is None:
            filled = [images]
        else:
            filled = [phase[:count] for phase in buffer]
            for phase, (in_phase, in_image) in zip(filled, phases.slices, strict=True):
                phase.unflatten(2, phases.grid)[in_phase] = images[in_image]
        grouped = [
            phase if channels_last else phase.view(count * groups, channels // groups, phases.size)
            for phase in filled
        ]
        views = [grouped[phase].narrow(2, offset, phases.length) for phase, offset in phases.offsets]
        yield slice(start, start + step), views


def per_channel(bias: Tensor, y: Tensor) -> Tensor:
    """Views a bias (C,) so that it broadcasts over the channels of ``y``."""
    return bias.view(-1, *(1,) * (y.dim() - 2))
