r"""Depthwise convolution: one kernel per channel, and no sum over channels.

.. math::
    y_{c, p, q} = b_c + \sum_{r, s} w_{c, r, s} \, x_{c,\; p + r,\; q + s}

There is no matrix product: at each kernel position, one number per channel multiplies a shifted view of the images (see
`scratchnet.convolution.algorithms.polyphase`). The gradient of the images adds the same multiples with negative shifts;
the gradient of the weight is the sum of upstream times view.

Small images and narrow ones take products of matrices instead (`scratchnet.convolution.algorithms.toeplitz` and
`scratchnet.convolution.algorithms.toeplitz_rows`), unless a result is not finite.

Phases keep the memory format of the images, but are in channels-last format if images have more channels than pixels,
since each operation runs along the innermost dimension. Images are processed in tiles that stay in the cache.

Shapes: B images, C channels, H × W pixels, R × S kernel, P × Q outputs; b images per tile, n elements of a view.

Source: F. Chollet, "Xception: Deep learning with depthwise separable convolutions", 2017.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from scratchnet.convolution.algorithms import toeplitz, toeplitz_rows
from scratchnet.convolution.algorithms.polyphase import Phases, per_channel, phases_of, shifted_views
from scratchnet.layout import empty_images, is_channels_last
from scratchnet.windows import Geometry

__all__ = ["applies", "backward_input", "convolve", "correlate"]

TILE_BYTES = 1 << 22


def applies(channels: int, out: int, groups: int) -> bool:
    """Returns whether each of several input channels has one output channel of its own."""
    return 1 < groups == channels == out


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, outputs: Sequence[int], channels_last: bool
) -> Tensor:
    """Convolves images (B, C, H, W) with a weight (C, 1, R, S) and adds a bias; returns (B, C, P, Q)."""
    channels = x.shape[1]
    result = None
    if toeplitz.worthwhile(x, geometry, x.shape[2:], outputs):
        result = toeplitz.convolve(x, weight, bias, geometry, outputs, channels_last)
    elif toeplitz_rows.worthwhile(x, 1, 1, geometry, x.shape[2:], outputs):
        result = toeplitz_rows.convolve(x, weight, bias, geometry, channels, outputs, channels_last)
    if result is not None:
        return result
    phases = phases_of(geometry, tuple(x.shape[2:]), tuple(outputs))
    step = _images_per_tile(x, phases)
    y = empty_images(x, len(x), channels, outputs, channels_last)
    inner = channels_last or _has_more_channels(x)
    buffer = empty_images(x, step, channels, (phases.length,), inner)
    factors = _factors(weight)
    for tile, views in shifted_views(x, phases, step, 1, inner):
        y_tile = y[tile]
        flat = buffer[: len(y_tile)]
        _sum_multiples(flat, factors, views)
        y_tile.copy_(phases.windows(flat))
        if bias is not None:
            y_tile.add_(per_channel(bias, y_tile))
    return y


def backward_input(
    y: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, size: Sequence[int], channels_last: bool
) -> Tensor:
    """Multiplies outputs (B, C, P, Q) by the adjoint of `convolve` and adds a bias; returns images (B, C, H, W)."""
    channels = y.shape[1]
    result = None
    if toeplitz.worthwhile(y, geometry, size, y.shape[2:]):
        result = toeplitz.backward_input(y, weight, bias, geometry, size, channels_last)
    elif toeplitz_rows.worthwhile(y, 1, 1, geometry, size, y.shape[2:]):
        result = toeplitz_rows.backward_input(y, weight, bias, geometry, channels, size, channels_last)
    if result is not None:
        return result
    phases = phases_of(geometry, tuple(size), tuple(y.shape[2:]))
    step = _images_per_tile(y, phases)
    x = empty_images(y, len(y), channels, size, channels_last)
    if not phases.covers_image:
        x.zero_()
    inner = channels_last or _has_more_channels(y)
    padded = empty_images(y, step, channels, (phases.max_offset + phases.size,), inner).zero_()
    buffer = empty_images(y, step, channels, (phases.size,), inner)
    factors = _factors(weight)
    for start in range(0, len(y), step):
        x_tile = x[start : start + step]
        upstream, flat = padded[: len(x_tile)], buffer[: len(x_tile)]
        phases.windows(upstream, phases.max_offset).copy_(y[start : start + step])
        for i, (in_phase, in_image) in enumerate(phases.slices):
            here = [(f, offset) for f, (phase, offset) in zip(factors, phases.offsets, strict=True) if phase == i]
            views = (upstream.narrow(2, phases.max_offset - offset, phases.size) for _, offset in here)
            _sum_multiples(flat, [factor for factor, _ in here], views)
            x_tile[in_image] = flat.unflatten(2, phases.grid)[in_phase]
        if bias is not None:
            x_tile.add_(per_channel(bias, x_tile))
    return x


def correlate(y: Tensor, x: Tensor, geometry: Geometry) -> Tensor:
    """Correlates outputs (B, C, P, Q) with images (B, C, H, W); returns a weight (C, 1, R, S)."""
    channels_last, channels = is_channels_last(x) or _has_more_channels(x), x.shape[1]
    result = None
    if toeplitz.worthwhile(x, geometry, x.shape[2:], y.shape[2:]):
        result = toeplitz.correlate(y, x, geometry)
    elif toeplitz_rows.worthwhile(x, 1, 1, geometry, x.shape[2:], y.shape[2:]):
        result = toeplitz_rows.correlate(y, x, geometry, channels)
    if result is not None:
        return result
    phases = phases_of(geometry, tuple(x.shape[2:]), tuple(y.shape[2:]))
    step = _images_per_tile(x, phases)
    padded = empty_images(x, step, channels, (phases.length,), channels_last).zero_()
    products, total = torch.empty_like(padded), x.new_zeros((geometry.positions, channels))
    for tile, views in shifted_views(x, phases, step, 1, channels_last):
        y_tile = y[tile]
        upstream, product = padded[: len(y_tile)], products[: len(y_tile)]
        phases.windows(upstream).copy_(y_tile)
        for weight, view in zip(total, views, strict=True):
            weight.add_(torch.mul(upstream, view, out=product).sum((0, 2)))
    return total.t().reshape(channels, 1, *geometry.kernel)


def _sum_multiples(out: Tensor, factors: Iterable[Tensor], views: Iterable[Tensor]) -> None:
    """Writes the sum of ``factor * view`` over factors (C, 1) and views (b, C, n)."""
    for i, (factor, view) in enumerate(zip(factors, views, strict=True)):
        if i:
            out.addcmul_(factor, view)
        else:
            torch.mul(factor, view, out=out)


def _factors(weight: Tensor) -> Tensor:
    """Returns a weight (C, 1, R, S) as one column per kernel position, (R·S, C, 1)."""
    return weight.flatten(1).t().contiguous().unsqueeze(2)


def _has_more_channels(x: Tensor) -> bool:
    """Returns whether images have more channels than pixels."""
    return x.shape[1] > x.shape[2:].numel()


def _images_per_tile(x: Tensor, phases: Phases) -> int:
    elements = (len(phases.slices) + 1) * x.shape[1] * phases.size
    return max(1, min(len(x), TILE_BYTES // (elements * x.element_size())))
