r"""Depthwise convolution of small images: one matrix for each channel.

Flattened, a channel's images (B, HW) are multiplied by the matrix of the convolution (HW, PQ), in which an entry is the
weight at the kernel position that leads from pixel to output, or 0 if none does:

.. math::
    y_c = x_c T_c, \qquad
    T_{c, i, o} = \sum_k w_{c, k} S_{k, i, o}, \qquad
    \frac{\partial L}{\partial x_c} = \frac{\partial L}{\partial y_c} T_c^\top, \qquad
    \frac{\partial L}{\partial T_c} = x_c^\top \frac{\partial L}{\partial y_c}, \qquad
    \frac{\partial L}{\partial w_{c, k}} = \sum_{i, o} S_{k, i, o} \frac{\partial L}{\partial T_{c, i, o}}

with S = 1 where kernel position k leads from pixel i to output o. Most entries of T are 0, but matrix products are an
order of magnitude faster than as many operations on elements. An infinity or NaN times these zeros spreads over the
image, so a result that is not finite is discarded (None).

Channels are processed in tiles, whose matrices take less memory than the images.

Shapes: B images, C channels, H × W pixels, R × S kernel, P × Q outputs; c channels per tile.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache, reduce

import torch
from torch import Tensor

from scratchnet.convolution.algorithms.polyphase import per_channel
from scratchnet.layout import empty_images
from scratchnet.windows import Geometry

__all__ = ["backward_input", "convolve", "correlate", "finite", "paths_of", "worthwhile"]

LEAST_TILE = 1 << 15  # elements; smaller tiles spend more time on calls than they save memory
MOST = 1 << 19  # elements of S

Sizes = tuple[int, ...]


def worthwhile(x: Tensor, geometry: Geometry, size: Sequence[int], outputs: Sequence[int]) -> bool:
    """Returns whether matrices are faster than `depthwise`, on a CPU, where a test for NaN does not stall.

    They are if their entries are not many more than the elements of the images.
    """
    pixels = math.prod(size)
    return (
        x.device.type == "cpu"
        and pixels <= 8 * len(x)
        and geometry.positions * pixels * math.prod(outputs) <= MOST
    )


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, outputs: Sequence[int], channels_last: bool
) -> Tensor | None:
    """Convolves images (B, C, H, W) with a weight (C, 1, R, S) and adds a bias; returns (B, C, P, Q), or None."""
    y = empty_images(x, len(x), len(weight), outputs, channels_last)
    paths = paths_of(geometry, tuple(x.shape[2:]), tuple(outputs), x.dtype)
    for tile in _tiles(x, paths):
        product = torch.bmm(_rows(x, tile), _matrices(weight[tile], paths))
        y[:, tile] = product.transpose(0, 1).unflatten(2, outputs)
    return finite(y if bias is None else y.add_(per_channel(bias, y)))


def backward_input(
    y: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, size: Sequence[int], channels_last: bool
) -> Tensor | None:
    """Multiplies outputs (B, C, P, Q) by the adjoint of `convolve`, adds a bias; returns (B, C, H, W), or None."""
    x = empty_images(y, len(y), len(weight), size, channels_last)
    paths = paths_of(geometry, tuple(size), tuple(y.shape[2:]), y.dtype)
    for tile in _tiles(y, paths):
        product = torch.bmm(_rows(y, tile), _matrices(weight[tile], paths).transpose(1, 2))
        x[:, tile] = product.transpose(0, 1).unflatten(2, size)
    return finite(x if bias is None else x.add_(per_channel(bias, x)))


def correlate(y: Tensor, x: Tensor, geometry: Geometry) -> Tensor | None:
    """Correlates outputs (B, C, P, Q) with images (B, C, H, W); returns a weight (C, 1, R, S), or None."""
    paths = paths_of(geometry, tuple(x.shape[2:]), tuple(y.shape[2:]), x.dtype)
    weight = x.new_empty((x.shape[1], geometry.positions))
    for tile in _tiles(x, paths):
        entries = torch.bmm(_rows(x, tile).transpose(1, 2), _rows(y, tile))
        torch.mm(entries.flatten(1), paths.flatten(1).t(), out=weight[tile])
    return finite(weight.view(-1, 1, *geometry.kernel))


def _tiles(x: Tensor, paths: Tensor) -> Iterator[slice]:
    """Yields channels, so many that matrices and results take half the memory of the images."""
    channels, elements = x.shape[1], paths[0].numel() + len(x) * max(paths.shape[1:])
    step = max(1, max(LEAST_TILE, x.numel() // 2) // elements)
    return (slice(first, first + step) for first in range(0, channels, step))


def _rows(x: Tensor, tile: slice) -> Tensor:
    """Returns images of some channels as matrices (c, B, HW), which `torch.bmm` takes without a copy."""
    rows = x[:, tile].flatten(2).transpose(0, 1)
    return rows if rows.stride(2) == 1 and rows.stride(1) >= rows.shape[2] else rows.contiguous()


def _matrices(weight: Tensor, paths: Tensor) -> Tensor:
    """Returns T, (c, HW, PQ)."""
    return (weight.flatten(1) @ paths.flatten(1)).view(len(weight), *paths.shape[1:])


@lru_cache(maxsize=32)
def paths_of(geometry: Geometry, size: Sizes, outputs: Sizes, dtype: torch.dtype) -> Tensor:
    """Returns S, (RS, HW, PQ): 1 where a kernel position leads from a pixel to an output."""
    along = []  # each dimension: (R, H, P), (S, W, Q)
    for pixels, windows, kernel, stride, dilation, (before, _) in zip(
        size, outputs, geometry.kernel, geometry.stride, geometry.dilation, geometry.padding, strict=True
    ):
        seen = torch.arange(windows) * stride - before + torch.arange(kernel).view(-1, 1, 1) * dilation
        along.append((seen == torch.arange(pixels).unsqueeze(1)).to(dtype))
    return reduce(torch.kron, along)


def finite(x: Tensor) -> Tensor | None:
    """Returns the tensor, or None if an element is infinite or NaN."""
    return x if bool(x.sum().isfinite()) else None
