r"""Windows of images, as convolution and pooling see them, in any number of dimensions.

P × Q windows, one per output, have R × S positions each. The dilation separates positions, the stride windows:

.. math::
    \operatorname{im2col}(x)_{c, r, s, p, q} = x_{c,\; p \cdot \text{stride} + r \cdot \text{dilation},\;
                                                    q \cdot \text{stride} + s \cdot \text{dilation}}

im2col is linear. Its adjoint col2im gives the gradient: each pixel gets the sum over all windows that see it.

Shapes, for two dimensions: B images, C channels, H × W pixels, R × S kernel, P × Q outputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from scratchnet.arguments import integers
from scratchnet.function import dispatch
from scratchnet.layout import empty_images

__all__ = ["Geometry", "col2im", "im2col", "padded", "sizes", "slices"]

Sizes = tuple[int, ...]
WHOLE = slice(None)


class Geometry(NamedTuple):
    """The options of windows: one number per dimension, and for the padding two, before and after."""

    kernel: Sizes
    stride: Sizes
    padding: tuple[tuple[int, int], ...]
    dilation: Sizes

    def numbers(self) -> list[int]:
        """Returns all numbers in a row: see `scratchnet.function.opaque`."""
        return [*self.kernel, *self.stride, *(n for pair in self.padding for n in pair), *self.dilation]

    @classmethod
    def from_numbers(cls, numbers: Sequence[int]) -> Geometry:
        """Returns the geometry of `numbers`."""
        dims = len(numbers) // 5
        kernel, stride, before, after, dilation = (
            numbers[:dims], numbers[dims : 2 * dims], numbers[2 * dims : 4 * dims : 2],
            numbers[2 * dims + 1 : 4 * dims : 2], numbers[4 * dims :],
        )  # fmt: skip
        return cls(tuple(kernel), tuple(stride), tuple(zip(before, after, strict=True)), tuple(dilation))

    @property
    def positions(self) -> int:
        """The number of positions in a window, R · S."""
        return math.prod(self.kernel)

    @property
    def pads(self) -> bool:
        """True if any padding is not zero."""
        return any(map(any, self.padding))

    def extent(self, size: Iterable[int]) -> Sizes:
        """Returns the size of the padded image."""
        return tuple(n + before + after for n, (before, after) in zip(size, self.padding, strict=True))

    def outputs(self, size: Iterable[int]) -> Sizes:
        """Returns the number of windows, P and Q, on an image of H × W pixels."""
        return tuple(
            (extent - dilation * (kernel - 1) - 1) // stride + 1
            for extent, kernel, stride, dilation in zip(
                self.extent(size), self.kernel, self.stride, self.dilation, strict=True
            )
        )

    def slices(self, outputs: Sequence[int]) -> list[tuple[slice, ...]]:
        """Returns for each position the index into padded images of the pixels that all windows see there."""
        along = [
            [slice(k * d, k * d + (n - 1) * s + 1, s) for k in range(kernel)]
            for kernel, s, d, n in zip(self.kernel, self.stride, self.dilation, outputs, strict=True)
        ]
        return [(WHOLE, WHOLE, *position) for position in product(*along)]

    def inside(self, size: Iterable[int]) -> tuple[slice, ...]:
        """Returns the index of the images within padded images."""
        return (WHOLE, WHOLE, *(slice(a, a + n) for n, (a, _) in zip(size, self.padding, strict=True)))


slices = lru_cache(maxsize=256)(Geometry.slices)  # for fast forms; the compiler looks through caches


def sizes(op: str, name: str, value: int | Sequence[int], dims: int, least: int) -> Sizes:
    """Expands an option to one integer per dimension.

    Raises:
        TypeError: if a value is not an integer.
        RuntimeError: if there are neither 1 nor ``dims`` values, or one is below ``least``.
    """
    checked = integers(op, value, name)
    given = checked if isinstance(checked, tuple) else (checked,)
    full = given * dims if len(given) == 1 else given
    if len(full) != dims or min(full) < least:
        wanted = f"of at least {least}" if least else "not below 0"
        raise RuntimeError(f"{op}: expected {name} to be one integer or {dims}, {wanted}, got {value}")
    return full


def _im2col_by_strides(x: Tensor, geometry: Geometry, outputs: Sequence[int] | None = None) -> Tensor:
    outputs = geometry.outputs(x.shape[2:]) if outputs is None else outputs
    if geometry.positions == 1:
        return NotImplemented
    wide = padded(x, geometry.padding, 0.0)
    within = [step * d for step, d in zip(wide.stride()[2:], geometry.dilation, strict=True)]
    between = [step * s for step, s in zip(wide.stride()[2:], geometry.stride, strict=True)]
    shape, strides = (*x.shape[:2], *geometry.kernel, *outputs), (*wide.stride()[:2], *within, *between)
    windows = wide.as_strided(shape, strides).clone(memory_format=torch.contiguous_format)
    return windows.flatten(2, 1 + len(geometry.kernel))


@dispatch(_im2col_by_strides)
def im2col(x: Tensor, geometry: Geometry, outputs: Sequence[int] | None = None) -> Tensor:
    """Returns the windows of images (B, C, H, W) as (B, C, R·S, P, Q).

    ``outputs`` limits P and Q to the first windows.
    """
    wide = padded(x, geometry.padding, 0.0)
    outputs = geometry.outputs(x.shape[2:]) if outputs is None else outputs
    if geometry.positions == 1 and tuple(outputs) == tuple(wide.shape[2:]):
        return wide.unsqueeze(2)  # not wide[:, :, :, :], an alias, which batched upstreams cannot have
    return torch.stack([wide[position] for position in geometry.slices(outputs)], dim=2)


def _col2im_in_place(grads: Tensor, size: Sequence[int], geometry: Geometry) -> Tensor:
    batch, channels = grads.shape[:2]
    total = empty_images(grads, batch, channels, geometry.extent(size), grads.stride(1) == 1).zero_()
    for seen, position in zip(grads.unbind(2), slices(geometry, grads.shape[3:]), strict=True):
        total[position].add_(seen)
    return total[geometry.inside(size)] if geometry.pads else total


@dispatch(_col2im_in_place)
def col2im(grads: Tensor, size: Sequence[int], geometry: Geometry) -> Tensor:
    """Adds windows (B, C, R·S, P, Q) up into images of H × W pixels: the adjoint of `im2col`."""
    extent = geometry.extent(size)
    batch, channels, _, *outputs = grads.shape
    blanks = [grads.new_zeros((batch, channels, *outputs[:i], *extent[i:])) for i in range(len(extent))]
    total = blanks[0]
    for i, position in enumerate(geometry.slices(outputs)):
        scattered = grads[:, :, i]
        for dim in reversed(range(2, total.dim())):
            at = position[dim]
            # ONNX export has no slice_scatter, and autograd none for complex numbers.
            if torch.onnx.is_in_onnx_export() or scattered.is_complex():
                scattered = _scatter_slice(scattered, dim, at, extent[dim - 2])
            else:
                scattered = blanks[dim - 2].slice_scatter(scattered, dim, at.start, at.stop, at.step)
        total = total + scattered
    return total if extent == tuple(size) else total[geometry.inside(size)]


def _scatter_slice(x: Tensor, dim: int, at: slice, size: int) -> Tensor:
    """Scatters ``x`` into zeros of length ``size`` along ``dim``, without ``slice_scatter``."""

    def zeros(n: int) -> Tensor:
        return x.new_zeros((*x.shape[:dim], n, *x.shape[dim + 1 :]))

    if at.step > 1:
        between = [torch.zeros_like(x)] * (at.step - 1)
        x = torch.stack((x, *between), dim + 1)
        x = x.reshape(*x.shape[:dim], -1, *x.shape[dim + 2 :]).narrow(dim, 0, at.stop - at.start)
    return torch.cat((zeros(at.start), x, zeros(size - at.stop)), dim)


def _padded_in_place(x: Tensor, widths: Sequence[tuple[int, int]], fill: float) -> Tensor:
    if not any(map(any, widths)):
        return x
    shape = list(x.shape)
    for dim, (before, after) in enumerate(widths, x.dim() - len(widths)):
        shape[dim] += before + after
    wide = inside = x.new_full(shape, fill)
    for dim, (before, _) in enumerate(widths, x.dim() - len(widths)):
        inside = inside.narrow(dim, before, x.shape[dim])
    inside.copy_(x)
    return wide


@dispatch(_padded_in_place)
def padded(x: Tensor, widths: Sequence[tuple[int, int]], fill: float) -> Tensor:
    """Pads the last dimensions with one value; ``widths`` holds the width before and after each."""
    for dim, (before, after) in enumerate(widths, x.dim() - len(widths)):
        if before or after or not isinstance(after, int):  # a traced size may be 0 for this example alone
            n, shape = x.shape[dim], list(x.shape)
            if torch.onnx.is_in_onnx_export() or x.is_complex():  # as in `col2im`
                edges = [x.new_full((*shape[:dim], m, *shape[dim + 1 :]), fill) for m in (before, after)]
                x = torch.cat((edges[0], x, edges[1]), dim)
            else:
                wide = x.new_full((*shape[:dim], before + n + after, *shape[dim + 1 :]), fill)
                x = wide.slice_scatter(x, dim, before, before + n)
    return x
