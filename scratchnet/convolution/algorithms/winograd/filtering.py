r"""Convolution with kernels of 3 × 3 by Winograd's minimal filtering, which takes 16 products in place of 36.

Two neighbouring outputs of a kernel of three see four numbers, and are made of four products in place of six:

.. math::
    y_0 = m_0 + m_1 + m_2, \quad y_1 = m_1 - m_2 - m_3 \qquad \text{with} \quad m = (B^\top d) \odot (G w)

.. math::
    B^\top d = (d_0 - d_2,\; d_1 + d_2,\; d_2 - d_1,\; d_1 - d_3) \qquad
    G w = \left(w_0,\; \tfrac{w_0 + w_1 + w_2}{2},\; \tfrac{w_0 - w_1 + w_2}{2},\; w_2\right)

Along both dimensions, tiles of 4 × 4 numbers give 2 × 2 outputs, and with a sum over channels the 16 products of a
tile are those of 16 matrices. All of it is linear in the image and in the weight, so both gradients go back through
the transposes, and both begin with :math:`A^\top \bar Y`, which along one dimension is
:math:`(\bar y_0,\; \bar y_0 + \bar y_1,\; \bar y_0 - \bar y_1,\; -\bar y_1)`:

.. math::
    Y = A \, [\, (B^\top X) \, (G W) \,] \qquad
    \bar W = G^\top [\, (B^\top X)^\top (A^\top \bar Y) \,] \qquad
    \bar X = B \, [\, (A^\top \bar Y) \, (G W)^\top \,]

A few images, or a few rows of tiles of one, are under way at a time, so that they stay in the cache. Errors are of the
size of the plain product's, but an infinity spreads over its tile as NaN: what is not finite in the end is left to
other ways.

Shapes: B images, C input and O output channels, H × W pixels, P × Q outputs; in a block, p parts, each of T tiles, of
n images in h rows and w columns.

Source: A. Lavin and S. Gray, "Fast algorithms for convolutional neural networks", 2016; after S. Winograd, "Arithmetic
complexity of computations", 1980.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from scratchnet.convolution.algorithms.winograd.chunks import Block, Scratch, blocks_of
from scratchnet.convolution.algorithms.winograd.pixels import Margins, Pixels, blank
from scratchnet.convolution.algorithms.winograd.transforms import differences, outputs, overlapped, row_sums, sums
from scratchnet.function import readable
from scratchnet.windows import Geometry

__all__ = [
    "Outputs",
    "Upstream",
    "convolve",
    "correlate",
    "gradients",
    "worthwhile",
    "row_sums_of",
    "backward_input",
]

LEAST_CHANNELS = 16
LEAST_PRODUCTS = 1 << 20
MOST_KERNEL_BYTES = 1 << 18

G = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]])
SIGNED = G * torch.tensor([[1.0], [1.0], [1.0], [-1.0]])  # with the sign of Aᵀ, which sums are made without


class Upstream(Protocol):
    """What comes back to P × Q outputs of a batch, however it is held."""

    channels: int

    @property
    def size(self) -> Sequence[int]:
        """P and Q; beyond them nothing comes back."""

    def __len__(self) -> int:
        """B."""

    def sums(self, block: Block, scratch: Scratch) -> Tensor:
        """Aᵀ of a block's tiles, ``(p·16, T, O)``, as `sums` of transforms makes it."""


class Outputs(Pixels):
    """Outputs or their gradient ``(B, O, P, Q)``, in any layout, as an `Upstream`."""

    def __init__(self, y: Tensor) -> None:
        super().__init__(y, ((0, 0), (0, 0)))

    def sums(self, block: Block, scratch: Scratch) -> Tensor:
        """See `Upstream`."""
        made = scratch.prepared(sums, *block.shape, self.channels)
        self.read(block, made.source)
        return made.run()


def worthwhile(images: Tensor, channels: int, out: int, geometry: Geometry, groups: int) -> bool:
    """Whether the products of a convolution can be made this way, and are large enough to gain by it.

    On a CPU, where whether all is finite can be asked without waiting.
    """
    once = geometry.kernel == (3, 3) and geometry.stride == geometry.dilation == (1, 1) and groups == 1
    if not once or max(map(max, geometry.padding)) > 2 or min(channels, out) < LEAST_CHANNELS:
        return False
    pixels = images.numel() // max(1, images.shape[1])
    return readable(images) and pixels * channels * out >= LEAST_PRODUCTS


def convolve(
    x: Pixels, weight: Tensor, bias: Tensor | None, size: Sequence[int], channels_last: bool
) -> Tensor | None:
    """Of images ``(B, C, H, W)`` and a weight ``(O, C, 3, 3)``, the outputs ``(B, O, P, Q)``; None if not finite.

    Where channels are to be ``channels_last``, they are so in memory.
    """
    out, scratch = len(weight), Scratch(weight)
    y = blank(len(x), out, size, channels_last, weight)
    direct = channels_last and not any(n % 2 for n in size)
    total = weight.new_zeros(())
    for block, summed in row_sums_of(x, weight, bias, size, scratch):
        p, n, h, w = block.shape
        part, shape = y[block.images, block.pixels], (p, n, h, 2, w, 2, out)
        made = part.view(shape) if direct else scratch("outputs", *shape)
        outputs(summed, *made.movedim((5, 3), (0, 2)))
        total += made.sum()
        if not direct:
            part.copy_(made.view(p * n, 2 * h, 2 * w, out)[:, : part.shape[1], : part.shape[2]])
    return y.movedim(-1, 1) if bool(total.isfinite()) else None


def row_sums_of(
    x: Pixels, weight: Tensor, bias: Tensor | None, size: Sequence[int], scratch: Scratch
) -> Iterator[tuple[Block, Tensor]]:
    """Block by block the `row_sums` of the tiles of a convolution's outputs."""
    out, channels = weight.shape[:2]
    parts = _parts(channels, out, weight)
    kernels = _tiled(G, weight, parts)
    for block in blocks_of(len(x), size, 16 * (channels + out) * weight.element_size(), parts):
        seen = scratch.prepared(differences, *block.shape, channels)
        summed = scratch.prepared(row_sums, *block.shape, out)
        x.read(block, seen.source)
        torch.bmm(seen.run(), kernels[: len(summed.source)], out=summed.source)
        if bias is not None:
            # To m₁ along both dimensions, which all outputs of a tile contain once.
            summed.source[5::16].add_(bias)
        yield block, summed.run()


def backward_input(
    y: Upstream, weight: Tensor, bias: Tensor | None, margins: Margins, size: Sequence[int], channels_last: bool
) -> Tensor | None:
    """Of outputs ``(B, O, P, Q)`` and a weight ``(O, C, 3, 3)``, images ``(B, C, H, W)``; None if not finite."""
    parts = _parts(weight.shape[1], y.channels, weight)
    images = _Spread(y, weight, bias, margins, size, channels_last, parts)
    _go_back(y, weight.shape[1], weight, parts, images)
    return images.made()


def correlate(y: Upstream, x: Pixels, like: Tensor) -> Tensor | None:
    """Of outputs ``(B, O, P, Q)`` and images ``(B, C, H, W)``, a weight ``(O, C, 3, 3)``; None if not finite."""
    parts = _parts(x.channels, y.channels, like)
    weight = _Correlation(y, x, like, parts)
    _go_back(y, x.channels, like, parts, weight)
    return weight.made()


def gradients(
    y: Upstream, x: Tensor, weight: Tensor, needs: Sequence[bool], margins: Margins, channels_last: bool
) -> tuple[Tensor | None, Tensor | None]:
    """In the images and in the weight, of those that are needed; None for one that is not finite."""
    parts = _parts(x.shape[1], y.channels, weight)
    ways = (
        _Spread(y, weight, None, margins, x.shape[2:], channels_last, parts) if needs[0] else None,
        _Correlation(y, Pixels(x, margins), weight, parts) if needs[1] else None,
    )
    wanted = [way for way in ways if way is not None]
    if wanted:
        _go_back(y, x.shape[1], weight, parts, *wanted)
    grad_x, grad_weight = (None if way is None else way.made() for way in ways)
    return grad_x, grad_weight


class _Way(Protocol):
    """A way back from outputs."""

    def take(self, block: Block, summed: Tensor, scratch: Scratch) -> None:
        """A block of outputs."""


def _go_back(y: Upstream, channels: int, like: Tensor, parts: int, *ways: _Way) -> None:
    """Block by block, all ways at once."""
    scratch, numbers = Scratch(like), 16 * (channels + y.channels)
    for block in blocks_of(len(y), y.size, numbers * like.element_size(), parts):
        summed = y.sums(block, scratch)
        for way in ways:
            way.take(block, summed, scratch)


class _Spread:
    """The way to the images."""

    def __init__(
        self,
        y: Upstream,
        weight: Tensor,
        bias: Tensor | None,
        margins: Margins,
        size: Sequence[int],
        channels_last: bool,
        parts: int,
    ) -> None:
        channels = weight.shape[1]
        self._kernels = _tiled(SIGNED, weight, parts).mT.contiguous()
        self._bias = bias
        self._x = blank(len(y), channels, size, channels_last, weight)
        if any(n > 2 * -(-p // 2) + 2 - before for n, p, (before, _) in zip(size, y.size, margins, strict=True)):
            self._x.zero_()  # where no tile reaches
        self._pixels = Pixels(self._x.movedim(-1, 1), margins)
        self._total = weight.new_zeros(())

    def take(self, block: Block, summed: Tensor, scratch: Scratch) -> None:
        """See `_Way`."""
        made = scratch.prepared(overlapped, *block.shape, self._kernels.shape[2])
        torch.bmm(summed, self._kernels[: len(summed)], out=made.source)
        pixels = made.run()
        self._total += pixels.sum()
        self._pixels.write(block, pixels, self._bias)

    def made(self) -> Tensor | None:
        """The images; None if not finite."""
        return self._x.movedim(-1, 1) if bool(self._total.isfinite()) else None


class _Correlation:
    """The way to the weight."""

    def __init__(self, y: Upstream, x: Pixels, like: Tensor, parts: int) -> None:
        self._x = x
        self._total = like.new_zeros((16 * parts, x.channels, y.channels))

    def take(self, block: Block, summed: Tensor, scratch: Scratch) -> None:
        """See `_Way`."""
        seen = scratch.prepared(differences, *block.shape, self._x.channels)
        self._x.read(block, seen.source)
        self._total[: len(summed)].baddbmm_(seen.run().mT, summed)

    def made(self) -> Tensor | None:
        """The weight; None if not finite."""
        _, channels, out = self._total.shape
        total = self._total.view(-1, 16, channels * out).sum(0)
        grad = (_both(SIGNED, total).t() @ total).view(3, 3, channels, out)
        return grad.permute(3, 2, 0, 1).contiguous() if bool(grad.sum().isfinite()) else None


def _parts(channels: int, out: int, like: Tensor) -> int:
    """Of a block: as many as threads, where each thread's caches have room for kernels of its own; else one."""
    return torch.get_num_threads() if 16 * channels * out * like.element_size() <= MOST_KERNEL_BYTES else 1


def _tiled(g: Tensor, weight: Tensor, parts: int) -> Tensor:
    """G along both dimensions, of a weight ``(O, C, 3, 3)``, for each part of a block: ``(p·16, C, O)``."""
    out, channels = weight.shape[:2]
    kernels = (_both(g, weight) @ weight.permute(2, 3, 1, 0).reshape(9, -1)).view(16, channels, out)
    return kernels.repeat(parts, 1, 1)


def _both(g: Tensor, like: Tensor) -> Tensor:
    """The matrix that makes 16 numbers of the 9 of a kernel."""
    return torch.kron(g, g).to(like)
