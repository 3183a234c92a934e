r"""Resampling: an image at another size, as a linear map along each dimension.

.. math::
    y_o = \sum_t w_{ot}\, x_{i(o,t)} \qquad \bar x_i = \sum_{o, t :\, i(o,t) = i} w_{ot}\, \bar y_o

Every mode reads each output from a few places of the input, its taps, with weights that depend on the sizes alone:
one tap for nearest, two for linear, four for cubic, a window for area and for antialiased modes. Maps along several
dimensions are applied one after the other. The adjoint, which the backward needs, is a map of the same kind: its taps
are the outputs that read an input. So backward gathers, as forward does, and never scatters.

Output o lies at :math:`(o + \tfrac{1}{2})\, s - \tfrac{1}{2}` of the input, with s the input's size over the
output's, or at :math:`o\,(n_{in} - 1) / (n_{out} - 1)` with ``align_corners``. Places are computed in the precision in
which PyTorch computes them, since rounding decides which pixel is nearest.

Shapes: H × W pixels in, P × Q pixels out.

Sources: R. G. Keys, "Cubic convolution interpolation for digital image processing", 1981; C. E. Duchon, "Lanczos
filtering in one and two dimensions", 1979.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from scratchnet.function import Function, dispatch, readable

__all__ = ["ResampleFunction", "Taps", "applied", "resampled_by_symbols", "resampling"]

Weighed = tuple[tuple[int, float], ...]  # inputs, each with its weight
Taps = tuple[Weighed, ...]  # what each output reads
Maps = tuple[tuple[int, Taps, Taps], ...]  # dimension, map and adjoint
Round = Callable[[float], float]

BLOCK = 32  # inputs of a matrix; with more there are too many zeros, with fewer products are small


class ResampleFunction(Function):
    """Maps linearly along some dimensions, one after the other. Saves nothing."""

    @staticmethod
    def forward(x: Tensor, *, maps: Maps) -> tuple[Tensor, tuple[()]]:
        for dim, taps, _ in maps:
            x = applied(x, dim, taps)
        return x, ()

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, maps: Maps) -> Tensor:
        for dim, _, adjoint in reversed(maps):
            grad = applied(grad, dim, adjoint)
        return grad

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, maps: Maps) -> Tensor:
        return ResampleFunction.forward(tangents[0], maps=maps)[0]


def _multiplied(x: Tensor, dim: int, taps: Taps) -> Tensor:
    """Multiplies blocks with matrices of weights: products with some zeros are faster than gathering tap by tap."""
    if not readable(x) or _most(taps) < 2 or not _finite(x):
        return NotImplemented
    shape = (*x.shape[:dim], len(taps), *x.shape[dim + 1 :])
    lines = x.reshape(math.prod(x.shape[:dim]), x.shape[dim], math.prod(x.shape[dim + 1 :]))
    y = x.new_empty((lines.shape[0], len(taps), lines.shape[2]))
    for outputs, inputs, matrix in _blocks(taps, x.dtype):
        if lines.shape[2] == 1:
            torch.mm(lines[:, inputs, 0], matrix.t(), out=y[:, outputs, 0])
        else:
            y[:, outputs] = torch.bmm(matrix.expand(len(lines), -1, -1), lines[:, inputs])
    return y.view(shape)


@lru_cache(maxsize=64)
def _blocks(taps: Taps, dtype: torch.dtype) -> list[tuple[slice, slice, Tensor]]:
    """Returns outputs, the inputs that they read, and the matrix of their weights."""
    blocks = []
    start = 0
    while start < len(taps):
        stop, low, high = start, math.inf, 0
        while stop < len(taps):
            places = [place for place, _ in taps[stop]]
            reach = min([low, *places]), max([high, *(place + 1 for place in places)])
            if stop > start and reach[1] - reach[0] > BLOCK:
                break
            (low, high), stop = reach, stop + 1
        first = int(min(low, high))
        rows = [[0.0] * (high - first) for _ in range(start, stop)]
        for row, each in zip(rows, taps[start:stop], strict=True):
            for place, weight in each:
                row[place - first] += weight
        blocks.append((slice(start, stop), slice(first, high), torch.tensor(rows, dtype=dtype, device="cpu")))
        start = stop
    return blocks


@dispatch(_multiplied)
def applied(x: Tensor, dim: int, taps: Taps) -> Tensor:
    """Gathers each tap and adds them up with their weights."""
    total = None
    for t in range(_most(taps)):
        # Outputs with fewer taps read their first one again and drop it; those with none read anything.
        read = [each[t][0] if t < len(each) else each[0][0] if each else 0 for each in taps]
        weights = [each[t][1] if t < len(each) else 0.0 for each in taps]
        part = x.index_select(dim, torch.tensor(read, device=x.device))
        if any(w != 1.0 for w in weights):
            shape = (-1, *(1,) * (x.dim() - dim - 1))
            part = part * torch.tensor(weights, dtype=x.dtype, device=x.device).view(shape)
        if any(t >= len(each) for each in taps):  # zero times infinity is NaN
            dropped = torch.tensor([t >= len(each) for each in taps], device=x.device)
            part = part.masked_fill(dropped.view(-1, *(1,) * (x.dim() - dim - 1)), 0)
        total = part if total is None else total + part
    return x.new_zeros(*x.shape[:dim], len(taps), *x.shape[dim + 1 :]) if total is None else total


def _most(taps: Taps) -> int:
    """The largest number of taps of an output."""
    return max([0, *[len(each) for each in taps]])


def _finite(x: Tensor) -> bool:
    """Whether zero times any element is zero."""
    return math.isfinite(x.sum().item())


def _adjoint(taps: Taps, size: int) -> Taps:
    """The map with inputs and outputs exchanged."""
    readers: list[list[tuple[int, float]]] = [[] for _ in range(size)]
    for output, each in enumerate(taps):
        for place, weight in each:
            if weight:
                readers[place].append((output, weight))
    return tuple(tuple(each) for each in readers)


def resampling(
    size: int,
    outputs: int,
    mode: str,
    align_corners: bool = False,
    factor: float | None = None,
    antialias: bool = False,
    precise: bool = False,
) -> tuple[Taps, Taps]:
    """Returns the map along a dimension of ``size`` elements and its adjoint, for the arguments of `interpolate`.

    ``factor`` is the number of outputs for each input if it is not the ratio of the sizes; ``precise`` computes
    places in float64, not in float32.
    """
    if mode == "area":
        windows = [range(o * size // outputs, -(-(o + 1) * size // outputs)) for o in range(outputs)]
        taps = tuple(tuple((i, 1 / len(window)) for i in window) for window in windows)
    elif mode in ("nearest", "nearest-exact"):
        # The built-in computes these places in float32 whatever the dtype.
        step = _single(1 / factor) if factor else _single(size / outputs)
        offset = 0.5 if mode == "nearest-exact" else 0.0
        taps = tuple((((min(int(_single((o + offset) * step)), size - 1)), 1.0),) for o in range(outputs))
    else:
        rounded: Round = float if precise else _single
        if align_corners:
            step = rounded((size - 1) / (outputs - 1)) if outputs > 1 else 0.0
        else:
            step = rounded(1 / factor) if factor else rounded(size / outputs)
        kernel = _smooth if antialias else _cubic if mode == "cubic" else _linear
        taps = tuple(kernel(o, step, size, align_corners, mode, rounded) for o in range(outputs))
    return taps, _adjoint(taps, size)


def resampled_by_symbols(
    x: Tensor, dim: int, outputs: Any, mode: str, align_corners: bool, factor: float | None, precise: bool
) -> Tensor:
    """Resamples one dimension in a graph that holds for other sizes too: places and weights are tensors in it."""
    size: Any = x.shape[dim]
    long = [n.double() if isinstance(n, Tensor) else n for n in (size, outputs)]
    nearest = mode.startswith("nearest")
    o = torch.arange(outputs, device=x.device).to(torch.float64 if precise and not nearest else torch.float32)
    if align_corners:
        place = o * ((long[0] - 1) / (long[1] - 1) if outputs > 1 else 0.0)
    else:
        step = 1 / factor if factor else long[0] / long[1]
        half = 0.0 if mode == "nearest" else 0.5
        place = (o + half) * step - (0.0 if nearest else 0.5)
    place = place.clamp(min=0) if mode == "linear" else place
    low = place.floor()
    share = (place - low).to(x.dtype)
    weights: list[Any] = [1.0]
    if mode == "linear":
        weights = [1 - share, share]
    elif mode == "cubic":
        far, near = 1 + share, 2 - share
        weights = [((5 - far) * far - 8) * 0.75 * far + 3, *[(1.25 * d - 2.25) * d * d + 1 for d in (share, 1 - share)],
                   ((5 - near) * near - 8) * 0.75 * near + 3]  # fmt: skip
    total = None
    for i, weight in enumerate(weights, -1 if mode == "cubic" else 0):
        part = x.index_select(dim, (low.long() + i).clamp(min=0).clamp(max=size - 1))
        if isinstance(weight, Tensor):
            part = part * weight.view(-1, *(1,) * (x.dim() - dim - 1))
        total = part if total is None else total + part
    assert total is not None
    return total


def _single(x: float) -> float:
    """The nearest float32, by Veltkamp's splitting."""
    stretched = x * (2.0**29 + 1)
    return stretched - (stretched - x)


def _place(o: int, step: float, aligned: bool, rounded: Round) -> float:
    """Returns the place of an output in the input."""
    return rounded(o * step) if aligned else rounded(rounded((o + 0.5) * step) - 0.5)


def _linear(o: int, step: float, size: int, aligned: bool, mode: str, rounded: Round) -> Weighed:
    """The two neighbors, weighed by how near they are."""
    place = max(_place(o, step, aligned, rounded), 0.0)
    low = min(int(place), size - 1)
    share = min(max(place - low, 0.0), 1.0)
    return ((low, 1 - share), (min(low + 1, size - 1), share))


def _cubic(o: int, step: float, size: int, aligned: bool, mode: str, rounded: Round) -> Weighed:
    """Four neighbors, those beyond the edge read at the edge."""
    place = _place(o, step, aligned, rounded)
    low = math.floor(place)
    share = place - low
    return tuple((min(max(low + i, 0), size - 1), _keys(abs(share - i), -0.75)) for i in range(-1, 3))


def _keys(distance: float, a: float) -> float:
    """The cubic convolution kernel, with slope a at distance 1."""
    if distance < 1:
        return ((a + 2) * distance - (a + 3)) * distance**2 + 1
    return a * (((distance - 5) * distance + 8) * distance - 4) if distance < 2 else 0.0


def _lanczos(distance: float) -> float:
    """The sine over its argument, windowed by the middle of one three times as wide."""
    if not 0 < distance < 3:
        return float(distance == 0)
    angle = math.pi * distance
    return math.sin(angle) / angle * math.sin(angle / 3) / (angle / 3)


# Kernels of antialiasing, and how far they reach.
SMOOTH: dict[str, tuple[Callable[[float], float], float]] = {
    "linear": (lambda distance: max(1 - distance, 0.0), 1.0),
    "cubic": (lambda distance: _keys(distance, -0.5), 2.0),
    "lanczos": (_lanczos, 3.0),
}


def _smooth(o: int, step: float, size: int, aligned: bool, mode: str, rounded: Round) -> Weighed:
    """The kernel stretched over all inputs that one output stands for, with weights that sum to one."""
    stretch = max(step, 1.0)
    kernel, reach = SMOOTH[mode]
    reach *= stretch
    center = step * (o + 0.5)
    start, end = max(int(center - reach + 0.5), 0), min(int(center + reach + 0.5), size)
    weights = [kernel(abs((i - center + 0.5) / stretch)) for i in range(start, end)]
    total = sum(weights)
    return tuple((i, w / total if total else w) for i, w in zip(range(start, end), weights, strict=True))
