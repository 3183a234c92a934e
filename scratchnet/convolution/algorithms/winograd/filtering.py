r"""Convolution with 3 × 3 kernels by Winograd's minimal filtering: 16 multiplications per tile in place of 36.

Two neighboring outputs of a kernel of size 3 depend on four inputs, and take four multiplications in place of six:

.. math::
    y_0 = m_0 + m_1 + m_2, \quad y_1 = m_1 - m_2 - m_3 \qquad \text{with} \quad m = (B^\top d) \odot (G w)

.. math::
    B^\top d = (d_0 - d_2,\; d_1 + d_2,\; d_2 - d_1,\; d_1 - d_3) \qquad
    G w = \left(w_0,\; \tfrac{w_0 + w_1 + w_2}{2},\; \tfrac{w_0 - w_1 + w_2}{2},\; w_2\right)

In two dimensions, tiles of 4 × 4 inputs give 2 × 2 outputs. Summed over channels, the 16 multiplications of all tiles
are 16 matrix products. Everything is linear in the image and in the weight, so both gradients apply the adjoints; both
begin with :math:`A^\top \bar Y`, which along one dimension is
:math:`(\bar y_0,\; \bar y_0 + \bar y_1,\; \bar y_0 - \bar y_1,\; -\bar y_1)`:

.. math::
    Y = A \, [\, (B^\top X) \, (G W) \,] \qquad
    \bar W = G^\top [\, (B^\top X)^\top (A^\top \bar Y) \,] \qquad
    \bar X = B \, [\, (A^\top \bar Y) \, (G W)^\top \,]

Tiles are processed in chunks that stay in the cache. Rounding errors are as small as those of the direct product, but
an infinity spreads over its tile as NaN. A result that is not finite is therefore discarded (None), and the caller
falls back to another algorithm.

Shapes: B images, C input and O output channels, H × W pixels, P × Q outputs; in a chunk, p threads, each with n images
of h × w tiles, T = n·h·w.

Source: A. Lavin and S. Gray, "Fast algorithms for convolutional neural networks", 2016; after S. Winograd, "Arithmetic
complexity of computations", 1980.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from scratchnet.convolution.algorithms.winograd.chunks import Chunk, Scratch, chunks_of
from scratchnet.convolution.algorithms.winograd.pixels import Margins, Pixels
from scratchnet.convolution.algorithms.winograd.transforms import (
    input_transform,
    input_transform_adjoint,
    output_transform_adjoint,
    output_transform_columns,
    output_transform_rows,
)
from scratchnet.function import readable
from scratchnet.layout import empty_images
from scratchnet.windows import Geometry

__all__ = [
    "Outputs",
    "Upstream",
    "backward_input",
    "convolve",
    "correlate",
    "gradients",
    "row_transformed_outputs",
    "worthwhile",
]

LEAST_CHANNELS = 32
MOST_RATIO = 2  # of channels and outputs, or outputs and channels; gathered GEMM gains by their difference
LEAST_PIXELS = 8  # for each channel, as many as make up for transforming the kernels
LEAST_ELEMENTS = 1 << 18  # of images and outputs, as many as make up for some hundred views of a chunk's memory
MOST_KERNEL_BYTES = 1 << 18

G = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]])
SIGNED_G = G * torch.tensor([[1.0], [1.0], [1.0], [-1.0]])  # the sign that `output_transform_adjoint` leaves out


class Upstream(Protocol):
    """The gradient of P × Q outputs of a batch, in whatever form it is stored."""

    channels: int

    @property
    def size(self) -> Sequence[int]:
        """P and Q; the gradient is zero beyond them."""

    def __len__(self) -> int:
        """B."""

    def transform(self, chunk: Chunk, scratch: Scratch) -> Tensor:
        """Returns Aᵀ of a chunk's tiles, (p·16, T, O), as `output_transform_adjoint` does."""


class Outputs(Pixels):
    """Outputs or their gradient (B, O, P, Q), in any memory format, as an `Upstream`."""

    def __init__(self, y: Tensor) -> None:
        super().__init__(y, ((0, 0), (0, 0)))

    def transform(self, chunk: Chunk, scratch: Scratch) -> Tensor:
        plan = scratch.plan(output_transform_adjoint, *chunk.shape, self.channels)
        self.read(chunk, plan.source)
        return plan.run()


def worthwhile(images: Tensor, channels: int, out: int, geometry: Geometry, groups: int) -> bool:
    """Returns whether the algorithm applies to a convolution and is faster than the direct one.

    It needs a device where testing for finite values does not stall, a CPU.
    """
    plain = geometry.kernel == (3, 3) and geometry.stride == geometry.dilation == (1, 1) and groups == 1
    least, most = sorted((channels, out))
    if not plain or max(map(max, geometry.padding)) > 2 or least < LEAST_CHANNELS or most > MOST_RATIO * least:
        return False
    pixels = images.numel() // max(1, images.shape[1])
    enough = pixels >= LEAST_PIXELS * most and pixels * (channels + out) >= LEAST_ELEMENTS
    return enough and readable(images)


def convolve(
    x: Pixels, weight: Tensor, bias: Tensor | None, size: Sequence[int], channels_last: bool
) -> Tensor | None:
    """Convolves images (B, C, H, W) with a weight (O, C, 3, 3); returns (B, O, P, Q), or None if not finite."""
    out, scratch = len(weight), Scratch(weight)
    result = empty_images(weight, len(x), out, size, channels_last)
    y = result.movedim(1, -1)
    in_place = channels_last and not any(n % 2 for n in size)
    total = weight.new_zeros(())
    for chunk, rows in row_transformed_outputs(x, weight, bias, size, scratch):
        p, n, h, w = chunk.shape
        y_chunk, shape = y[chunk.images, chunk.pixels], (p, n, h, 2, w, 2, out)
        tiles = y_chunk.view(shape) if in_place else scratch("outputs", *shape)
        output_transform_columns(rows, *tiles.movedim((5, 3), (0, 2)))
        total += tiles.sum()
        if not in_place:
            y_chunk.copy_(tiles.view(p * n, 2 * h, 2 * w, out)[:, : y_chunk.shape[1], : y_chunk.shape[2]])
    return result if bool(total.isfinite()) else None


def row_transformed_outputs(
    x: Pixels, weight: Tensor, bias: Tensor | None, size: Sequence[int], scratch: Scratch
) -> Iterator[tuple[Chunk, Tensor]]:
    """Yields chunks of a convolution's outputs after `output_transform_rows`."""
    out, channels = weight.shape[:2]
    threads = _threads(channels, out, weight)
    kernels = _transform_kernels(G, weight, threads)
    for chunk in chunks_of(len(x), size, 16 * (channels + out) * weight.element_size(), threads):
        inputs = scratch.plan(input_transform, *chunk.shape, channels)
        rows = scratch.plan(output_transform_rows, *chunk.shape, out)
        x.read(chunk, inputs.source)
        torch.bmm(inputs.run(), kernels[: len(rows.source)], out=rows.source)
        if bias is not None:
            # m₁ along both dimensions enters each output of a tile once.
            rows.source[5::16].add_(bias)
        yield chunk, rows.run()


def backward_input(
    y: Upstream, weight: Tensor, bias: Tensor | None, margins: Margins, size: Sequence[int], channels_last: bool
) -> Tensor | None:
    """Multiplies outputs (B, O, P, Q) by the adjoint of `convolve`; returns (B, C, H, W), or None if not finite."""
    threads = _threads(weight.shape[1], y.channels, weight)
    gradient = _InputGradient(y, weight, bias, margins, size, channels_last, threads)
    _accumulate(y, weight.shape[1], weight, threads, gradient)
    return gradient.result()


def correlate(y: Upstream, x: Pixels, like: Tensor) -> Tensor | None:
    """Correlates outputs (B, O, P, Q) with images (B, C, H, W); returns (O, C, 3, 3), or None if not finite."""
    threads = _threads(x.channels, y.channels, like)
    gradient = _WeightGradient(y, x, like, threads)
    _accumulate(y, x.channels, like, threads, gradient)
    return gradient.result()


def gradients(
    y: Upstream, x: Tensor, weight: Tensor, needs: Sequence[bool], margins: Margins, channels_last: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Returns `backward_input` and `correlate`, where needed and finite, from one pass over the upstream."""
    threads = _threads(x.shape[1], y.channels, weight)
    both = (
        _InputGradient(y, weight, None, margins, x.shape[2:], channels_last, threads) if needs[0] else None,
        _WeightGradient(y, Pixels(x, margins), weight, threads) if needs[1] else None,
    )
    needed = [gradient for gradient in both if gradient is not None]
    if needed:
        _accumulate(y, x.shape[1], weight, threads, *needed)
    grad_x, grad_weight = (None if gradient is None else gradient.result() for gradient in both)
    return grad_x, grad_weight


class _Gradient(Protocol):
    """A gradient that is accumulated chunk by chunk."""

    def add(self, chunk: Chunk, upstream: Tensor, scratch: Scratch) -> None:
        """Adds what a chunk's transformed upstream (p·16, T, O) contributes."""


def _accumulate(y: Upstream, channels: int, like: Tensor, threads: int, *gradients: _Gradient) -> None:
    """Transforms the upstream chunk by chunk and adds each chunk to all gradients."""
    scratch = Scratch(like)
    for chunk in chunks_of(len(y), y.size, 16 * (channels + y.channels) * like.element_size(), threads):
        upstream = y.transform(chunk, scratch)
        for gradient in gradients:
            gradient.add(chunk, upstream, scratch)


class _InputGradient:
    def __init__(
        self,
        y: Upstream,
        weight: Tensor,
        bias: Tensor | None,
        margins: Margins,
        size: Sequence[int],
        channels_last: bool,
        threads: int,
    ) -> None:
        self._kernels = _transform_kernels(SIGNED_G, weight, threads).mT.contiguous()
        self._bias = bias
        self._x = empty_images(weight, len(y), weight.shape[1], size, channels_last)
        if any(n > 2 * -(-p // 2) + 2 - before for n, p, (before, _) in zip(size, y.size, margins, strict=True)):
            self._x.zero_()  # the last pixels belong to no tile
        self._pixels = Pixels(self._x, margins)
        self._total = weight.new_zeros(())

    def add(self, chunk: Chunk, upstream: Tensor, scratch: Scratch) -> None:
        plan = scratch.plan(input_transform_adjoint, *chunk.shape, self._kernels.shape[2])
        torch.bmm(upstream, self._kernels[: len(upstream)], out=plan.source)
        tiles = plan.run()
        self._total += tiles.sum()
        self._pixels.write(chunk, tiles, self._bias)

    def result(self) -> Tensor | None:
        """Returns the images, or None if not finite."""
        return self._x if bool(self._total.isfinite()) else None


class _WeightGradient:
    def __init__(self, y: Upstream, x: Pixels, like: Tensor, threads: int) -> None:
        self._x = x
        self._total = like.new_zeros((16 * threads, x.channels, y.channels))

    def add(self, chunk: Chunk, upstream: Tensor, scratch: Scratch) -> None:
        plan = scratch.plan(input_transform, *chunk.shape, self._x.channels)
        self._x.read(chunk, plan.source)
        self._total[: len(upstream)].baddbmm_(plan.run().mT, upstream)

    def result(self) -> Tensor | None:
        """Returns the weight, or None if not finite."""
        _, channels, out = self._total.shape
        total = self._total.view(-1, 16, channels * out).sum(0)
        grad = (_kron(SIGNED_G, total).t() @ total).view(3, 3, channels, out)
        return grad.permute(3, 2, 0, 1).contiguous() if bool(grad.sum().isfinite()) else None


def _threads(channels: int, out: int, like: Tensor) -> int:
    """Returns how many threads to split chunks among: all if a copy of the kernels fits each one's cache, else one."""
    return torch.get_num_threads() if 16 * channels * out * like.element_size() <= MOST_KERNEL_BYTES else 1


def _transform_kernels(g: Tensor, weight: Tensor, threads: int) -> Tensor:
    """Applies G along both dimensions of a weight (O, C, 3, 3); returns a copy per thread, (p·16, C, O)."""
    out, channels = weight.shape[:2]
    kernels = (_kron(g, weight) @ weight.permute(2, 3, 1, 0).reshape(9, -1)).view(16, channels, out)
    return kernels.repeat(threads, 1, 1)


def _kron(g: Tensor, like: Tensor) -> Tensor:
    """Returns the 16 × 9 matrix that transforms flattened kernels."""
    return torch.kron(g, g).to(like)
