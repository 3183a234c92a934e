"""Convolution, ReLU and 2 × 2 max pooling in one pass over Winograd's tiles.

A pooling window is one tile of outputs. Each tile is rectified and pooled while it is in the cache, so the outputs of
the convolution are never stored: only the maximum of each window and its argmax, from 0 to 3 in row-major order. The
gradient of the outputs, which is zero except at the argmax positions, exists only chunk by chunk as well.

Outputs outside all windows, in a last odd row or column, are not computed. Pixels that only they see do not reach the
gradient of the weight, not even if they are infinite and the built-in gets NaN from infinity times their zero gradient.

Shapes: B images, C input and O output channels; P × Q windows, each of 2 × 2 outputs; in a chunk, p threads, each with
n images of h × w tiles, T = n·h·w.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from scratchnet.convolution.algorithms.winograd import filtering
from scratchnet.convolution.algorithms.winograd.chunks import Chunk, Scratch
from scratchnet.convolution.algorithms.winograd.pixels import Margins, Pixels
from scratchnet.convolution.algorithms.winograd.transforms import Plan, output_transform_columns
from scratchnet.layout import empty_images, is_channels_last
from scratchnet.windows import Geometry

__all__ = ["ArgmaxUpstream", "convolve", "gradients", "worthwhile"]

TILES = Geometry((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1))


def worthwhile(x: Tensor, weight: Tensor, geometry: Geometry, groups: int, windows: Geometry) -> bool:
    """Returns whether the pooling windows are tiles and Winograd's algorithm is worthwhile."""
    channels, out = x.shape[1], len(weight)
    return windows == TILES and filtering.worthwhile(x, channels, out, geometry, groups)


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, margins: Margins, size: Sequence[int], channels_last: bool
) -> tuple[Tensor, Tensor] | None:
    """Convolves, rectifies and pools images (B, C, H, W).

    Returns:
        The maximum and argmax of each window, both (B, O, P, Q), or None if an output is not finite. The maximum is
        channels last if ``channels_last``, the argmax always.
    """
    batch, out, windows, scratch = len(x), len(weight), [n // 2 for n in size], Scratch(weight)
    y = empty_images(x, batch, out, windows, channels_last)
    argmax = empty_images(x, batch, out, windows, True, dtype=torch.uint8)
    y_pixels, argmax_pixels = y.movedim(1, -1), argmax.movedim(1, -1)
    total = x.new_zeros(())
    covered = [2 * n for n in windows]
    for chunk, rows in filtering.row_transformed_outputs(Pixels(x, margins), weight, bias, covered, scratch):
        left, right = rows[:, :, 0], rows[:, :, 1]
        output_transform_columns(rows, left, right)
        total += rows[:, :, :2].sum()
        # The argmax of each row of a tile, and the row of the maximum, as uint8.
        column = torch.gt(right, left).view(torch.uint8)
        top, bottom = torch.maximum(left, right, out=left).unbind(1)
        row = torch.gt(bottom, top).view(torch.uint8)
        out_argmax = chunk.by_thread(argmax_pixels[:, chunk.rows])
        torch.maximum(column[:, 0], column[:, 1].add_(2).mul_(row), out=out_argmax)
        chunk.by_thread(y_pixels[:, chunk.rows]).copy_(torch.maximum(top, bottom, out=top).clamp_(min=0))
    return (y, argmax) if bool(total.isfinite()) else None


def gradients(
    grad: Tensor, argmax: Tensor, x: Tensor, weight: Tensor, needs: Sequence[bool], margins: Margins
) -> tuple[Tensor | None, Tensor | None] | None:
    """Returns the gradients of images and weight, where needed; None if one is not finite."""
    channels_last = is_channels_last(x) or is_channels_last(weight)
    grads = filtering.gradients(ArgmaxUpstream(grad, argmax), x, weight, needs, margins, channels_last)
    return None if any(need and one is None for need, one in zip(needs, grads, strict=False)) else grads


class ArgmaxUpstream:
    """The gradient of the convolution's outputs, stored as the gradient and argmax of each window.

    Implements `scratchnet.convolution.algorithms.winograd.filtering.Upstream`.
    """

    def __init__(self, grad: Tensor, argmax: Tensor) -> None:
        self._grad, self._argmax = grad.movedim(1, -1), argmax.movedim(1, -1)
        self.channels = grad.shape[1]

    def __len__(self) -> int:
        return len(self._grad)

    @property
    def size(self) -> Sequence[int]:
        """The size of the outputs that windows cover."""
        return [2 * n for n in self._grad.shape[1:3]]

    def transform(self, chunk: Chunk, scratch: Scratch) -> Tensor:
        plan = scratch.plan(_transform, *chunk.shape, self.channels)
        grad, argmax = plan.source.unbind(1)
        grad.copy_(chunk.by_thread(self._grad[:, chunk.rows]))
        argmax.copy_(chunk.by_thread(self._argmax[:, chunk.rows]))
        return plan.run()


def _transform(scratch: Scratch, p: int, n: int, h: int, w: int, channels: int) -> Plan:
    """Plans `output_transform_adjoint` of tiles with one nonzero element each.

    The source, (p, 2, n, h, w, O), holds gradient and argmax; the result is (p·16, T, O).
    """
    rows = scratch("argmax rows", p, 5, n, h, w, channels)
    upper, grad, difference, lower, argmax = rows.unbind(1)
    is_lower = scratch("is lower", p, n, h, w, channels)
    both = scratch("transformed upstream", p, 4, 4, n, h, w, channels)
    left, either, across, right = both.unbind(2)
    steps = [
        partial(torch.ge, argmax, 2, out=is_lower),
        partial(argmax.sub_, is_lower, alpha=2),  # the column within the tile
        partial(torch.mul, grad, is_lower, out=lower),
        partial(torch.sub, grad, lower, out=upper),
        partial(torch.sub, upper, lower, out=difference),
        partial(either.copy_, rows[:, :4]),
        partial(torch.mul, rows[:, :4], argmax.unsqueeze(1), out=right),
        partial(torch.sub, rows[:, :4], right, out=left),
        partial(torch.sub, left, right, out=across),
    ]
    return Plan(rows[:, 1::3], both.view(p * 16, -1, channels), steps)
