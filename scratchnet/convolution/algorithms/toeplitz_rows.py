r"""Depthwise convolution of narrow images: a matrix for each row of a channel's kernel.

Row p of a channel's output is a sum of products of input rows with banded matrices (W, Q), one for each row of the
kernel, in which an entry is the weight at the kernel column that leads from pixel to output, or 0 if none does:

.. math::
    y_p = \sum_r x_{sp + dr} T_r, \qquad
    T_{r, i, o} = \sum_k w_{r, k} S_{k, i, o}, \qquad
    \bar x_j = \sum_{p, r:\; sp + dr = j} \bar y_p T_r^\top, \qquad
    \bar T_r = \sum_p x_{sp + dr}^\top \bar y_p, \qquad
    \bar w_{r, k} = \sum_{i, o} S_{k, i, o} \bar T_{r, i, o}

with stride s and dilation d. As in `scratchnet.convolution.algorithms.toeplitz`, whose matrices take whole images, most
entries are 0, products of matrices are an order of magnitude faster than as many operations on elements, and a result
that is not finite is discarded (None).

All images of a channel lie below each other, with zeros in between, so that a product has the rows of all images. It
computes rows across two images as well, which are left out.

Channels are processed in tiles that stay in the cache. In 3-d convolution a row is a plane, flattened.

Shapes: B images, C channels, H × W pixels, R × S kernel, P × Q outputs; c channels per tile, L rows between images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from scratchnet.convolution.algorithms.pointwise import terms_per_sum
from scratchnet.convolution.algorithms.polyphase import per_channel
from scratchnet.convolution.algorithms.toeplitz import finite, paths_of
from scratchnet.layout import empty_images
from scratchnet.windows import Geometry

__all__ = ["backward_input", "convolve", "correlate", "worthwhile"]

TILE = 1 << 18  # elements of inputs and outputs, which stay in the cache
WIDEST = 5  # pixels of a row for each kernel position; more cost more than the sums over positions


def worthwhile(x: Tensor, geometry: Geometry, size: Sequence[int], outputs: Sequence[int]) -> bool:
    """Returns whether matrices are faster than `depthwise`, on a CPU, where a test for NaN does not stall."""
    widest = max(math.prod(size[1:]), math.prod(outputs[1:]))
    return x.device.type == "cpu" and len(size) > 1 and widest <= WIDEST * geometry.positions


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, outputs: Sequence[int], channels_last: bool
) -> Tensor | None:
    """Convolves images (B, C, H, W) with a weight (C, 1, R, S) and adds a bias; returns (B, C, P, Q), or None."""
    rows = _Rows(geometry, x.shape[2:], outputs, x)
    y = empty_images(x, len(x), len(weight), outputs, channels_last)
    for tile in rows.tiles(len(weight)):
        sums = _sum_of_products(rows.seen(x[:, tile]), rows.matrices(weight[tile]))
        images = sums.view(len(sums), len(x), rows.length // rows.stride, *outputs[1:])
        y[:, tile] = images[:, :, : outputs[0]].transpose(0, 1)
    return finite(y if bias is None else y.add_(per_channel(bias, y)))


def backward_input(
    y: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, size: Sequence[int], channels_last: bool
) -> Tensor | None:
    """Multiplies outputs (B, C, P, Q) by the adjoint of `convolve`, adds a bias; returns (B, C, H, W), or None."""
    rows = _Rows(geometry, size, y.shape[2:], y)
    x = empty_images(y, len(y), len(weight), size, channels_last)
    last = rows.shifts[-1]
    for tile in rows.tiles(len(weight)):
        upstream = _stacked(y[:, tile], rows.length, step=rows.stride, before=last)
        seen = [upstream[:, last - shift : len(upstream[0]) - shift] for shift in rows.shifts]
        sums = _sum_of_products(seen, [matrix.transpose(1, 2) for matrix in rows.matrices(weight[tile])])
        x[:, tile] = sums.view(len(sums), len(y), rows.length, *size[1:])[:, :, rows.inside].transpose(0, 1)
    return finite(x if bias is None else x.add_(per_channel(bias, x)))


def correlate(y: Tensor, x: Tensor, geometry: Geometry) -> Tensor | None:
    """Correlates outputs (B, C, P, Q) with images (B, C, H, W); returns a weight (C, 1, R, S), or None."""
    rows = _Rows(geometry, x.shape[2:], y.shape[2:], x)
    weight = x.new_empty((x.shape[1], len(rows.shifts), len(rows.paths)))
    for tile in rows.tiles(len(weight)):
        upstream = _stacked(y[:, tile], rows.length // rows.stride)
        terms = terms_per_sum(upstream.shape[1])
        for r, seen in enumerate(rows.seen(x[:, tile])):
            chunks = [chunk.transpose(1, 2) for chunk in seen.split(terms, 1)]
            entries = _sum_of_products(chunks, upstream.split(terms, 1))
            weight[tile, r] = entries.flatten(1) @ rows.paths.flatten(1).t()
    return finite(weight.view(-1, 1, *geometry.kernel))


class _Rows:
    """Places of the rows of images and windows in one matrix per channel.

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
        self.elements = len(x) * self.length * sum(self.paths.shape[1:])

    def tiles(self, channels: int) -> Iterator[slice]:
        """Yields channels, so many that inputs and outputs stay in the cache."""
        step = max(1, TILE // self.elements)
        return (slice(first, min(first + step, channels)) for first in range(0, channels, step))

    def matrices(self, weight: Tensor) -> Sequence[Tensor]:
        """Returns T for each row of the kernel, (c, W, Q)."""
        entries = weight.reshape(-1, len(self.paths)) @ self.paths.flatten(1)
        return entries.view(len(weight), len(self.shifts), *self.paths.shape[1:]).unbind(1)

    def seen(self, x: Tensor) -> list[Tensor]:
        """Returns what each row of the kernel sees of images (B, c, H, W), (c, BL / stride, W)."""
        inputs = _stacked(x, self.length, first=self.inside.start, after=self.shifts[-1])
        count = len(x) * self.length
        return [inputs[:, shift : shift + count : self.stride] for shift in self.shifts]


def _stacked(x: Tensor, length: int, *, first: int = 0, step: int = 1, before: int = 0, after: int = 0) -> Tensor:
    """Puts images (B, c, H, W) below each other in zeros, ``length`` rows for each; returns (c, BL, W).

    The rows of an image are every ``step``-th from the ``first``; more zeros come before all images, and after them.
    """
    batch, channels, height, *width = x.shape
    rows = x.new_zeros((channels, before + batch * length + after, *width))
    images = rows[:, before : before + batch * length].unflatten(1, (batch, length))
    images[:, :, first : first + (height - 1) * step + 1 : step] = x.transpose(0, 1)
    return rows.flatten(2)


def _sum_of_products(left: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
    """Returns the sum of products of matrices, one product for each pair."""
    total = torch.bmm(left[0], right[0])
    for a, b in zip(left[1:], right[1:], strict=True):
        total.baddbmm_(a, b)
    return total
