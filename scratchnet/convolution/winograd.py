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

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from scratchnet.convolution.tiles import Block, Images, Margins, Scratch, blocks_of
from scratchnet.function import readable
from scratchnet.windows import Geometry

__all__ = ["convolve", "correlate", "outputs_of", "pays", "products_of", "spread"]

LEAST_CHANNELS = 16
LEAST_PRODUCTS = 1 << 20

NO_MARGIN = ((0, 0), (0, 0))
G = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]])
SIGNED = G * torch.tensor([[1.0], [1.0], [1.0], [-1.0]])  # with the sign of Aᵀ, which sums are made without


def pays(images: Tensor, channels: int, out: int, geometry: Geometry, groups: int) -> bool:
    """Whether the products of a convolution can be made this way, and are large enough to gain by it.

    On a CPU, where whether all is finite can be asked without waiting.
    """
    once = geometry.kernel == (3, 3) and geometry.stride == geometry.dilation == (1, 1) and groups == 1
    if not once or max(map(max, geometry.padding)) > 2 or min(channels, out) < LEAST_CHANNELS:
        return False
    return readable(images) and images[:, 0].numel() * channels * out >= LEAST_PRODUCTS


def convolve(
    x: Images, weight: Tensor, bias: Tensor | None, margins: Margins, outputs: Sequence[int], last: bool
) -> Tensor | None:
    """Of images ``(B, C, H, W)`` and a weight ``(O, C, 3, 3)``, the outputs ``(B, O, P, Q)``; None if not finite.

    Where channels are to be ``last``, they are so in memory.
    """
    batch, out, scratch = len(x), len(weight), Scratch(weight)
    y = weight.new_empty((batch, *outputs, out) if last else (batch, out, *outputs))
    y = y if last else y.movedim(1, -1)
    direct = last and not any(n % 2 for n in outputs)
    total = weight.new_zeros(())
    for block, products in products_of(x, weight, bias, margins, outputs, scratch):
        n, h, w = block.shape
        part, shape = y[block.images, block.pixels], (n, h, 2, w, 2, out)
        made = part.view(shape) if direct else scratch("outputs", *shape)
        for column, (write, first, second) in enumerate(outputs_of(products)):
            write(first, second, out=made[:, :, :, :, column].movedim(2, 0))
        total += made.sum()
        if not direct:
            part.copy_(made.view(n, 2 * h, 2 * w, out)[:, : part.shape[1], : part.shape[2]])
    return y.movedim(-1, 1) if bool(total.isfinite()) else None


def spread(
    y: Images, weight: Tensor, bias: Tensor | None, margins: Margins, size: Sequence[int], last: bool
) -> Tensor | None:
    """Of outputs ``(B, O, P, Q)`` and a weight ``(O, C, 3, 3)``, images ``(B, C, H, W)``; None if not finite."""
    around = [(2 - before, 2 - after) for before, after in margins]
    return convolve(y, weight.transpose(0, 1).flip(2, 3), bias, around, size, last)


def correlate(y: Images, x: Images, margins: Margins, outputs: Sequence[int], like: Tensor) -> Tensor | None:
    """Of outputs ``(B, O, P, Q)`` and images ``(B, C, H, W)``, a weight ``(O, C, 3, 3)``; None if not finite."""
    channels, out, scratch = x.channels, y.channels, Scratch(like)
    total = like.new_zeros((16, channels, out))
    for block in blocks_of(len(x), outputs, 16 * (channels + out) * like.element_size()):
        seen = _differences(x.read(block, margins, 1, scratch), scratch)
        total.baddbmm_(seen.mT, _sums(y.read(block, NO_MARGIN, 0, scratch), scratch))
    grad = (_kernel_to_tile(SIGNED, like).t() @ total.flatten(1)).view(3, 3, channels, out)
    return grad.permute(3, 2, 0, 1).contiguous() if bool(grad.sum().isfinite()) else None


def products_of(
    x: Images, weight: Tensor, bias: Tensor | None, margins: Margins, outputs: Sequence[int], scratch: Scratch
) -> Iterator[tuple[Block, Tensor]]:
    """Block by block the products of the tiles of a convolution's outputs, ``(4, 4, n, h, w, O)``."""
    out, channels = weight.shape[:2]
    kernels = (_kernel_to_tile(G, weight) @ weight.permute(2, 3, 1, 0).reshape(9, -1)).view(16, channels, out)
    for block in blocks_of(len(x), outputs, 16 * (channels + out) * weight.element_size()):
        products = scratch("products", 16, block.tiles, out)
        torch.bmm(_differences(x.read(block, margins, 1, scratch), scratch), kernels, out=products)
        if bias is not None:
            products[5].add_(bias)  # of m₁ along both dimensions, which all outputs of a tile contain once
        yield block, products.view(4, 4, *block.shape, out)


def outputs_of(m: Tensor) -> Iterator[tuple[Callable[..., Tensor], Tensor, Tensor]]:
    """A along rows and columns, of products ``(4, 4, n, h, w, O)``, which are used up.

    For each column of a tile in turn the last sum or difference, ``(2, n, h, w, O)`` for both rows, for the caller to
    take where it wants it.
    """
    m[0].add_(m[1]).add_(m[2])
    m[1].sub_(m[2]).sub_(m[3])
    m0, m1, m2, m3 = m[:2].unbind(1)
    yield torch.add, m0.add_(m1), m2
    yield torch.sub, m1.sub_(m2), m3


def _kernel_to_tile(g: Tensor, like: Tensor) -> Tensor:
    """G along both dimensions: the matrix that makes 16 numbers of the 9 of a kernel."""
    return torch.kron(g, g).to(like)


def _differences(pixels: Tensor, scratch: Scratch) -> Tensor:
    """Bᵀ along rows and columns, of pixels ``(n, h + 1, 2, 2, w + 1, C)``: ``(16, T, C)``."""
    n, h, _, _, w, channels = pixels.shape
    along_rows = scratch("along rows", 4, n, h - 1, 2, w, channels)
    _subtract(pixels.movedim(2, 0), 2, along_rows)
    both = scratch("differences", 4, 4, n, h - 1, w - 1, channels)
    _subtract(along_rows.movedim(3, 0), 4, both.transpose(0, 1))
    return both.view(16, -1, channels)


def _subtract(pairs: Tensor, dim: int, to: Tensor) -> None:
    """(d₀ - d₂, d₁ + d₂, d₂ - d₁, d₁ - d₃), of pairs of which d₂ and d₃ are the next tile's d₀ and d₁."""
    count = pairs.shape[dim] - 1
    here, there = pairs.narrow(dim, 0, count), pairs.narrow(dim, 1, count)
    torch.sub(here, there, out=to[::3])
    torch.add(here[1], there[0], out=to[1])
    torch.sub(there[0], here[1], out=to[2])


def _sums(pixels: Tensor, scratch: Scratch) -> Tensor:
    """Aᵀ along rows and columns, of upstream pixels ``(n, h, 2, 2, w, O)``: ``(16, T, O)``; without its sign."""
    n, h, _, _, w, out = pixels.shape
    along_rows = scratch("upstream along rows", 4, n, h, 2, w, out)
    _add(pixels.movedim(2, 0), along_rows)
    both = scratch("sums", 4, 4, n, h, w, out)
    _add(along_rows.movedim(3, 0), both.transpose(0, 1))
    return both.view(16, -1, out)


def _add(pairs: Tensor, to: Tensor) -> None:
    """(y₀, y₀ + y₁, y₀ - y₁, y₁)."""
    to[::3].copy_(pairs)
    torch.add(pairs[0], pairs[1], out=to[1])
    torch.sub(pairs[0], pairs[1], out=to[2])
