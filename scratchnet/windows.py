r"""Windows of an image, as convolution and pooling look through them, in any number of dimensions.

A window is seen from each of P × Q outputs and holds R × S places; dilation spreads the places, stride the windows:

.. math::
    \text{columns}_{c, r, s, p, q} = x_{c,\; p \cdot \text{stride} + r \cdot \text{dilation},\;
                                          q \cdot \text{stride} + s \cdot \text{dilation}}

Taking windows (im2col) is linear. Its adjoint (col2im) is therefore how gradients come back: each element gets the
sum over all windows that it was seen in.

Both have two forms. The plain one is made of slices that autograd, vmap and the compiler can follow; the other
writes into a given buffer, so that a few images at a time stay in the cache.

Shapes, for two dimensions: B images, C channels, H × W pixels, R × S kernel, P × Q outputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from scratchnet.arguments import integers

__all__ = [
    "Geometry",
    "im2col",
    "col2im",
    "padded",
    "read_columns",
    "sizes",
    "write_padded",
]

Sizes = tuple[int, ...]
WHOLE = slice(None)


class Geometry(NamedTuple):
    """How windows lie on an image: a number for each dimension, and two for padding, before and after."""

    kernel: Sizes
    stride: Sizes
    padding: tuple[tuple[int, int], ...]
    dilation: Sizes

    @property
    def positions(self) -> int:
        """The number of elements in a window, R · S."""
        return math.prod(self.kernel)

    @property
    def pads(self) -> bool:
        """Whether there is padding."""
        return any(map(any, self.padding))

    def extent(self, size: Iterable[int]) -> Sizes:
        """The size of the padded image."""
        return tuple(n + before + after for n, (before, after) in zip(size, self.padding, strict=True))

    def outputs(self, size: Iterable[int]) -> Sizes:
        """The number of windows, P and Q, on an image of H × W pixels."""
        return tuple(
            (extent - dilation * (kernel - 1) - 1) // stride + 1
            for extent, kernel, stride, dilation in zip(
                self.extent(size), self.kernel, self.stride, self.dilation, strict=True
            )
        )

    def slices(self, outputs: Sequence[int]) -> list[tuple[slice, ...]]:
        """For each place in the kernel, the index of what is seen through it from all outputs of padded images."""
        each = [
            [slice(k * d, k * d + (n - 1) * s + 1, s) for k in range(kernel)]
            for kernel, s, d, n in zip(self.kernel, self.stride, self.dilation, outputs, strict=True)
        ]
        return [(WHOLE, WHOLE, *place) for place in product(*each)]

    def inside(self, size: Iterable[int]) -> tuple[slice, ...]:
        """The index of the images themselves within padded images."""
        return (WHOLE, WHOLE, *(slice(a, a + n) for n, (a, _) in zip(size, self.padding, strict=True)))


def sizes(op: str, name: str, value: int | Sequence[int], dims: int, least: int) -> Sizes:
    """An option of windows as one integer for each dimension.

    Raises:
        TypeError: if it holds something else than integers.
        RuntimeError: if their number is neither 1 nor ``dims``, or one is too small.
    """
    checked = integers(op, value, name)
    given = checked if isinstance(checked, tuple) else (checked,)
    full = given * dims if len(given) == 1 else given
    if len(full) != dims or min(full) < least:
        wanted = f"of at least {least}" if least else "not below 0"
        raise RuntimeError(f"{op}: expected {name} to be one integer or {dims}, {wanted}, got {value}")
    return full


def im2col(x: Tensor, geometry: Geometry, outputs: Sequence[int] | None = None) -> Tensor:
    """The windows of images ``(B, C, H, W)`` as ``(B, C, R·S, P, Q)``, in operations that can be differentiated.

    All windows that fit, or the first of them, as many as ``outputs`` says.
    """
    wide = padded(x, geometry, 0.0)
    outputs = geometry.outputs(x.shape[2:]) if outputs is None else outputs
    if geometry.positions == 1 and tuple(outputs) == tuple(wide.shape[2:]):
        return wide.unsqueeze(2)  # and not wide[:, :, :, :], an alias, which batched upstreams cannot have
    return torch.stack([wide[place] for place in geometry.slices(outputs)], dim=2)


def col2im(grads: Tensor, size: Sequence[int], geometry: Geometry) -> Tensor:
    """The adjoint of `im2col`: adds ``(B, C, R·S, P, Q)`` up into images of H × W pixels."""
    extent = geometry.extent(size)
    batch, channels, _, *outputs = grads.shape
    blanks = [grads.new_zeros((batch, channels, *outputs[:i], *extent[i:])) for i in range(len(extent))]
    total = blanks[0]
    for i, place in enumerate(geometry.slices(outputs)):
        spread = grads[:, :, i]
        for dim in reversed(range(2, total.dim())):
            at = place[dim]
            if torch.onnx.is_in_onnx_export() or spread.is_complex():  # autograd scatters no complex slices
                spread = _stretched(spread, dim, at, extent[dim - 2])
                continue
            spread = blanks[dim - 2].slice_scatter(spread, dim, at.start, at.stop, at.step)
        total = total + spread
    return total if extent == tuple(size) else total[geometry.inside(size)]


def _stretched(x: Tensor, dim: int, at: slice, size: int) -> Tensor:
    """Puts zeros between, before and after the elements of a dimension, without ``slice_scatter``."""

    def zeros(n: int) -> Tensor:
        return x.new_zeros((*x.shape[:dim], n, *x.shape[dim + 1 :]))

    if at.step > 1:
        between = [torch.zeros_like(x)] * (at.step - 1)
        x = torch.stack((x, *between), dim + 1)
        x = x.reshape(*x.shape[:dim], -1, *x.shape[dim + 2 :]).narrow(dim, 0, at.stop - at.start)
    return torch.cat((zeros(at.start), x, zeros(size - at.stop)), dim)


def padded(x: Tensor, geometry: Geometry, fill: float) -> Tensor:
    """Images ``(B, C, H, W)`` within a margin of one value, in operations that can be differentiated."""
    for dim, ((before, after), n) in enumerate(zip(geometry.padding, x.shape[2:], strict=True), 2):
        if before or after or not isinstance(after, int):  # which in a trace is 0 at one size alone
            if torch.onnx.is_in_onnx_export() or x.is_complex():  # which have no slice_scatter
                edges = [x.new_full((*x.shape[:dim], m, *x.shape[dim + 1 :]), fill) for m in (before, after)]
                x = torch.cat((edges[0], x, edges[1]), dim)
                continue
            wide = x.new_full((*x.shape[:dim], n + before + after, *x.shape[dim + 1 :]), fill)
            x = wide.slice_scatter(x, dim, before, before + n)
    return x


def write_padded(x: Tensor, geometry: Geometry, buffer: Tensor) -> Tensor:
    """Images in the middle of a buffer whose margin is zero; the images themselves where no padding is asked for."""
    if buffer.shape[2:] == x.shape[2:]:
        return x
    wide = buffer[: x.shape[0]]
    wide[geometry.inside(x.shape[2:])] = x
    return wide


def read_columns(wide: Tensor, geometry: Geometry, outputs: Sequence[int], buffer: Tensor) -> Tensor:
    """Writes the windows of padded images into a buffer of shape ``(B, C, R, S, P, Q)``, and returns it."""
    batch, channels, *steps = wide.stride()
    within = [step * dilation for step, dilation in zip(steps, geometry.dilation, strict=True)]
    between = [step * stride for step, stride in zip(steps, geometry.stride, strict=True)]
    view = wide.as_strided((*wide.shape[:2], *geometry.kernel, *outputs), (batch, channels, *within, *between))
    return buffer[: wide.shape[0]].copy_(view)
