"""What poolings share: how their windows lie, and what they expect of their arguments.

Windows start inside the padded input. With ``ceil_mode`` a last window may reach beyond it, as long as it starts
inside the input or the padding before it; what it sees there counts for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from scratchnet.arguments import autocasts, describe, tensor
from scratchnet.function import LOW_PRECISION
from scratchnet.layout import as_images, is_channels_last, laid_out
from scratchnet.windows import Geometry, sizes

__all__ = ["Size", "with_batch", "returns_channels_last", "finish", "pooling_geometry", "upcast"]

Size = int | Sequence[int]


def with_batch(op: str, input: Tensor, dims: int, *, may_be_empty: int = 1) -> tuple[Tensor, bool]:
    """The input with a batch dimension, and whether it came without; so many leading dimensions may be empty.

    Raises:
        TypeError: if it is no tensor.
        RuntimeError: if it has another number of dimensions, or another one is empty.
    """
    x = tensor(op, input)
    letters = {1: "L", 2: "H, W", 3: "D, H, W"}[dims]
    if x.dim() not in (dims + 1, dims + 2):
        raise RuntimeError(
            f"{op}: expected an input of shape (B, C, {letters}) or (C, {letters}), got {describe(x)}"
        )
    unbatched = x.dim() == dims + 1
    x = x.unsqueeze(0) if unbatched else x
    if 0 in x.shape[may_be_empty:]:
        raise RuntimeError(f"{op}: expected an input whose batch alone may be empty, got {describe(input)}")
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
    """The windows over a batch of inputs; those that stick out on the far side make its margin wider.

    The options' names in messages begin with the prefix.

    Raises:
        TypeError: if an option is no integer.
        RuntimeError: if an option is out of range, or no window fits.
    """
    dims = x.dim() - 2
    kernel = sizes(op, f"{prefix}kernel_size", kernel_size, dims, least=1)
    unset = stride is None or (isinstance(stride, list | tuple) and len(stride) == 0)
    steps = kernel if unset or stride is None else sizes(op, f"{prefix}stride", stride, dims, least=1)
    margins = sizes(op, f"{prefix}padding", padding, dims, least=0)
    spread = sizes(op, f"{prefix}dilation", dilation, dims, least=1)
    edges = []
    for n, k, s, p, d in zip(x.shape[2:], kernel, steps, margins, spread, strict=True):
        if 2 * p > (k - 1) * d + 1:
            raise RuntimeError(
                f"{op}: expected {prefix}padding of at most half the kernel, got padding {padding} for a kernel of "
                f"{kernel_size} with dilation {dilation}"
            )
        last = n + 2 * p - d * (k - 1) - 1  # the last place in the padded image at which a whole window starts
        outputs = last // s + 1
        if ceil_mode:  # windows that stick out at the end count too if they start inside the image or before it
            outputs = _minimum((last + s - 1) // s, (n + p - 1) // s) + 1
        if outputs < 1:
            raise RuntimeError(
                f"{op}: expected an input of at least the kernel's size, got a kernel of {kernel_size} with "
                f"dilation {dilation} and padding {padding} for {describe(x)}"
            )
        reach = (outputs - 1) * s + d * (k - 1) + 1
        edges.append((p, -_minimum(n + p - reach, -p) if ceil_mode else p))
    return Geometry(kernel, steps, tuple(edges), spread)


def _minimum(a: int, b: int) -> int:
    """Returns the smaller number by arithmetic: a trace would keep the outcome of a comparison for other sizes."""
    return (a + b - abs(a - b)) // 2


def returns_channels_last(x: Tensor) -> bool:
    """Whether lines or images have channels last, as most poolings of them then return theirs; of volumes none do."""
    return x.dim() < 5 and is_channels_last(as_images(x))


def finish(y: Tensor, channels_last: bool, unbatched: bool) -> Tensor:
    """The output with channels last or contiguous, without the batch dimension that was lent."""
    y = laid_out(y, channels_last)
    return y.squeeze(0) if unbatched else y


def upcast(x: Tensor) -> Tensor:
    """The input in float32 under autocast on a CPU, for the poolings on whose list PyTorch has it."""
    low = x.device.type == "cpu" and x.dtype in LOW_PRECISION and autocasts(x)
    return x.float() if low else x
