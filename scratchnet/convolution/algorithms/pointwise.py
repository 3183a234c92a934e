r"""Convolution with a 1 × 1 kernel: the same linear map of the channels at every pixel.

.. math::
    Y = W X \qquad \bar X = W^\top \bar Y \qquad \bar W = \bar Y X^\top

with a row per channel and a column per pixel. A large image is a matrix of its own, which is not copied; small images
and those in channels-last format make one matrix together.

Shapes: B images, C input and O output channels, H × W pixels.

Source: M. Lin, Q. Chen and S. Yan, "Network in network", 2014.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.layout import as_rows
from scratchnet.windows import Geometry

__all__ = ["applies", "backward_input", "convolve", "correlate", "terms_per_sum"]

LEAST_PIXELS = 32  # products with fewer columns are slow
LEAST_TERMS = 64  # shorter sums would not be more accurate
MOST_SUMS = 8  # more products would read the weight's gradient too often


def applies(geometry: Geometry, groups: int, size: Sequence[int], outputs: Sequence[int]) -> bool:
    """Returns whether each window is one pixel and each pixel has one; output padding has none."""
    alone = geometry.positions == 1 and set(geometry.stride) == {1} and not geometry.pads and groups == 1
    return alone and tuple(size) == tuple(outputs)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, channels_last: bool) -> Tensor:
    """Convolves images (B, C, H, W) with a weight (O, C, 1, 1) and adds a bias; returns (B, O, H, W)."""
    matrix, size = weight.flatten(1), x.shape[2:]
    if channels_last or not _large(x):
        rows = as_rows(x)
        y = rows @ matrix.t() if bias is None else torch.addmm(bias, rows, matrix.t())
        y = y.view(-1, *size, len(matrix)).movedim(-1, 1)
        return y if channels_last else y.contiguous()
    matrix = matrix.expand(len(x), -1, -1)
    y = matrix @ x.flatten(2) if bias is None else torch.baddbmm(bias.unsqueeze(1), matrix, x.flatten(2))
    return y.view(*y.shape[:2], *size)


def backward_input(y: Tensor, weight: Tensor, bias: Tensor | None, channels_last: bool) -> Tensor:
    """Multiplies outputs (B, O, H, W) by the adjoint of `convolve` and adds a bias; returns images (B, C, H, W)."""
    return convolve(y, weight.transpose(0, 1), bias, channels_last)


def correlate(y: Tensor, x: Tensor) -> Tensor:
    """Correlates outputs (B, O, H, W) with images (B, C, H, W); returns a weight (O, C, 1, 1)."""
    if _large(y) and _large(x):
        weight = (y.flatten(2) @ x.flatten(2).mT).sum(0)
    else:
        weight = _sum_of_products(y.transpose(0, 1).flatten(1), as_rows(x))
    return weight.view(*weight.shape, *(1,) * (x.dim() - 2))


def terms_per_sum(count: int) -> int:
    """Returns how many terms to add at once; one long sum had up to five times the rounding error."""
    return max(LEAST_TERMS, -(-count // MOST_SUMS))


def _sum_of_products(left: Tensor, right: Tensor) -> Tensor:
    """Multiplies matrices, adding sums of fewer terms."""
    terms = terms_per_sum(len(right))
    pairs = zip(left.split(terms, 1), right.split(terms), strict=True)
    product = torch.mm(*next(pairs))
    for pair in pairs:
        product.addmm_(*pair)
    return product


def _large(x: Tensor) -> bool:
    """Returns whether contiguous images are large enough for a product of their own."""
    return x.stride(1) >= LEAST_PIXELS and x.is_contiguous()
