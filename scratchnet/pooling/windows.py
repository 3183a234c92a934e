"""Windows of pooling ops, and their argument checks.

Windows start inside the padded input. With ``ceil_mode`` the last window may extend beyond it if it starts inside the
input or the padding before it; elements beyond are ignored.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

from scratchnet.arguments import autocasts, describe, overridable, tensor
from scratchnet.function import LOW_PRECISION
from scratchnet.layout import as_images, is_channels_last, laid_out
from scratchnet.windows import Geometry, sizes

__all__ = [
    "Counts",
    "Size",
    "divisor",
    "finish",
    "form",
    "pooling_geometry",
    "returns_channels_last",
    "upcast",
    "window_counts",
    "with_batch",
]

P = ParamSpec("P")
R = TypeVar("R")
INPUTS = {
    1: "sequences (B, C, L) or (C, L)",
    2: "images (B, C, H, W) or (C, H, W)",
    3: "volumes (B, C, D, H, W) or (C, D, H, W)",
}
Counts = tuple[int | tuple[int, ...], ...]
Size = int | Sequence[int]


def form(op: Callable[Concatenate[int, P], R], dims: int) -> Callable[P, R]:
    """Returns the functional form of a pooling op for one number of dimensions, which is the op's first parameter."""

    @wraps(op)
    def pooled(*args: P.args, **kwargs: P.kwargs) -> R:
        return op(dims, *args, **kwargs)

    signature = inspect.signature(op)
    parameters = list(signature.parameters.values())[1:]
    # What `inspect.signature` reads; functions have no such attribute in their type.
    pooled.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    pooled.__name__ = pooled.__qualname__ = f"{op.__name__}{dims}d"
    summary, _, rest = (inspect.getdoc(op) or "").partition(".\n")
    lines = [line for line in rest.splitlines(keepends=True) if "dims:" not in line]
    pooled.__doc__ = f"{summary} of {INPUTS[dims]}.\n{''.join(lines)}"
    return overridable(pooled)


def with_batch(op: str, input: Tensor, dims: int, *, may_be_empty: int = 1) -> tuple[Tensor, bool]:
    """Returns the input with a batch dimension, and whether it came without one.

    Raises:
        TypeError: if it is not a tensor.
        RuntimeError: if it has the wrong number of dimensions, or one after the first ``may_be_empty`` is empty.
    """
    x = tensor(op, input)
    if x.dim() not in (dims + 1, dims + 2):
        shapes = INPUTS[dims].partition(" ")[2]
        raise RuntimeError(f"{op}: expected an input of shape {shapes}, got {describe(x)}")
    unbatched = x.dim() == dims + 1
    x = x.unsqueeze(0) if unbatched else x
    if 0 in x.shape[may_be_empty:]:
        raise RuntimeError(f"{op}: expected an input in which only the batch may be empty, got {describe(input)}")
    return x, unbatched


def pooling_geometry(
    op: str,
    x: Tensor,
    kernel_size: Size,
    stride: Size | None,
    padding: Size,
    dilation: Size,
    ceil_mode: bool,
    prefix: str = "",
) -> Geometry:
    """Checks the options of windows; a window that extends beyond the input widens the padding at the end.

    Error messages put ``prefix`` before the names of options.

    Raises:
        TypeError: if an option is not an integer.
        RuntimeError: if an option is out of range, or no window fits.
    """
    dims = x.dim() - 2
    kernel = sizes(op, f"{prefix}kernel_size", kernel_size, dims, least=1)
    unset = stride is None or (isinstance(stride, list | tuple) and len(stride) == 0)
    steps = kernel if unset or stride is None else sizes(op, f"{prefix}stride", stride, dims, least=1)
    margins = sizes(op, f"{prefix}padding", padding, dims, least=0)
    spacing = sizes(op, f"{prefix}dilation", dilation, dims, least=1)
    edges = []
    for n, k, s, p, d in zip(x.shape[2:], kernel, steps, margins, spacing, strict=True):
        if 2 * p > (k - 1) * d + 1:
            raise RuntimeError(
                f"{op}: expected {prefix}padding of at most half the kernel, got padding {padding} for a kernel of "
                f"{kernel_size} with dilation {dilation}"
            )
        last = n + 2 * p - d * (k - 1) - 1  # the start of the last whole window, in the padded image
        outputs = last // s + 1
        if ceil_mode:
            outputs = _minimum((last + s - 1) // s, (n + p - 1) // s) + 1
        if outputs < 1:
            raise RuntimeError(
                f"{op}: expected an input of at least the kernel's size, got a kernel of {kernel_size} with "
                f"dilation {dilation} and padding {padding} for {describe(x)}"
            )
        reach = (outputs - 1) * s + d * (k - 1) + 1
        edges.append((p, -_minimum(n + p - reach, -p) if ceil_mode else p))
    return Geometry(kernel, steps, tuple(edges), spacing)


def divisor(counts: Counts, like: Tensor) -> Tensor | int:
    """Returns the counts of the windows, (P, Q), or one number if they are equal."""
    total: Tensor | int = 1
    for count in counts:
        along: Tensor | int
        if not isinstance(count, tuple):
            along = count
        else:
            outputs, kernel, stride, margin, low, high = count
            starts = torch.arange(outputs, device=like.device) * stride - margin
            along = ((starts + kernel).clamp(max=high) - starts.clamp(min=low)).to(like.dtype)
        total = (total.unsqueeze(-1) if isinstance(total, Tensor) else total) * along
    return total


def window_counts(geometry: Geometry, size: Sequence[int], margins: Sequence[int], include_pad: bool) -> Counts:
    """Returns how `divisor` counts the elements of windows along each dimension, with or without padding.

    A count is one number if the windows have equal counts; otherwise the number of windows, kernel, stride, padding,
    and the first and last element to count.
    """
    return tuple(
        k
        if isinstance(padding[1], int)  # a traced size is not
        and padding == (p, p)
        and (include_pad or not p)
        else (m, k, s, p, *((-p, n + p) if include_pad else (0, n)))
        for n, m, k, s, p, padding in zip(
            size, geometry.outputs(size), geometry.kernel, geometry.stride, margins, geometry.padding, strict=True
        )
    )


def _minimum(a: int, b: int) -> int:
    """Returns the smaller number without a comparison, whose outcome a trace would fix for all sizes."""
    return (a + b - abs(a - b)) // 2


def returns_channels_last(x: Tensor) -> bool:
    """Returns whether most pooling ops return channels last: for such sequences and images, but not for volumes."""
    return x.dim() < 5 and is_channels_last(as_images(x))


def finish(y: Tensor, channels_last: bool, unbatched: bool) -> Tensor:
    """Returns the output in its memory format, without the batch dimension that `with_batch` added."""
    y = laid_out(y, channels_last)
    return y.squeeze(0) if unbatched else y


def upcast(x: Tensor) -> Tensor:
    """Converts to float32 under autocast on a CPU, for the pooling ops that PyTorch runs in float32 there."""
    low = x.device.type == "cpu" and x.dtype in LOW_PRECISION and autocasts(x)
    return x.float() if low else x
