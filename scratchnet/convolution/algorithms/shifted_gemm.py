r"""Convolution as a sum of matrix products over shifted views, without writing im2col's columns.

With images in the layout of `scratchnet.convolution.algorithms.polyphase`, each of the R·S kernel positions contributes
one matrix product with a shifted view:

.. math::
    Y = \sum_{r, s} W_{r s} \, X_{[r W + s\,:]} \qquad
    \bar X = \sum_{r, s} W_{r s}^\top \, \bar Y_{[-(r W + s)\,:]} \qquad
    \bar W_{r s} = \sum_\text{images} \bar Y \, X_{[r W + s\,:]}^\top

The views of one kernel row, or of the whole kernel, are stacked and multiplied at once if they fit into the cache.
Images are processed in tiles that stay in the cache.

Shapes: B images, C input and O output channels, G groups, H × W pixels, R × S kernel, P × Q outputs; b images per
tile, n elements of a shifted view.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from scratchnet.convolution.algorithms.polyphase import Phases, per_channel, phases_of, shifted_views
from scratchnet.layout import empty_images, is_channels_last
from scratchnet.windows import Geometry

__all__ = ["backward_input", "convolve", "correlate"]

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
    """Convolves images (B, C, H, W) with a weight (O, C/G, R, S) and adds a bias; returns (B, O, P, Q).

    The result is channels last if ``channels_last`` and there is one group.
    """
    out = len(weight)
    phases = phases_of(geometry, tuple(x.shape[2:]), tuple(outputs))
    y = empty_images(x, len(x), out, outputs, channels_last and groups == 1)
    stacked, step = _tile_sizes(phases, x, x.shape[1], out)
    matrices = _stack_kernels(_kernels(weight, groups), stacked, step)
    dense = phases.length == math.prod(outputs)
    buffer = y.flatten(2) if dense else _buffer_like(y, step, phases.length, groups)
    for tile, views in shifted_views(x, phases, step, groups):
        y_tile = y[tile]
        count = len(y_tile)
        flat = buffer[tile] if dense else buffer[:count]
        grouped = flat if groups == 1 else flat.view(count * groups, out // groups, phases.length)
        _sum_products(grouped, matrices, _stack_views(views, phases, stacked))
        if not dense:
            y_tile.copy_(phases.windows(flat))
        if bias is not None:
            y_tile.add_(per_channel(bias, y_tile))
    return y


def backward_input(
    y: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, groups: int, size: Sequence[int]
) -> Tensor:
    """Multiplies outputs (B, O, P, Q) by the adjoint of `convolve` and adds a bias; returns images (B, C, H, W)."""
    batch, out, *outputs = y.shape
    channels = weight.shape[1] * groups
    phases = phases_of(geometry, tuple(size), tuple(outputs))
    x = y.new_empty((batch, channels, *size)) if phases.covers_image else y.new_zeros((batch, channels, *size))
    stacked, step = _tile_sizes(phases, y, out, channels)
    stacked = stacked if len(phases.slices) == 1 else 1
    # Shifts are negative here: the last kernel position comes first and has offset 0.
    matrices = _stack_kernels(_kernels(weight, groups).mT.flip(0), stacked, step)
    offsets = [(phase, phases.max_offset - offset) for phase, offset in reversed(phases.offsets)]
    # Zero before the first window and between the rows of windows.
    padded = y.new_zeros((step, out, phases.max_offset + phases.size))
    buffer = x if phases.is_image else y.new_empty((step, channels, phases.size))
    for start in range(0, batch, step):
        x_tile = x[start : start + step]
        count = len(x_tile)
        phases.windows(padded[:count], phases.max_offset).copy_(y[start : start + step])
        grouped = padded[:count].view(count * groups, out // groups, -1)
        flat = x_tile if phases.is_image else buffer[:count]
        total = flat.view(count * groups, channels // groups, phases.size)
        for i, (in_phase, in_image) in enumerate(phases.slices):
            views = [grouped.narrow(2, offset, phases.size) for phase, offset in offsets if phase == i]
            factors = [m for m, (phase, _) in zip(matrices, offsets[::stacked], strict=True) if phase == i]
            _sum_products(total, factors, _stack_views(views, phases, stacked))
            if not phases.is_image:
                x_tile[in_image] = total.view(count, channels, *phases.grid)[in_phase]
        if bias is not None:
            x_tile.add_(per_channel(bias, x_tile))
    return x


def correlate(y: Tensor, x: Tensor, geometry: Geometry, groups: int) -> Tensor:
    """Correlates outputs (B, O, P, Q) with images (B, C, H, W); returns a weight (O, C/G, R, S)."""
    out, *outputs = y.shape[1:]
    channels = x.shape[1] // groups
    phases = phases_of(geometry, tuple(x.shape[2:]), tuple(outputs))
    stacked, step = _tile_sizes(phases, x, x.shape[1], out)
    products = geometry.positions // stacked
    dense = phases.length == math.prod(outputs) and (y.is_contiguous() or (groups == 1 and is_channels_last(y)))
    buffer = y if dense else _buffer_like(y, step, phases.length, groups).zero_()
    sides = out // groups, stacked * channels
    transposed = sides[0] > sides[1]  # a product with few columns is slower than its transpose
    total = y.new_zeros((products, step * groups, *sorted(sides)))
    for tile, views in shifted_views(x, phases, step, groups):
        y_tile = y[tile]
        flat = y_tile.flatten(2) if dense else buffer[: len(y_tile)]
        if not dense:
            phases.windows(flat).copy_(y_tile)
        grouped = flat if groups == 1 else flat.view(-1, out // groups, phases.length)
        for product, view in zip(total, _stack_views(views, phases, stacked), strict=True):
            product[: len(grouped)].baddbmm_(*((view, grouped.mT) if transposed else (grouped, view.mT)))
    total = total.view(products, step, groups, *sorted(sides)).sum(1)
    total = (total.mT if transposed else total).unflatten(3, (stacked, channels))
    return total.permute(1, 2, 4, 0, 3).reshape(out, channels, *geometry.kernel)


def _tile_sizes(phases: Phases, x: Tensor, channels: int, out: int) -> tuple[int, int]:
    """Returns how many kernel positions to stack, and how many images to process per tile.

    Both are as large as the cache allows: two threads wait for each other less in fewer and larger products. Stacks
    hold whole rows of the kernel.
    """
    limit = CACHE_BYTES // x.element_size()
    stacked = 1
    for kernel, _ in reversed(phases.shifts):
        if stacked * kernel * channels * phases.size > limit:
            break
        stacked *= kernel
    per_image = (max(stacked, len(phases.slices)) * channels + out) * phases.size
    return stacked, min(max(1, limit // per_image), max(1, len(x)))


def _kernels(weight: Tensor, groups: int) -> Tensor:
    """Views a weight (O, C/G, R, S) as one matrix per kernel position and group, (R·S, G, O/G, C/G)."""
    out, channels = weight.shape[:2]
    return weight.reshape(groups, out // groups, channels, -1).permute(3, 0, 1, 2)


def _stack_kernels(kernels: Tensor, stacked: int, images: int) -> Tensor:
    """Concatenates matrices (R·S, G, rows, columns) of stacked positions: (R·S/stacked, images·G, rows, …)."""
    positions, groups, rows, columns = kernels.shape
    stacks = kernels.reshape(positions // stacked, stacked, groups, rows, columns).permute(0, 2, 3, 1, 4)
    stacks = stacks.reshape(-1, 1, groups, rows, stacked * columns)
    return stacks.expand(-1, images, -1, -1, -1).reshape(len(stacks), -1, rows, stacked * columns)


def _stack_views(views: Sequence[Tensor], phases: Phases, stacked: int) -> Iterator[Tensor]:
    """Yields ``stacked`` views (b·G, C/G, n) at a time, concatenated along channels in a buffer that is reused."""
    if stacked == 1:
        yield from views
        return
    count, channels, length = views[0].shape
    buffer = views[0].new_empty((count, stacked, channels, length))
    shifts = [s for i, s in enumerate(phases.shifts) if math.prod(k for k, _ in phases.shifts[i:]) <= stacked]
    for i in range(0, len(views), stacked):
        if len(phases.slices) == 1:
            batch, channel, element = views[i].stride()
            stack = views[i].as_strided(
                (count, *(k for k, _ in shifts), channels, length),
                (batch, *(shift for _, shift in shifts), channel, element),
                views[i].storage_offset(),
            )
            buffer.view(stack.shape).copy_(stack)
        else:
            for j, view in enumerate(views[i : i + stacked]):
                buffer[:, j] = view
        yield buffer.view(count, stacked * channels, length)


def _buffer_like(y: Tensor, count: int, length: int, groups: int) -> Tensor:
    """Allocates (count, O, length), channels last if ``y`` is and there is one group."""
    return empty_images(y, count, y.shape[1], (length,), groups == 1 and is_channels_last(y))


def _sum_products(out: Tensor, matrices: Iterable[Tensor], views: Iterable[Tensor]) -> None:
    """Writes the sum of ``matrix @ view``, computed as its transpose if ``out`` is channels last."""
    transposed = out.stride(2) != 1
    total = out.mT if transposed else out
    for i, (matrix, view) in enumerate(zip(matrices, views, strict=True)):
        matrix = matrix[: len(out)]
        first, second = (view.mT, matrix.mT) if transposed else (matrix, view)
        if i:
            total.baddbmm_(first, second)
        else:
            torch.bmm(first, second, out=total)
