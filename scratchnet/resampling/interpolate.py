"""Interpolation of lines, images and volumes to another size: which map `resampling` applies, and to what size.

Source: as in `scratchnet.resampling.resampling`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from scratchnet.arguments import describe, floating, overridable, tensor
from scratchnet.layout import as_images, is_channels_last
from scratchnet.pooling.adaptive_pooling import AdaptiveAvgPoolFunction
from scratchnet.resampling.byte_images import resampled_bytes
from scratchnet.resampling.resampling import ResampleFunction, resampled_by_symbols, resampling

__all__ = ["interpolate", "upsample", "upsample_bilinear", "upsample_nearest"]

Size = int | Sequence[int]
Factor = float | Sequence[float]
KERNELS = {
    "linear": ("linear", 1),
    "bilinear": ("linear", 2),
    "trilinear": ("linear", 3),
    "bicubic": ("cubic", 2),
    "lanczos": ("lanczos", 2),
}
PLAIN = ("nearest", "nearest-exact", "area")
_remembered = lru_cache(maxsize=64)(resampling)


@overridable
def interpolate(
    input: Tensor,
    size: Size | None = None,
    scale_factor: Factor | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Resamples the spatial dimensions.

    Args:
        input: tensor of shape ``(B, C, W)``, ``(B, C, H, W)`` or ``(B, C, D, H, W)``; of floating point, or of bytes
            (``uint8``) where the input is an image whose mode is not area; of any dtype where the mode is nearest.
        size: the sizes of the output.
        scale_factor: outputs for each input, instead of ``size``.
        mode: ``"nearest"``, ``"nearest-exact"``, ``"area"``; ``"linear"`` for lines, ``"bilinear"``,
            ``"bicubic"`` and ``"lanczos"`` for images, ``"trilinear"`` for volumes.
        align_corners: whether the centres of the corner pixels, not their outer edges, keep their place; not for the
            first three modes and lanczos.
        recompute_scale_factor: whether the places follow from the output's sizes, not from ``scale_factor``.
        antialias: whether bilinear and bicubic average over all of the input where the output is smaller, which
            lanczos must.

    Returns:
        A tensor with other spatial sizes.

    Raises:
        TypeError: if the input is no tensor, or a size no integer.
        ValueError: if options exclude each other, or have the wrong length.
        NotImplementedError: if the mode is unknown, or not for this dtype or number of dimensions.
        RuntimeError: if a size is not positive.
    """
    op = "interpolate"
    dims = tensor(op, input).dim() - 2
    if mode in PLAIN and align_corners is not None:
        raise ValueError(f"{op}: expected no align_corners with mode {mode!r}, got {align_corners}")
    outputs, factors = _sizes(op, input, dims, size, scale_factor, mode, bool(recompute_scale_factor))
    if antialias and not (mode in ("bilinear", "bicubic", "lanczos") and dims == 2):
        raise ValueError(
            f"{op}: expected mode 'bilinear', 'bicubic' or 'lanczos' of images with antialias, got {mode!r}"
        )
    if mode == "lanczos" and dims == 2 and (align_corners or not antialias):
        raise ValueError(f"{op}: expected mode 'lanczos' with antialias=True and without align_corners")
    kernel, wanted = KERNELS.get(mode, (mode, dims))
    if mode not in KERNELS and mode not in PLAIN or not 1 <= dims <= 3 or wanted != dims:
        raise NotImplementedError(
            f"{op}: expected 'nearest', 'nearest-exact' or 'area', or 'linear' for lines (B, C, W), 'bilinear' or "
            f"'bicubic' or 'lanczos' for images (B, C, H, W), 'trilinear' for volumes (B, C, D, H, W), got {mode!r} "
            f"for {describe(input)}"
        )
    of_bytes = input.dtype is torch.uint8
    weighs_bytes = of_bytes and dims == 2 and mode in KERNELS
    if not weighs_bytes and not mode.startswith("nearest"):  # which takes elements as they are
        floating(op, input, f"input of mode {mode!r}")
    whole = all(n == 1 for n in outputs)
    averages_nothing = mode == "area" and min(outputs) >= 0 and (dims < 3 or whole or input.shape[1] > 0)
    if not averages_nothing and (min(outputs) < 1 or 0 in input.shape[1:]) or 0 in input.shape[2:]:
        raise RuntimeError(
            f"{op}: expected sizes of at least 1 of all but the batch, got {describe(input)} and outputs {outputs}"
        )
    precise = input.dtype is torch.float64 or weighs_bytes
    # A strict export shows its symbols as integers, and would fix those that become places.
    by_symbols = mode != "area" and torch.compiler.is_dynamo_compiling() and torch.compiler.is_exporting()
    by_symbols = by_symbols or not all(isinstance(n, int) for n in (*input.shape[2:], *outputs))
    if by_symbols and not (antialias or weighs_bytes):
        if mode == "area":
            return AdaptiveAvgPoolFunction.apply(input, tuple(input.shape[2:]), tuple(outputs), False)
        x = input
        for dim, (m, factor) in enumerate(zip(outputs, factors, strict=True), 2):
            x = resampled_by_symbols(x, dim, m, kernel, bool(align_corners), factor, precise)
        return x
    make = resampling if torch.compiler.is_compiling() else _remembered
    last = is_channels_last(as_images(input) if mode == "area" else input)
    maps = tuple(
        (dim, *make(n, m, kernel, bool(align_corners), factor, antialias, precise))
        for dim, (n, m, factor) in enumerate(zip(input.shape[2:], outputs, factors, strict=True), 1 if last else 2)
        if n != m or factor not in (None, 1.0)
    )
    # The channels, which no map concerns, as the last dimension, so that each map finds memory in its order.
    x = input.movedim(1, -1) if last else input
    y = resampled_bytes(x, maps) if weighs_bytes else ResampleFunction.apply(x, maps)
    return y.movedim(-1, 1) if last else y


def _sizes(
    op: str, x: Tensor, dims: int, size: Size | None, scale_factor: Factor | None, mode: str, recompute: bool
) -> tuple[list[int], list[float | None]]:
    """The output's sizes, and the factors where places follow from them."""
    if (size is None) == (scale_factor is None):
        raise ValueError(f"{op}: expected either size or scale_factor, got {size} and {scale_factor}")
    nothing: list[float | None] = [None] * dims
    if size is not None:
        if recompute:
            raise ValueError(f"{op}: expected no recompute_scale_factor together with size, got both")
        sizes: list[Any] = list(size) if isinstance(size, list | tuple) else [size] * dims
        if len(sizes) != dims:
            raise ValueError(f"{op}: expected {dims} sizes for {describe(x)}, got {size}")
        return sizes, nothing
    factors: list[Any] = list(scale_factor) if isinstance(scale_factor, list | tuple) else [scale_factor] * dims
    if len(factors) != dims:
        raise ValueError(f"{op}: expected {dims} scale factors for {describe(x)}, got {scale_factor}")
    if any(not isinstance(f, torch.SymFloat) and not -1e9 < f < 1e9 for f in factors):
        raise RuntimeError(f"{op}: expected scale factors below 1e9, got {scale_factor}; choose smaller ones")
    sizes = [
        (n.double() * f).long() if isinstance(n, Tensor) else math.floor(n * f)
        for n, f in zip(x.shape[2:], factors, strict=True)
    ]
    return sizes, nothing if recompute or mode == "area" else factors


@overridable
def upsample(
    input: Tensor,
    size: Size | None = None,
    scale_factor: Factor | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """`interpolate` under its old name, which warns; arguments, result and errors are the same."""
    _deprecated("upsample")
    return interpolate(input, size, scale_factor, mode, align_corners)


@overridable
def upsample_nearest(input: Tensor, size: Size | None = None, scale_factor: Factor | None = None) -> Tensor:
    """`interpolate` with mode nearest under its old name, which warns."""
    _deprecated("upsample_nearest")
    return interpolate(input, size, scale_factor, mode="nearest")


@overridable
def upsample_bilinear(input: Tensor, size: Size | None = None, scale_factor: Factor | None = None) -> Tensor:
    """`interpolate` with mode bilinear and aligned corners under its old name, which warns."""
    _deprecated("upsample_bilinear")
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)


def _deprecated(name: str) -> None:
    if not torch.compiler.is_compiling():
        warnings.warn(f"{name}: deprecated, as in PyTorch; call interpolate instead", stacklevel=4)
