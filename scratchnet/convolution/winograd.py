r"""Convolution with kernels of 3 × 3 by Winograd's minimal filtering, which takes 16 products in place of 36.

Two neighbouring outputs of a kernel of three see four numbers, and are made of four products in place of six:

.. math::
    y_0 = m_0 + m_1 + m_2, \quad y_1 = m_1 - m_2 - m_3 \qquad \text{with} \quad m = (B^\top d) \odot (G w)

.. math::
    B^\top d = (d_0 - d_2,\; d_1 + d_2,\; d_2 - d_1,\; d_1 - d_3) \qquad
    G w = \left(w_0,\; \tfrac{w_0 + w_1 + w_2}{2},\; \tfrac{w_0 - w_1 + w_2}{2},\; w_2\right)

Along both dimensions, tiles of 4 × 4 numbers give 2 × 2 outputs, and with a sum over channels the 16 products of a
tile are those of 16 matrices. All of it is linear in the image and in the weight, so with the outputs as A m the
gradient in the weight goes back through the transposes, from :math:`A^\top \bar y`, which along one dimension is
:math:`(\bar y_0,\; \bar y_0 + \bar y_1,\; \bar y_0 - \bar y_1,\; -\bar y_1)`:

.. math::
    Y = A \, [\, (B^\top X) \, (G W) \,] \qquad \bar W = G^\top [\, (B^\top X)^\top (A^\top \bar Y) \,]

The gradient in the image is the convolution of the padded upstream with the turned kernel.

A few images, or a few rows of tiles of one, are under way at a time, so that they stay in the cache. Errors are of the
size of the plain product's, but an infinity spreads over its tile as NaN: what is not finite in the end is left to the
plain products.

Shapes: B images, C input and O output channels, H × W pixels, P × Q outputs; in a block, T tiles, of n images in h
rows and w columns.

Source: A. Lavin and S. Gray, "Fast algorithms for convolutional neural networks", 2016; after S. Winograd, "Arithmetic
complexity of computations", 1980.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.convolution.tiles import Margins, Pixels, Scratch, blocks_of
from scratchnet.function import readable
from scratchnet.windows import Geometry

__all__ = ["convolve", "correlate", "pays", "spread"]

LEAST_CHANNELS = 16
LEAST_PRODUCTS = 1 << 20

NO_MARGIN = ((0, 0), (0, 0))
G = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]])


def pays(images: Tensor, channels: int, out: int, geometry: Geometry, groups: int) -> bool:
    """Whether the products of a convolution can be made this way, and are large enough to gain by it.

    On a CPU, where whether all is finite can be asked without waiting.
    """
    once = geometry.kernel == (3, 3) and geometry.stride == geometry.dilation == (1, 1) and groups == 1
    if not once or max(map(max, geometry.padding)) > 2 or min(channels, out) < LEAST_CHANNELS:
        return False
    return readable(images) and images[:, 0].numel() * channels * out >= LEAST_PRODUCTS


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, outputs: Sequence[int], last: bool
) -> Tensor | None:
    """Of images ``(B, C, H, W)`` and a weight ``(O, C, 3, 3)``, the outputs ``(B, O, P, Q)``; None if not finite.

    Where channels are to be ``last``, they are so in memory.
    """
    return _filtered(x, weight, bias, geometry.padding, outputs, last)


def spread(
    y: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, size: Sequence[int], last: bool
) -> Tensor | None:
    """Of outputs ``(B, O, P, Q)`` and a weight ``(O, C, 3, 3)``, images ``(B, C, H, W)``; None if not finite."""
    margins = [(2 - before, 2 - after) for before, after in geometry.padding]
    return _filtered(y, weight.transpose(0, 1).flip(2, 3), bias, margins, size, last)


def correlate(y: Tensor, x: Tensor, geometry: Geometry) -> Tensor | None:
    """Of outputs ``(B, O, P, Q)`` and images ``(B, C, H, W)``, a weight ``(O, C, 3, 3)``; None if not finite."""
    (batch, out, *outputs), channels = y.shape, x.shape[1]
    total, scratch = x.new_zeros((16, channels, out)), Scratch(x)
    images, upstream = Pixels(x, geometry.padding), Pixels(y, NO_MARGIN)
    for block in blocks_of(batch, outputs, 16 * (channels + out) * x.element_size()):
        seen = _differences(images.read(block, scratch, overlap=1), scratch)
        total.baddbmm_(seen.mT, _sums(upstream.read(block, scratch, overlap=0), scratch))
    grad = (_kernel_to_tile(x).t() @ total.flatten(1)).view(3, 3, channels, out)
    return grad.permute(3, 2, 0, 1).contiguous() if bool(grad.sum().isfinite()) else None


def _filtered(
    x: Tensor, weight: Tensor, bias: Tensor | None, margins: Margins, outputs: Sequence[int], last: bool
) -> Tensor | None:
    """The outputs of images within such margins."""
    (batch, channels), out = x.shape[:2], len(weight)
    kernels = (_kernel_to_tile(x) @ weight.permute(2, 3, 1, 0).reshape(9, -1)).view(16, channels, out)
    images, scratch = Pixels(x, margins), Scratch(x)
    y = x.new_empty((batch, *outputs, out)) if last else x.new_empty((batch, out, *outputs)).movedim(1, -1)
    total = x.new_zeros(())
    for block in blocks_of(batch, outputs, 16 * (channels + out) * x.element_size()):
        products = scratch("products", 16, block.tiles, out)
        torch.bmm(_differences(images.read(block, scratch, overlap=1), scratch), kernels, out=products)
        if bias is not None:
            products[5].add_(bias)  # of m₁ along both dimensions, which all outputs of a tile contain once
        part = y[block.images, block.pixels]
        made = part if last else scratch("outputs", *part.shape)
        _write_outputs(products.view(4, 4, *block.shape, out), made)
        total += made.sum()
        if not last:
            part.copy_(made)
    return y.movedim(-1, 1) if bool(total.isfinite()) else None


def _kernel_to_tile(like: Tensor) -> Tensor:
    """G along both dimensions: the matrix that makes 16 numbers of the 9 of a kernel."""
    return torch.kron(G, G).to(like)


def _differences(pixels: Tensor, scratch: Scratch) -> Tensor:
    """Bᵀ along rows and columns, of pixels ``(n, h + 1, 2, 2, w + 1, C)``: ``(16, T, C)``."""
    n, h, _, _, w, channels = pixels.shape
    along_rows = scratch("along rows", 4, n, h - 1, 2, w, channels)
    _subtract(pixels[:, :, 0], pixels[:, :, 1], 1, along_rows)
    both = scratch("differences", 4, 4, n, h - 1, w - 1, channels)
    _subtract(along_rows[:, :, :, 0], along_rows[:, :, :, 1], 3, both.transpose(0, 1))
    return both.view(16, -1, channels)


def _subtract(even: Tensor, odd: Tensor, dim: int, to: Tensor) -> None:
    """(d₀ - d₂, d₁ + d₂, d₂ - d₁, d₁ - d₃), where d₂ and d₃ are the next tile's d₀ and d₁."""
    count = even.shape[dim] - 1
    d0, d2 = even.narrow(dim, 0, count), even.narrow(dim, 1, count)
    d1, d3 = odd.narrow(dim, 0, count), odd.narrow(dim, 1, count)
    torch.sub(d0, d2, out=to[0])
    torch.add(d1, d2, out=to[1])
    torch.sub(d2, d1, out=to[2])
    torch.sub(d1, d3, out=to[3])


def _sums(pixels: Tensor, scratch: Scratch) -> Tensor:
    """Aᵀ along rows and columns, of upstream pixels ``(n, h, 2, 2, w, O)``: ``(16, T, O)``."""
    n, h, _, _, w, out = pixels.shape
    along_rows = scratch("upstream along rows", 4, n, h, 2, w, out)
    _add(pixels[:, :, 0], pixels[:, :, 1], along_rows)
    both = scratch("sums", 4, 4, n, h, w, out)
    _add(along_rows[:, :, :, 0], along_rows[:, :, :, 1], both.transpose(0, 1))
    return both.view(16, -1, out)


def _add(even: Tensor, odd: Tensor, to: Tensor) -> None:
    """(y₀, y₀ + y₁, y₀ - y₁, -y₁)."""
    to[0].copy_(even)
    torch.add(even, odd, out=to[1])
    torch.sub(even, odd, out=to[2])
    torch.neg(odd, out=to[3])


def _write_outputs(m: Tensor, y: Tensor) -> None:
    """A along rows and columns, of products ``(4, 4, n, h, w, O)``, which are used up: ``(n, 2h, 2w, O)`` or less."""
    m[0].add_(m[1]).add_(m[2])
    m[1].sub_(m[2]).sub_(m[3])
    for row in (0, 1):
        m0, m1, m2, m3 = m[row]
        for column, first, second, write in ((0, m0.add_(m1), m2, torch.add), (1, m1.sub_(m2), m3, torch.sub)):
            to = y[:, row::2, column::2]
            here = (slice(None), slice(to.shape[1]), slice(to.shape[2]))
            write(first[here], second[here], out=to)
