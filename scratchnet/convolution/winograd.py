r"""Convolution with kernels of three rows by Winograd's minimal filtering along the rows.

Instead of each output, h outputs below each other are made at a time, by `scratchnet.convolution.minimal_filter`. What
sums over columns and channels is left as it was: a matrix product for each of h + 2 points. All of it is linear in the
image and in the weight, so the gradient in the weight goes back through the transposes of the filter's matrices:

.. math::
    Y = A^\top [\, (B^\top X) \, (G W) \,] \qquad \bar W = G^\top [\, (B^\top X)^\top (A \bar Y) \,]

The gradient in the image is the convolution of the padded upstream with the turned kernel.

What errs is the sum over channels, by the filter's largest numbers more than a plain one. Four rows at a time, which
takes half of the products, are as exact as the built-in's outputs and weight gradients are where the points are 3/4
and 3/2; at the usual 1 and 2 they are half as exact. The built-in's gradients in images err less, by their order of
summation, and so do ours two rows at a time, at two thirds of the products. An infinity spreads over its strip as NaN:
what is not finite in the end is left to the plain products.

Shapes: B images, C input and O output channels, H × W pixels, P × Q outputs, 3 × S kernel; in a block, n images of s
strips of h rows.

Sources: A. Lavin and S. Gray, "Fast algorithms for convolutional neural networks", 2016; for the choice of points, B.
Barabasz et al., "Error analysis and improving the accuracy of Winograd convolution for deep neural networks", 2020.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from scratchnet.convolution.minimal_filter import MinimalFilter
from scratchnet.convolution.strips import Block, Margins, Rows, Scratch, blocks_of
from scratchnet.function import readable
from scratchnet.windows import Geometry

__all__ = ["convolve", "correlate", "pays", "spread"]

LEAST_CHANNELS = 16
LEAST_PRODUCTS = 1 << 20

TWO_ROWS = MinimalFilter(1)
FOUR_ROWS = MinimalFilter(3 / 4, 3 / 2)


def pays(images: Tensor, channels: int, out: int, geometry: Geometry, groups: int) -> bool:
    """Whether the products of a convolution can be made this way, and are large enough to gain by it.

    On a CPU, where whether all is finite can be asked without waiting, and in a dtype that has digits to spare.
    """
    once = geometry.kernel == (3, 3) and geometry.stride == geometry.dilation == (1, 1) and groups == 1
    if not once or max(map(max, geometry.padding)) > 2 or min(channels, out) < LEAST_CHANNELS:
        return False
    if images.dtype not in (torch.float32, torch.float64) or not readable(images):
        return False
    return images[:, 0].numel() * channels * out >= LEAST_PRODUCTS


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, outputs: Sequence[int], last: bool
) -> Tensor | None:
    """Of images ``(B, C, H, W)`` and a weight ``(O, C, 3, S)``, the outputs ``(B, O, P, Q)``; None if not finite.

    Where channels are to be ``last``, they are so in memory.
    """
    return _filtered(x, weight, bias, geometry.padding, outputs, last, FOUR_ROWS)


def spread(
    y: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, size: Sequence[int], last: bool
) -> Tensor | None:
    """Of outputs ``(B, O, P, Q)`` and a weight ``(O, C, 3, S)``, images ``(B, C, H, W)``; None if not finite."""
    margins = [
        (k - 1 - before, k - 1 - after)
        for k, (before, after) in zip(geometry.kernel, geometry.padding, strict=True)
    ]
    return _filtered(y, weight.transpose(0, 1).flip(2, 3), bias, margins, size, last, TWO_ROWS)


def correlate(y: Tensor, x: Tensor, geometry: Geometry) -> Tensor | None:
    """Of outputs ``(B, O, P, Q)`` and images ``(B, C, H, W)``, a weight ``(O, C, 3, S)``; None if not finite."""
    (batch, out, *outputs), channels, columns = y.shape, x.shape[1], geometry.kernel[1]
    rows, scratch = FOUR_ROWS, Scratch(x)
    images = Rows(x, geometry.padding)
    upstream = Rows(y, ((0, 0), (0, images.width - outputs[1])))  # what sees past the end of a row adds nothing
    total = x.new_zeros((rows.points, columns * channels, out))
    for block in _blocks(rows, batch, outputs, images, channels + out):
        lines = _lines_of_images(rows, images, block, columns, scratch)
        seen = upstream.read(block, scratch, "upstream", beyond=0)
        grads, by_strip = _lines(rows, block, columns, seen, "gradients", scratch)
        rows.write_gradients([seen[:, i :: rows.height] for i in range(rows.height)], by_strip, scratch)
        for grad_u, line, grad in zip(total, lines, grads, strict=True):
            for windows, of_windows in zip(
                _windows(line, columns), grad[:-columns].view(-1, columns, out).unbind(1), strict=True
            ):
                grad_u.addmm_(windows.t(), of_windows)
    grad = (rows.kernel_to_points().to(x).t() @ total.flatten(1)).view(3, columns, channels, out)
    return grad.permute(3, 2, 0, 1).contiguous() if bool(grad.sum().isfinite()) else None


def _filtered(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    margins: Margins,
    outputs: Sequence[int],
    last: bool,
    rows: MinimalFilter,
) -> Tensor | None:
    """The outputs of images within such margins, so many rows at a time."""
    (batch, channels), (out, *_, columns) = x.shape[:2], weight.shape
    at_points = rows.kernel_to_points().to(x) @ weight.permute(2, 3, 1, 0).reshape(3, -1)
    kernels = at_points.view(rows.points, columns * channels, out)
    images, scratch = Rows(x, margins), Scratch(x)
    y = x.new_empty((batch, *outputs, out)) if last else x.new_empty((batch, out, *outputs)).movedim(1, -1)
    total = x.new_zeros(())
    for block in _blocks(rows, batch, outputs, images, channels + out):
        lines = _lines_of_images(rows, images, block, columns, scratch)
        products = scratch("products", rows.points, lines.shape[1] // columns - 1, columns, out)
        for line, kernel, product in zip(lines, kernels, products, strict=True):
            for windows, to in zip(_windows(line, columns), product.unbind(1), strict=True):
                torch.mm(windows, kernel, out=to)
        part = y[block.images, block.rows]
        made = part if last else scratch("outputs", *part.shape)
        m = _by_strip(products.flatten(1, 2), block, images.width)[..., : outputs[1], :]
        rows.write_outputs(m, [made[:, i :: rows.height] for i in range(rows.height)], scratch)
        if bias is not None:
            made.add_(bias)
        total += made.sum()
        if not last:
            part.copy_(made)
    return y.movedim(-1, 1) if bool(total.isfinite()) else None


def _blocks(
    rows: MinimalFilter, batch: int, outputs: Sequence[int], images: Rows, channels: int
) -> Iterator[Block]:
    """Blocks of strips, with so many channels in and out, at all points."""
    return blocks_of(batch, outputs[0], rows.height, rows.points * images.width * channels * images.bytes)


def _lines_of_images(rows: MinimalFilter, images: Rows, block: Block, columns: int, scratch: Scratch) -> Tensor:
    """What the rows of a block are at each point, as a line ``(h + 2, l, C)``."""
    seen = images.read(block, scratch, "rows", beyond=2)
    lines, by_strip = _lines(rows, block, columns, seen, "images", scratch)
    last = seen.shape[1] - rows.points + 1
    rows.write_points([seen[:, i : i + last : rows.height] for i in range(rows.points)], by_strip, scratch)
    return lines


def _lines(
    rows: MinimalFilter, block: Block, columns: int, seen: Tensor, name: str, scratch: Scratch
) -> tuple[Tensor, Tensor]:
    """Room for a line of a block's positions at each point, ``(h + 2, l, C)``, and the same by strip and column.

    They are whole groups of S, one more than there is anything in, and zero where nothing is.
    """
    width, channels = seen.shape[2:]
    positions = math.prod(block.shape) * width
    lines = scratch(name, rows.points, (-(-positions // columns) + 1) * columns, channels)
    lines[:, positions:] = 0
    return lines, _by_strip(lines, block, width)


def _by_strip(lines: Tensor, block: Block, width: int) -> Tensor:
    """Lines by image, strip and column: ``(h + 2, n, s, W, C)``."""
    return lines[:, : math.prod(block.shape) * width].unflatten(1, (*block.shape, width))


def _windows(line: Tensor, columns: int) -> Iterator[Tensor]:
    """What windows of so many columns see of a line ``(l, C)``: S matrices of S·C columns, each of every S-th window.

    A window overlaps with the next, as rows of a matrix cannot; with the S-th from it, it does not.
    """
    for first in range(columns):
        yield line[first : first + len(line) - columns].view(-1, columns * line.shape[1])
