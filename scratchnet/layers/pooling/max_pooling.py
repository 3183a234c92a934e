r"""Maximum pooling: each output is the largest element of its window.

.. math::
    y_p = \max_{r \in \text{window}} x_{p,r}
    \qquad \frac{\partial y_p}{\partial x_{p,r}} = \begin{cases} 1 & r = r^*_p \\ 0 & \text{else} \end{cases}

with :math:`r^*` the place of the maximum: the first where several are equal, the last NaN where there is one. The
gradient goes to that place alone; where windows overlap, an element gets the sum over all that it won. All that the
backward needs is :math:`r^*`, one byte for each output.

Shapes: B samples, C channels, H × W pixels, R × S kernel, P × Q outputs.

Source: Y.-T. Zhou and R. Chellappa, "Computation of optical flow using a neural network", 1988; as in PyTorch where
elements are equal.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from scratchnet.arguments import describe
from scratchnet.function import Function, readable, unobserved
from scratchnet.layers.pooling.windows import Size, batched, pooled, pooling_windows, widened
from scratchnet.tiling import BITS
from scratchnet.windows import Geometry, channels_last, padded

__all__ = [
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxPoolFunction",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
]

BLOCK = 2**19  # elements of an image block, which with its windows stays in the cache


class MaxPoolFunction(Function):
    """The maximum of each window, and which place of the window it has. Keeps the place."""

    auxiliary = 1

    @staticmethod
    def forward(
        x: Tensor, *, geometry: Geometry, size: tuple[int, ...]
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor]]:
        """The largest element of each window, and its number in the window."""
        y, which = None, None
        if unobserved() and readable(x) and x.is_floating_point() and geometry.extent(size) == size:
            y, which = _largest_unpadded(x, geometry)
        if y is None or which is None or bool(y.sum().isnan()):
            y, which = _largest(x, geometry)
        return (y, which), (which,)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, geometry: Geometry, size: tuple[int, ...]
    ) -> Tensor:
        """Adds the gradients up at the places that won."""
        (which,) = saved
        if unobserved() and grad.dtype in BITS and geometry.extent(size) == size and not _overlap(geometry):
            return _handed_back(grad, which, geometry, size)
        total = grad.new_zeros((*grad.shape[:2], math.prod(size)))
        if not unobserved():
            shape = (*grad.shape[:2], math.prod(grad.shape[2:]))
            indices, each = _indices(which, geometry, size).reshape(shape), grad.reshape(shape)
            return total.scatter_add(2, indices, each).reshape(*grad.shape[:2], *size)
        for out, g, places in _blocks(total, grad, which):
            out.scatter_add_(2, _indices(places, geometry, size).flatten(2), g.flatten(2))
        return total.view(*grad.shape[:2], *size)

    @staticmethod
    def jvp(
        tangents: Sequence[Tensor], saved: Sequence[Tensor], *, geometry: Geometry, size: tuple[int, ...]
    ) -> Tensor:
        """The winner's tangent."""
        indices = _indices(saved[0], geometry, size)
        return tangents[0].flatten(2).gather(2, indices.flatten(2)).reshape(indices.shape)


def _blocks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Tensors, cut alike along the batch into blocks of which those of the first fit into the cache."""
    rows = max(1, BLOCK // max(1, math.prod(tensors[0].shape[1:])))
    return zip(*(t.split(rows) for t in tensors), strict=True)


def _overlap(geometry: Geometry) -> bool:
    """Whether an element may lie in several windows."""
    spans = [(kernel - 1) * dilation for kernel, dilation in zip(geometry.kernel, geometry.dilation, strict=True)]
    return any(span >= stride for span, stride in zip(spans, geometry.stride, strict=True))


def _largest(x: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """Goes through the places of a window, and keeps the largest element so far of all windows at once."""
    lowest = float("-inf") if x.is_floating_point() else torch.iinfo(x.dtype).min
    wide = padded(x, geometry, lowest)
    places = geometry.slices(geometry.outputs(x.shape[2:]))
    first = wide[places[0]]
    y, which = torch.full_like(first, lowest), _first_inside(x, geometry).expand(first.shape)
    for i, place in enumerate(places):
        seen = wide[place]
        better = (seen > y) | (seen != seen)
        y, which = torch.where(better, seen, y), which.masked_fill(better, i)
    return y, which


def _largest_unpadded(x: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """The same in blocks and in place, for windows without padding and elements without NaN.

    A later place wins only if it is larger than all before it, so the winner is the last place that was better.
    """
    first, *others = geometry.slices(geometry.outputs(x.shape[2:]))
    y = torch.empty_like(x[first])
    which = torch.zeros_like(y, dtype=_kind(geometry))
    together = x.stride(1) == 1  # channels last, so that what a place sees are stretches as it stands
    for image, best, winner in _blocks(x, y, which):
        best.copy_(image[first])
        seen, better = torch.empty_like(best), torch.empty_like(winner, dtype=torch.bool)
        for i, place in enumerate(others, 1):
            seen = image[place] if together else seen.copy_(image[place])
            torch.gt(seen, best, out=better)
            if winner.dtype is torch.uint8:
                torch.maximum(winner, better.view(torch.uint8).mul_(i), out=winner)
            else:
                winner.masked_fill_(better, i)
            torch.maximum(best, seen, out=best)
    return y, which


def _handed_back(grad: Tensor, which: Tensor, geometry: Geometry, size: Sequence[int]) -> Tensor:
    """The gradients at the places that won, in blocks, where windows have no padding and share no element.

    Each place gets the gradient of all windows, masked bit by bit (see `scratchnet.tiling.recorder`) by who won.
    """
    kind, places = BITS[grad.dtype], geometry.slices(which.shape[2:])
    make = (
        grad.new_empty if which.numel() * len(places) == math.prod((*which.shape[:2], *size)) else grad.new_zeros
    )
    last = channels_last(which)
    batch, channels = which.shape[:2]
    total = make((batch, *size, channels)).movedim(-1, 1) if last else make((batch, channels, *size))
    for out, g, winner in _blocks(total, grad, which):
        bits = torch.empty_like(winner, dtype=g.dtype).copy_(g).view(kind)
        won = torch.empty_like(bits)
        for i, place in enumerate(places):
            torch.eq(winner, i, out=won).neg_()
            torch.bitwise_and(won, bits, out=out.view(kind)[place])
    return total


def _first_inside(x: Tensor, geometry: Geometry) -> Tensor:
    """The first place of each window that is not padding, shape `(P, Q)`: the winner where all are -inf."""
    first = torch.zeros((), dtype=torch.int64, device=x.device)
    for k, n, s, (before, _), d in zip(
        geometry.kernel, geometry.outputs(x.shape[2:]), geometry.stride, geometry.padding, geometry.dilation,
        strict=True,
    ):  # fmt: skip
        outside = (before - torch.arange(n, device=x.device) * s).clamp(min=0)
        first = first.unsqueeze(-1) * k + (outside + d - 1) // d
    return first.to(_kind(geometry))


def _kind(geometry: Geometry) -> torch.dtype:
    """The smallest dtype that can number the places of a window."""
    return torch.uint8 if geometry.places <= torch.iinfo(torch.uint8).max else torch.int64


def _indices(which: Tensor, geometry: Geometry, size: Sequence[int]) -> Tensor:
    """The place in the window as an index into the flattened image, as PyTorch gives it."""
    within, start = [0], torch.zeros((), dtype=torch.int64, device=which.device)
    for n, k, s, d, (before, _), outputs in zip(
        size, geometry.kernel, geometry.stride, geometry.dilation, geometry.padding, which.shape[2:], strict=True
    ):
        within = [index * n + r * d for index in within for r in range(k)]
        start = start.unsqueeze(-1) * n + (torch.arange(outputs, device=which.device) * s - before)
    table = torch.tensor(within, dtype=torch.int64, device=which.device)
    return table[which.long()] + start


def _max_pool(
    op: str,
    dims: int,
    input: Tensor,
    kernel_size: Size,
    stride: Size | None,
    padding: Size,
    dilation: Size,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    x, alone = batched(op, input, dims)
    if x.dtype is torch.bool or (dims == 1 and not x.is_floating_point()):
        raise NotImplementedError(f"{op}: expected numbers, got {describe(x)}; convert it with .float()")
    geometry = pooling_windows(op, x, kernel_size, stride, padding, dilation, ceil_mode)
    size = tuple(x.shape[2:])
    y, which = MaxPoolFunction.apply(widened(x) if dims == 3 else x, geometry, size)
    y = pooled(y, x, alone)
    return (y, pooled(_indices(which, geometry, size), x, alone)) if return_indices else y


def max_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window along a line.

    Args:
        input: tensor of shape ``(B, C, L)`` or ``(C, L)``.
        kernel_size: elements of a window.
        stride: elements from one window to the next; the kernel's size by default.
        padding: elements of -inf on each side, at most half the kernel.
        dilation: elements from one element of a window to the next.
        ceil_mode: whether a last window may stick out.
        return_indices: whether to return where the elements were too.

    Returns:
        A tensor with P outputs in place of L; with ``return_indices`` also a tensor of
        indices into the flattened line.

    Raises:
        TypeError: if the input is no tensor, or an option no integer.
        NotImplementedError: if the input's dtype has no order or is not floating point.
        RuntimeError: if the input's shape or an option does not fit.
    """
    op = "max_pool1d"
    return _max_pool(op, 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window of an image.

    Args:
        input: tensor of shape ``(B, C, H, W)`` or ``(C, H, W)``.
        kernel_size: pixels of a window.
        stride: pixels from one window to the next; the kernel's size by default.
        padding: pixels of -inf on each side, at most half the kernel.
        dilation: pixels from one element of a window to the next.
        ceil_mode: whether a last window may stick out.
        return_indices: whether to return where the elements were too.

    Returns:
        A tensor with P × Q outputs in place of H × W; with ``return_indices`` also a tensor of
        indices into the flattened image.

    Raises:
        TypeError: if the input is no tensor, or an option no integer.
        NotImplementedError: if the input's dtype has no order.
        RuntimeError: if the input's shape or an option does not fit.
    """
    op = "max_pool2d"
    return _max_pool(op, 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window of a volume.

    Args:
        input: tensor of shape ``(B, C, D, H, W)`` or ``(C, D, H, W)``.
        kernel_size: voxels of a window.
        stride: voxels from one window to the next; the kernel's size by default.
        padding: voxels of -inf on each side, at most half the kernel.
        dilation: voxels from one element of a window to the next.
        ceil_mode: whether a last window may stick out.
        return_indices: whether to return where the elements were too.

    Returns:
        A tensor with N × P × Q outputs in place of D × H × W; with ``return_indices`` also a tensor of
        indices into the flattened volume.

    Raises:
        TypeError: if the input is no tensor, or an option no integer.
        NotImplementedError: if the input's dtype has no order.
        RuntimeError: if the input's shape or an option does not fit.
    """
    op = "max_pool3d"
    return _max_pool(op, 3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


class _MaxPool(nn.Module):
    """What the modules share; they differ in the number of dimensions."""

    __constants__ = ["ceil_mode", "dilation", "kernel_size", "padding", "return_indices", "stride"]
    _dims: int

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Any:
        """Applies the functional form of its dimension."""
        return _max_pool(
            type(self).__name__,
            self._dims,
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )

    def extra_repr(self) -> str:
        """The options."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """`max_pool1d` as a module."""

    _dims = 1


class MaxPool2d(_MaxPool):
    """`max_pool2d` as a module."""

    _dims = 2


class MaxPool3d(_MaxPool):
    """`max_pool3d` as a module."""

    _dims = 3
