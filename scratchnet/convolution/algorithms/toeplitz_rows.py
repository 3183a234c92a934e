r"""Convolution of narrow images with few channels: a matrix for each row of the kernel.

Row p of the outputs is a sum of products of input rows, of C channels of W pixels, with matrices (CW, OQ), one for each
row of the kernel, in which an entry is the weight at the kernel column that leads from pixel to output, or 0 if none
does:

.. math::
    y_p = \sum_r x_{sp + dr} T_r, \qquad
    T_{r, ci, oj} = \sum_k w_{o, c, r, k} S_{k, i, j}, \qquad
    \bar x_m = \sum_{p, r:\; sp + dr = m} \bar y_p T_r^\top, \qquad
    \bar T_r = \sum_p x_{sp + dr}^\top \bar y_p, \qquad
    \bar w_{o, c, r, k} = \sum_{i, j} S_{k, i, j} \bar T_{r, ci, oj}

with stride s and dilation d. As in `scratchnet.convolution.algorithms.toeplitz`, whose matrices take whole images, most
entries are 0, products of matrices are an order of magnitude faster than as many operations on elements, or than
products with a matrix of few rows, and a result that is not finite is discarded (None).

All images lie below each other, with zeros in between, so that a product has the rows of all images. It computes rows
across two images as well, which are left out.

Each group of channels has matrices of its own; in depthwise convolution, each channel. Groups are processed in tiles
that stay in the cache. In 3-d convolution a row is a plane, flattened.

Shapes: B images, G groups of C input and O output channels, H × W pixels, R × S kernel, P × Q outputs; g groups per
tile, L rows between images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from scratchnet.convolution.algorithms.pointwise import terms_per_sum
from scratchnet.convolution.algorithms.polyphase import per_channel
from scratchnet.convolution.algorithms.toeplitz import finite, paths_of
from scratchnet.layout import empty_images
from scratchnet.windows import Geometry

__all__ = ["backward_input", "convolve", "correlate", "worthwhile"]

TILE = 1 << 20  # elements of inputs and outputs, which stay in the cache
WIDEST = 5  # pixels of a row for each position of a depthwise kernel; more cost more than the sums over positions
# With several channels, the columns of a kernel, and for each of them the pixels of a row in all channels. What these
# admit takes 0.2 to 1.0 of the time of other ways, on images of 32 and 64 pixels, 2 and 32 at a time.
LEAST_COLUMNS, MOST_PIXELS = 15, 33


def worthwhile(
    x: Tensor, channels: int, out: int, geometry: Geometry, size: Sequence[int], outputs: Sequence[int]
) -> bool:
    """Returns whether these matrices are the fastest way for groups of C and O channels.

    On a CPU alone: elsewhere a test for NaN would stall.
    """
    widest, columns = max(math.prod(size[1:]), math.prod(outputs[1:])), math.prod(geometry.kernel[1:])
    if max(channels, out) == 1:
        narrow = widest <= WIDEST * geometry.positions
    else:
        few = widest * max(channels, out) <= MOST_PIXELS * columns
        narrow = few and columns >= LEAST_COLUMNS and widest <= WIDEST * columns
    return x.device.type == "cpu" and len(size) > 1 and narrow


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    groups: int,
    outputs: Sequence[int],
    channels_last: bool,
) -> Tensor | None:
    """Convolves images (B, GC, H, W) with a weight (GO, C, R, S) and adds a bias; returns (B, GO, P, Q), or None."""
    rows = _Rows(geometry, x.shape[2:], outputs, x)
    y = empty_images(x, len(x), len(weight), outputs, channels_last)
    grouped = y.unflatten(1, (groups, -1))
    for tile, matrices in rows.tiles(weight, groups):
        sums = _sum_of_products(rows.seen(x.unflatten(1, (groups, -1))[:, tile]), matrices)
        images = sums.view(len(sums), len(x), rows.length // rows.stride, len(weight) // groups, *outputs[1:])
        grouped[:, tile] = images[:, :, : outputs[0]].movedim(3, 2).transpose(0, 1)
    return finite(y if bias is None else y.add_(per_channel(bias, y)))


def backward_input(
    y: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    groups: int,
    size: Sequence[int],
    channels_last: bool,
) -> Tensor | None:
    """Multiplies outputs (B, GO, P, Q) by the adjoint of `convolve`, adds a bias; returns (B, GC, H, W), or None."""
    rows = _Rows(geometry, size, y.shape[2:], y)
    x = empty_images(y, len(y), weight.shape[1] * groups, size, channels_last)
    grouped, last = x.unflatten(1, (groups, -1)), rows.shifts[-1]
    for tile, matrices in rows.tiles(weight, groups):
        upstream = _stacked(y.unflatten(1, (groups, -1))[:, tile], rows.length, step=rows.stride, before=last)
        seen = [upstream[:, last - shift : len(upstream[0]) - shift] for shift in rows.shifts]
        sums = _sum_of_products(seen, (matrix.transpose(1, 2) for matrix in matrices))
        images = sums.view(len(sums), len(y), rows.length, weight.shape[1], *size[1:])
        grouped[:, tile] = images[:, :, rows.inside].movedim(3, 2).transpose(0, 1)
    return finite(x if bias is None else x.add_(per_channel(bias, x)))


def correlate(y: Tensor, x: Tensor, geometry: Geometry, groups: int) -> Tensor | None:
    """Correlates outputs (B, GO, P, Q) with images (B, GC, H, W); returns a weight (GO, C, R, S), or None."""
    rows = _Rows(geometry, x.shape[2:], y.shape[2:], x)
    channels, out = x.shape[1] // groups, y.shape[1] // groups
    weight = x.new_empty((groups, out, channels, len(rows.shifts), len(rows.paths)))
    for tile in rows.groups_per_tile(groups, channels, out):
        upstream = _stacked(y.unflatten(1, (groups, -1))[:, tile], rows.length // rows.stride)
        terms = terms_per_sum(upstream.shape[1])
        for r, seen in enumerate(rows.seen(x.unflatten(1, (groups, -1))[:, tile])):
            chunks = [chunk.transpose(1, 2) for chunk in seen.split(terms, 1)]
            entries = _sum_of_products(chunks, upstream.split(terms, 1)).view(
                -1, channels, rows.paths.shape[1], out, rows.paths.shape[2]
            )
            weight[tile, :, :, r] = entries.permute(0, 3, 1, 2, 4).flatten(3) @ rows.paths.flatten(1).t()
    return finite(weight.view(groups * out, channels, *geometry.kernel))


class _Rows:
    """Places of the rows of images and windows in one matrix per group.

    Row r of the kernel sees every ``stride``-th row from ``shifts[r]`` on. An image takes ``length`` rows, which the
    stride divides: zeros of the padding, its own (``inside``), and what else its windows see.
    """

    def __init__(self, geometry: Geometry, size: Sequence[int], outputs: Sequence[int], x: Tensor) -> None:
        (kernel, *_), (self.stride, *_), ((before, _), *_), (dilation, *_) = geometry
        along = Geometry(geometry.kernel[1:], geometry.stride[1:], geometry.padding[1:], geometry.dilation[1:])
        self.paths = paths_of(along, tuple(size[1:]), tuple(outputs[1:]), x.dtype)
        self.shifts = range(0, kernel * dilation, dilation)
        seen = (outputs[0] - 1) * self.stride + self.shifts[-1] + 1
        self.length = -(-max(before + size[0], seen) // self.stride) * self.stride
        self.inside = slice(before, before + size[0])
        self.rows = len(x) * self.length

    def groups_per_tile(self, groups: int, channels: int, out: int) -> Iterator[slice]:
        """Yields groups of C and O channels, so many that inputs and outputs stay in the cache."""
        _, width, outputs = self.paths.shape
        step = max(1, TILE // (self.rows * (channels * width + out * outputs)))
        return (slice(first, min(first + step, groups)) for first in range(0, groups, step))

    def tiles(self, weight: Tensor, groups: int) -> Iterator[tuple[slice, Iterator[Tensor]]]:
        """Yields groups with T for each row of the kernel, (g, CW, OQ)."""
        out, channels = len(weight) // groups, weight.shape[1]
        kernels = weight.reshape(groups, out, channels, len(self.shifts), len(self.paths))
        for tile in self.groups_per_tile(groups, channels, out):
            yield tile, map(self._matrix, kernels[tile].unbind(3))

    def _matrix(self, row: Tensor) -> Tensor:
        entries = (row @ self.paths.flatten(1)).unflatten(3, self.paths.shape[1:])  # (g, O, C, W, Q)
        return entries.permute(0, 2, 3, 1, 4).flatten(3).flatten(1, 2)

    def seen(self, x: Tensor) -> list[Tensor]:
        """Returns what each row of the kernel sees of images (B, g, C, H, W), (g, BL / stride, CW)."""
        inputs = _stacked(x, self.length, first=self.inside.start, after=self.shifts[-1])
        return [inputs[:, shift : shift + self.rows : self.stride] for shift in self.shifts]


def _stacked(x: Tensor, length: int, *, first: int = 0, step: int = 1, before: int = 0, after: int = 0) -> Tensor:
    """Puts images (B, g, C, H, W) below each other in zeros, ``length`` rows for each; returns (g, BL, CW).

    The rows of an image are every ``step``-th from the ``first``; more zeros come before all images, and after them.
    """
    batch, groups, channels, height, *width = x.shape
    rows = x.new_zeros((groups, before + batch * length + after, channels, *width))
    images = rows[:, before : before + batch * length].unflatten(1, (batch, length))
    images[:, :, first : first + (height - 1) * step + 1 : step] = x.transpose(0, 1).movedim(2, 3)
    return rows.flatten(2)


def _sum_of_products(left: Iterable[Tensor], right: Iterable[Tensor]) -> Tensor:
    """Returns the sum of products of matrices, one product for each pair."""
    total = None
    for a, b in zip(left, right, strict=True):
        total = torch.bmm(a, b) if total is None else total.baddbmm_(a, b)
    assert total is not None
    return total
