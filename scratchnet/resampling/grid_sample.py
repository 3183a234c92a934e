r"""Grid sampling: an image read at the places that a grid names, which need not be pixels.

.. math::
    y_p = \sum_{\tau} x_{i(\tau)} \prod_d w_{\tau_d}(u_{pd}) \qquad
    \bar x_i = \sum_{p, \tau :\, i(\tau) = i} \bar y_p \prod_d w_{\tau_d} \qquad
    \bar u_{pd} = \sum_{\tau} \langle \bar y_p, x_{i(\tau)} \rangle\, w'_{\tau_d} \prod_{e \ne d} w_{\tau_e}

Along each dimension a place u is read from a few pixels, its taps: one for nearest, two for bilinear, four for
bicubic. Their weights w are polynomials in the distance to u, and so are the slopes w'. The backward is made of
differentiable tensor operations, so that it has a derivative itself, also by the grid.

A grid runs from -1 to 1: the centers of the first and last pixel with ``align_corners``, else their outer edges.
Beyond them lie zeros, the pixel at the border, or the image mirrored. Bilinear and nearest move the place inside
first; bicubic moves each tap. PyTorch's conventions: the slope is 0 where the place is moved to the border, and on it;
halves go to the even pixel. Where a place is NaN or infinite PyTorch's output is NaN in some modes, and its backward
may end the process; here NaN is the first pixel, infinity the border, and with padding by zeros both are outside.

Shapes: N samples, C channels, H × W pixels; P × Q places. The last dimension of the grid is x, y (and z): it begins
with the image's last dimension.

Sources: M. Jaderberg, K. Simonyan, A. Zisserman and K. Kavukcuoglu, "Spatial transformer networks", 2015; R. G. Keys,
"Cubic convolution interpolation for digital image processing", 1981.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scratchnet.arguments import describe, floating, overridable, tensor
from scratchnet.function import Function, chunked, rows_in_cache

__all__ = ["AffineGridFunction", "GridSampleFunction", "affine_grid", "grid_sample"]

KEYS = -0.75  # the slope of the cubic kernel at distance 1
MODES = ("bilinear", "nearest", "bicubic")
PADDINGS = ("zeros", "border", "reflection")


class Tap(NamedTuple):
    """One pixel along one dimension for each place, (N, P): its index, and whether it exists."""

    pixel: Tensor
    inside: Tensor
    weight: Tensor
    slope: Tensor


class Corner(NamedTuple):
    """One pixel of the flattened image for each place; the weight's derivative by each coordinate of the place."""

    pixel: Tensor
    inside: Tensor
    weight: Tensor
    slopes: tuple[Tensor, ...]

    def read(self, flat: Tensor) -> Tensor:
        """Gathers from images (N, C, H · W); 0 outside."""
        index = self.pixel.unsqueeze(1).expand(-1, flat.shape[1], -1)
        return flat.gather(2, index).masked_fill(~self.inside.unsqueeze(1), 0)


class GridSampleFunction(Function):
    """Reads images (N, C, H, W) at places (N, P, Q, 2). Saves both."""

    @staticmethod
    def forward(
        x: Tensor, grid: Tensor, *, mode: str, padding: str, aligned: bool
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        size = _images_in_cache(x, grid)
        return chunked(_read, x, grid, size=size, mode=mode, padding=padding, aligned=aligned), (x, grid)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], **options: Any
    ) -> tuple[Tensor | None, Tensor | None]:
        size = _images_in_cache(*saved)
        gradients: tuple[Tensor, Tensor] = chunked(_gradients, grad, *saved, size=size, needs=needs, **options)
        return gradients

    @staticmethod
    def jvp(
        tangents: Sequence[Tensor], saved: Sequence[Tensor], *, mode: str, padding: str, aligned: bool
    ) -> Tensor:
        x, grid = saved
        flat, pushes = x.flatten(2), tangents[1].flatten(1, -2).unbind(-1)[::-1]
        y = _read(tangents[0], grid, mode=mode, padding=padding, aligned=aligned)
        for corner in _corners(x, grid, mode, padding, aligned) if mode != "nearest" else ():
            for slope, push in zip(corner.slopes, pushes, strict=True):
                y = y + (corner.read(flat) * (slope * push).unsqueeze(1)).reshape(y.shape)
        return y


def _images_in_cache(x: Tensor, grid: Tensor) -> int:
    """The number of images of which a tap of all places stays in the cache."""
    return rows_in_cache(x.shape[1] * max(math.prod(x.shape[2:]), math.prod(grid.shape[1:-1])))


def _read(x: Tensor, grid: Tensor, *, mode: str, padding: str, aligned: bool) -> Tensor:
    flat, y = x.flatten(2), None
    for corner in _corners(x, grid, mode, padding, aligned):
        part = corner.read(flat) * corner.weight.unsqueeze(1)
        y = part if y is None else y + part
    assert y is not None
    return y.reshape(*x.shape[:2], *grid.shape[1:-1])


def _gradients(
    grad: Tensor, x: Tensor, grid: Tensor, *, needs: Sequence[bool], mode: str, padding: str, aligned: bool
) -> tuple[Tensor, Tensor]:
    """The gradients of images and places; zeros if not needed."""
    flat = x.flatten(2)
    g = grad.reshape(*flat.shape[:2], math.prod(grid.shape[1:-1]))
    grad_x, grad_grid = torch.zeros_like(flat), [torch.zeros_like(grid[..., 0].flatten(1))] * (x.dim() - 2)
    base = None
    for corner in _corners(x, grid, mode, padding, aligned):
        if needs[0]:
            part = (g * corner.weight.unsqueeze(1)).masked_fill(~corner.inside.unsqueeze(1), 0)
            grad_x = grad_x.scatter_add(2, corner.pixel.unsqueeze(1).expand_as(part), part)
        if needs[1] and mode != "nearest":
            pixels = corner.read(flat)
            # The slopes add up to 0, so that any base will do; differences of pixels keep their digits.
            base = pixels.detach().masked_fill(~pixels.isfinite(), 0) if base is None else base
            match = (g * (pixels - base)).sum(1)
            grad_grid = [total + match * slope for total, slope in zip(grad_grid, corner.slopes, strict=True)]
    return grad_x.reshape(x.shape), torch.stack(grad_grid[::-1], -1).reshape(grid.shape)


def _corners(x: Tensor, grid: Tensor, mode: str, padding: str, aligned: bool) -> Iterator[Corner]:
    """The pixels that each place reads: one tap of each dimension."""
    size, along = x.shape[2:], grid.flatten(1, -2).unbind(-1)[::-1]
    for taps in product(*(list(_taps(u, n, mode, padding, aligned)) for u, n in zip(along, size, strict=True))):
        index, inside, weight, slopes = taps[0].pixel, taps[0].inside, taps[0].weight, [taps[0].slope]
        for tap, n in zip(taps[1:], size[1:], strict=True):
            index, inside = index * n + tap.pixel, inside & tap.inside
            slopes = [*(slope * tap.weight for slope in slopes), weight * tap.slope]
            weight = weight * tap.weight
        yield Corner(index, inside, weight, tuple(slopes))


def _taps(u: Tensor, n: int, mode: str, padding: str, aligned: bool) -> Iterator[Tap]:
    """The pixels that places read along a dimension of n."""
    place = (u + 1) / 2 * (n - 1) if aligned else ((u + 1) * n - 1) / 2
    scale: Tensor | float = (n - 1) / 2 if aligned else n / 2
    if mode != "bicubic":
        place, turn = _moved(place, n, padding, aligned)
        scale = turn * scale
    if mode == "nearest":
        yield _tap(torch.round(place), n, torch.ones_like(place), torch.zeros_like(place))
        return
    low = torch.floor(place)
    share = torch.where(torch.isfinite(place), place - low, 0.0)
    if mode == "bilinear":
        yield _tap(low, n, 1 - share, torch.zeros_like(share) - scale)
        yield _tap(low + 1, n, share, torch.zeros_like(share) + scale)
        return
    a = KEYS
    for offset, d, sign in ((-1, share + 1, 1), (0, share, 1), (1, 1 - share, -1), (2, 2 - share, -1)):
        if offset in (0, 1):
            weight, slope = ((a + 2) * d - (a + 3)) * d * d + 1, (3 * (a + 2) * d - 2 * (a + 3)) * d
        else:
            weight, slope = a * (((d - 5) * d + 8) * d - 4), a * ((3 * d - 10) * d + 8)
        yield _tap(_moved(low + offset, n, padding, aligned)[0], n, weight, slope * (sign * scale))


def _tap(pixel: Tensor, n: int, weight: Tensor, slope: Tensor) -> Tap:
    inside = (pixel >= 0) & (pixel < n)
    return Tap(torch.where(inside, pixel, 0.0).to(torch.int64), inside, weight, slope)


def _moved(place: Tensor, n: int, padding: str, aligned: bool) -> tuple[Tensor, Tensor]:
    """Places moved inside an image of n pixels, and the slope of moving them: 1, -1, or 0 at the border."""
    turn = torch.ones_like(place)
    if padding == "zeros":
        return place, turn
    if padding == "reflection":
        first, span = (0.0, n - 1) if aligned else (-0.5, n)
        if span == 0:
            return torch.zeros_like(place), torch.zeros_like(place)
        turn = torch.where(place < first, -1.0, turn)
        away = (place - first) * turn
        odd = torch.remainder(torch.floor(away / span), 2) != 0
        rest = torch.fmod(away, span)
        turn = torch.where(odd, -turn, turn)
        place = torch.where(odd, span - rest, rest) + first
    before, after = ~(place > 0), place >= n - 1
    moved = torch.where(before, 0.0, torch.where(after, float(n - 1), place))
    return moved, turn.masked_fill(before | after, 0)


@overridable
def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Reads images or volumes at the places of a grid.

    Args:
        input: floating-point tensor of shape ``(N, C, H, W)`` or ``(N, C, D, H, W)``.
        grid: places from -1 to 1, x before y before z, of shape ``(N, P, Q, 2)`` or ``(N, O, P, Q, 3)``.
        mode: ``"bilinear"`` (of volumes trilinear), ``"nearest"``, or ``"bicubic"`` for images.
        padding_mode: what lies outside: ``"zeros"``, the pixel at the ``"border"``, or the ``"reflection"``.
        align_corners: whether -1 and 1 are the centers of the corner pixels, not their outer edges. Leaving it out
            means False, and warns as PyTorch does.

    Returns:
        A tensor of shape ``(N, C, P, Q)`` or ``(N, C, O, P, Q)``.

    Raises:
        TypeError: if an argument is no tensor.
        ValueError: if a mode is unknown.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if shapes, dtypes or mode do not fit each other.
    """
    op = "grid_sample"
    if mode not in MODES or padding_mode not in PADDINGS:
        raise ValueError(
            f"{op}: expected a mode of {MODES} and a padding_mode of {PADDINGS}, got {mode!r} and {padding_mode!r}"
        )
    aligned = _aligned(op, align_corners)
    dims = floating(op, input).dim() - 2
    fits = (
        dims in (2, 3)
        and tensor(op, grid, "grid").dim() == dims + 2
        and grid.shape[0] == input.shape[0]
        and grid.shape[-1] == dims
    )
    if not fits or grid.dtype is not input.dtype:
        raise RuntimeError(
            f"{op}: expected input (N, C, H, W) with grid (N, P, Q, 2), or (N, C, D, H, W) with (N, O, P, Q, 3), of "
            f"one dtype, got {describe(input)} and {describe(grid)}"
        )
    if mode == "bicubic" and dims == 3:
        raise RuntimeError(f"{op}: expected an image with mode 'bicubic', got {describe(input)}")
    if min(input.shape[2:]) < 1:
        raise RuntimeError(f"{op}: expected an input with pixels, got {describe(input)}")
    return GridSampleFunction.apply(input, grid, mode, padding_mode, aligned)


def _aligned(op: str, align_corners: bool | None) -> bool:
    if align_corners is None and not torch.compiler.is_compiling():
        warnings.warn(f"{op}: expected align_corners, got none; taking False, write it out", stacklevel=4)
    return bool(align_corners)


class AffineGridFunction(Function):
    """Maps the centers of all pixels affinely, for each sample. Saves nothing."""

    autocast = "low_precision"

    @staticmethod
    def forward(theta: Tensor, *, size: tuple[int, ...], aligned: bool) -> tuple[Tensor, tuple[()]]:
        places = torch.matmul(_centers(theta, size, aligned), theta.mT)
        return places.reshape(theta.shape[0], *size, len(size)), ()

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, size: tuple[int, ...], aligned: bool
    ) -> Tensor:
        upstream = grad.reshape(grad.shape[0], math.prod(size), len(size))
        return torch.matmul(_centers(grad, size, aligned).t(), upstream).mT

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], **options: Any) -> Tensor:
        return AffineGridFunction.forward(tangents[0], **options)[0]


def _centers(like: Tensor, size: tuple[int, ...], aligned: bool) -> Tensor:
    """The homogeneous coordinates of the pixels' centers, x first: (H · W, 3)."""
    ones, columns = torch.ones(size, dtype=like.dtype, device=like.device), []
    for d, n in enumerate(size):
        steps = 2 * torch.arange(n, dtype=like.dtype, device=like.device) - (n - 1)
        along = steps / (max(n - 1, 1) if aligned else n)
        columns.append(along.view(-1, *(1,) * (len(size) - 1 - d)).expand(size))
    return torch.stack([*columns[::-1], ones], -1).flatten(0, -2)


@overridable
def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """Makes the grid with which `grid_sample` maps images or volumes affinely.

    Args:
        theta: floating-point maps of shape ``(N, 2, 3)`` or ``(N, 3, 4)``, from places of the output to the input.
        size: the output's, ``(N, C, H, W)`` or ``(N, C, D, H, W)``.
        align_corners: as for `grid_sample`; with True a dimension of one pixel has it at 0.

    Returns:
        A tensor of shape ``(N, H, W, 2)`` or ``(N, D, H, W, 3)``.

    Raises:
        TypeError: if ``theta`` is no tensor.
        ValueError: if it is not floating point or has another shape, or a size is not positive.
        NotImplementedError: if there are not four or five sizes.
    """
    op, sizes = "affine_grid", tuple(size)
    aligned = _aligned(op, align_corners)
    floating(op, theta, "theta", error=ValueError)
    dims = len(sizes) - 2
    if dims not in (2, 3):
        raise NotImplementedError(f"{op}: expected a size (N, C, H, W) or (N, C, D, H, W), got {sizes}")
    if theta.dim() != 3 or theta.shape[1:] != (dims, dims + 1):
        raise ValueError(
            f"{op}: expected theta of shape (N, {dims}, {dims + 1}) for {sizes}, got {describe(theta)}"
        )
    if theta.shape[0] != sizes[0]:
        raise RuntimeError(f"{op}: expected one map for each of {sizes[0]} samples, got {describe(theta)}")
    if min(sizes) < 1:
        raise ValueError(f"{op}: expected sizes of at least 1, got {sizes}")
    return AffineGridFunction.apply(theta, sizes[2:], aligned)
