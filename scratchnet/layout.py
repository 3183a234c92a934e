"""Memory layouts: the strides in which the built-ins return their outputs and gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch._C._functorch import is_legacy_batchedtensor

__all__ = [
    "as_images",
    "as_rows",
    "is_channels_last",
    "empty_beside",
    "empty_images",
    "in_layout_of",
    "laid_out",
    "matmul_like",
    "strided_beside",
]


def is_channels_last(x: Tensor) -> bool:
    """Returns whether images or volumes are in channels-last format, by strides alone, as PyTorch decides.

    With one channel or one pixel, the two formats differ only in the strides of dimensions of size 1.
    """
    if x.dim() not in (4, 5) or x.stride(1) == 0 or 0 in x.shape:
        return False
    least = 0
    for dim in (1, *range(x.dim() - 1, 1, -1), 0):
        if x.stride(dim) < least or (dim == 0 and least == x.stride(1)):
            return False
        least = x.stride(dim) * x.shape[dim]
    return True


def as_images(x: Tensor) -> Tensor:
    """Views sequences (B, C, L) as images (B, C, 1, L)."""
    return x.unsqueeze(2) if x.dim() == 3 else x


def as_rows(x: Tensor) -> Tensor:
    """Returns images (B, C, *size) as a matrix with a row per pixel and a column per channel."""
    return x.movedim(1, -1).reshape(-1, x.shape[1])


def empty_images(
    like: Tensor,
    batch: int,
    channels: int,
    size: Sequence[int],
    channels_last: bool,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Allocates images (B, C, *size), in channels-last format if ``channels_last``."""
    if channels_last:
        return like.new_empty((batch, *size, channels), dtype=dtype).movedim(-1, 1)
    return like.new_empty((batch, channels, *size), dtype=dtype)


def in_layout_of(x: Tensor, y: Tensor) -> Tensor:
    """Returns ``y`` in channels-last format if images ``x`` are, contiguous otherwise."""
    return y if _batched(y) else laid_out(y, is_channels_last(x) and y.dim() == x.dim())


def laid_out(y: Tensor, last: bool) -> Tensor:
    """Returns ``y`` in channels-last format if ``last``, contiguous otherwise; copies if needed."""
    if _batched(y):
        return y
    if not last:
        return y.contiguous()
    if is_channels_last(as_images(y)):
        return y
    # Not ``contiguous(memory_format=…)``, for which vmap has no rule.
    pixels = y.movedim(1, -1).contiguous()
    # Flattening gives dimensions of size 1 the strides of that format.
    return pixels.reshape(-1).view(pixels.shape).movedim(-1, 1)


def _batched(x: Tensor) -> bool:
    """Returns whether ``x`` is a batched gradient (``is_grads_batched=True``), which has no strides."""
    return not torch.compiler.is_compiling() and is_legacy_batchedtensor(x)


def matmul_like(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Returns ``a @ b``, the gradient of a matrix ``x``, in column-major order if ``x`` is, as autograd does."""
    columns = x.dim() == 2 and x.stride(0) == 1 and x.stride(1) == x.shape[0]
    return (b.t() @ a.t()).t() if columns else a @ b


def elementwise_strides(tensors: Sequence[Tensor]) -> tuple[int, ...]:
    """Returns the strides that TensorIterator gives the result of an operation on tensors of one shape.

    Of two dimensions, the one with the smaller stride in the first tensor that is expanded along neither is inner.
    """
    shape, known = tensors[0].shape, [t.stride() for t in tensors]

    def outer(a: int, b: int) -> int:
        for strides in known:
            if strides[a] and strides[b]:
                if strides[a] != strides[b]:
                    return strides[a] - strides[b]
                if shape[a] > shape[b]:
                    return 1
        return 0

    order: list[int] = []
    for dim in reversed(range(len(shape))):  # sorted by insertion, since the compiler traces no cmp_to_key
        place = len(order)
        while place and outer(order[place - 1], dim) > 0:
            place -= 1
        order.insert(place, dim)
    result, step = [0] * len(shape), 1
    for dim in order:
        result[dim] = step
        step *= max(shape[dim], 1)
    return tuple(result)


def empty_beside(tensors: Sequence[Tensor]) -> Tensor:
    """Allocates the result of an elementwise operation on tensors of one shape."""
    first = tensors[0]
    if len(tensors) == 1 or all([t.stride() == first.stride() for t in tensors[1:]]):
        return torch.empty_like(first)
    dense = [t for t in tensors if any(t.stride())]  # not an expanded number, such as the gradient of a sum
    if len(dense) == 1:
        return torch.empty_like(dense[0])
    return torch.empty_strided(first.shape, elementwise_strides(tensors), dtype=first.dtype, device=first.device)


def strided_beside(tensors: Sequence[Tensor], y: Tensor) -> Tensor:
    """Returns ``y`` in the strides of an elementwise operation on tensors of its shape; copies if needed."""
    if _batched(y):
        return y
    strides = elementwise_strides(tensors)
    if y.stride() == strides:
        return y
    order = sorted(range(y.dim()), key=strides.__getitem__, reverse=True)
    return y.permute(order).contiguous().permute(sorted(range(y.dim()), key=order.__getitem__))
