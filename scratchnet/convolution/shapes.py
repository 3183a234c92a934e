"""Argument checks and error messages of convolution and transposed convolution."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from scratchnet.arguments import autocasts, describe, floating, integer
from scratchnet.windows import Geometry, sizes

__all__ = ["Size", "check_channels", "check_covers", "window_geometry", "with_batch"]

Size = int | Sequence[int]
LETTERS = {1: "L", 2: "H, W", 3: "D, H, W"}
KERNEL = {1: "R", 2: "R, S", 3: "R, S, T"}


def with_batch(op: str, dims: int, input: Tensor, weight: Tensor, weight_is: str) -> tuple[Tensor, bool]:
    """Returns the input with a batch dimension, and whether it came without one.

    Raises:
        TypeError: if input or weight is not a tensor.
        NotImplementedError: if one of them is not floating point.
        RuntimeError: if one of them has the wrong number of dimensions, or a dimension other than the batch is empty.
    """
    x = floating(op, input, complex=True, integer=True)
    floating(op, weight, "weight", complex=True, integer=True)
    letters = LETTERS[dims]
    if x.dim() not in (dims + 1, dims + 2) or weight.dim() != dims + 2:
        raise RuntimeError(
            f"{op}: expected an input of shape (B, C, {letters}) or (C, {letters}) and a weight of shape "
            f"({weight_is}, {KERNEL[dims]}), got {describe(x)} and {describe(weight)}"
        )
    without_batch = x.dim() == dims + 2 and x.shape[0] == 0
    if (
        (0 in x.shape[-dims:] and not without_batch)
        or 0 in (weight.shape[0], *weight.shape[2:])
        or (weight.shape[1] == 0 and x.shape[-dims - 1])
    ):
        raise RuntimeError(
            f"{op}: expected an input in which only the batch may be empty and a weight with elements, "
            f"got {describe(x)} and {describe(weight)}"
        )
    unbatched = x.dim() == dims + 1
    return (x.unsqueeze(0) if unbatched else x), unbatched


def check_channels(
    op: str, x: Tensor, weight: Tensor, bias: Tensor | None, groups: int, channels: int, out: int
) -> None:
    """Checks that input, weight and bias match ``channels`` input and ``out`` output channels.

    Raises:
        TypeError: if the bias is not a tensor.
        RuntimeError: if shapes or dtypes do not match.
    """
    if weight.shape[0] % groups:
        raise RuntimeError(
            f"{op}: expected a weight whose first dimension divides into {groups} groups, got {describe(weight)}"
        )
    if x.shape[1] != channels:
        raise RuntimeError(
            f"{op}: expected {channels} input channels for {describe(weight)} in {groups} group(s), got {describe(x)}"
        )
    if bias is not None and floating(op, bias, "bias", complex=True, integer=True).shape != (out,):
        raise RuntimeError(f"{op}: expected a bias of shape ({out},), got {describe(bias)}")
    given = [x, weight] if bias is None else [x, weight, bias]
    if len({t.dtype for t in given}) > 1 and not autocasts(x):
        raise RuntimeError(
            f"{op}: expected input, weight and bias of one dtype, got {', '.join(map(describe, given))}"
        )


def window_geometry(
    op: str, kernel: Sequence[int], stride: Size, padding: str | Size, dilation: Size, groups: int
) -> Geometry:
    """Checks the options of windows; ``padding="same"`` adds an odd element at the end.

    Raises:
        TypeError: if an option is not an integer.
        RuntimeError: if an option is out of range.
    """
    dims = len(kernel)
    groups = integer(op, groups, "groups")
    if groups < 1:
        raise RuntimeError(f"{op}: expected a positive number of groups, got {groups}")
    steps, spaces = sizes(op, "stride", stride, dims, least=1), sizes(op, "dilation", dilation, dims, least=1)
    if padding == "same":
        if steps != (1,) * dims:
            raise RuntimeError(f"{op}: expected a stride of 1 with padding='same', got {steps}")
        needed = [d * (k - 1) for d, k in zip(spaces, kernel, strict=True)]
        return Geometry(tuple(kernel), steps, tuple((n // 2, n - n // 2) for n in needed), spaces)
    if isinstance(padding, str):
        if padding != "valid":
            raise RuntimeError(f"{op}: expected padding to be 'valid', 'same' or numbers, got {padding!r}")
        padding = 0
    margins = sizes(op, "padding", padding, dims, least=0)
    return Geometry(tuple(kernel), steps, tuple((p, p) for p in margins), spaces)


def check_covers(op: str, geometry: Geometry, size: Sequence[int]) -> None:
    """Checks that an image of this size has at least one window.

    Raises:
        RuntimeError: if it has none.
    """
    if min(geometry.outputs(size)) < 1:
        raise RuntimeError(
            f"{op}: expected an input of at least the kernel's size, got a kernel of {geometry.kernel} with dilation "
            f"{geometry.dilation} on {geometry.extent(size)} elements, padding included"
        )
