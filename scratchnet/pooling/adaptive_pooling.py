r"""Adaptive pooling: a given number of windows that cover the input evenly.

With n elements and o outputs along a dimension, window p holds the elements from :math:`\lfloor p\,n / o \rfloor` to
:math:`\lceil (p + 1)\,n / o \rceil - 1`. If o divides n, this is ordinary pooling with windows of n / o; otherwise
neighboring windows overlap in at most one element.

Windows are products, so their average is the average along one dimension after the other:

.. math::
    y_{pq} = \frac{1}{n_p n_q} \sum_{i \in p} \sum_{j \in q} x_{ij}, \qquad
    \frac{\partial L}{\partial x_{ij}} = \sum_{p \ni i} \frac{1}{n_p} \sum_{q \ni j} \frac{g_{pq}}{n_q}

Averaging is linear: the backward is its adjoint and saves nothing, and forward mode averages the tangent. Element i
belongs to the windows from :math:`\lfloor i\,o / n \rfloor` to :math:`\lceil (i + 1)\,o / n \rceil - 1`. This is the
formula for window i with n and o exchanged, so the adjoint of the sum over windows is the sum with n and o exchanged.

The maximum selects one element of each window, which gets the gradient.

Shapes: B samples, C channels, H × W pixels, P × Q outputs.

Source: K. He, X. Zhang, S. Ren and J. Sun, "Spatial pyramid pooling in deep convolutional networks for visual
recognition", 2014.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from scratchnet.arguments import floating, overridable, tensor
from scratchnet.function import Function
from scratchnet.layout import laid_out
from scratchnet.pooling.selection import SelectFunction, argmax_indices
from scratchnet.pooling.windows import finish, form, returns_channels_last, upcast, with_batch

__all__ = [
    "AdaptiveAvgPoolFunction",
    "adaptive_avg_pool",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
]

Outputs = int | Sequence[int | None] | None
Sizes = tuple[int, ...]


class AdaptiveAvgPoolFunction(Function):
    """Averages each window, one dimension after the other. Saves nothing."""

    @staticmethod
    def forward(x: Tensor, *, size: Sizes, outputs: Sizes, channels_last: bool) -> tuple[Tensor, tuple[()]]:
        y = x
        for dim in reversed(range(len(size))):  # the contiguous dimension first
            y = _average(y, dim + 2, outputs[dim])
        return y.clone() if y is x else y, ()

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, size: Sizes, channels_last: bool, **_: Any
    ) -> Tensor:
        for dim, n in enumerate(size):
            grad = _average_adjoint(grad, dim + 2, n)
        return laid_out(grad, channels_last)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], **options: Any) -> Tensor:
        return AdaptiveAvgPoolFunction.forward(tangents[0], **options)[0]


def _average(x: Tensor, dim: int, outputs: int) -> Tensor:
    n = x.shape[dim]
    return x if _is_static(n) and n == outputs else _sums(x, dim, outputs) / _counts(x, n, outputs, dim)


def _average_adjoint(grad: Tensor, dim: int, n: int) -> Tensor:
    outputs = grad.shape[dim]
    return grad if _is_static(n) and n == outputs else _sums(grad / _counts(grad, n, outputs, dim), dim, n)


def _counts(like: Tensor, n: int, outputs: int, dim: int) -> Tensor | int:
    """Returns the number of elements of each window, to divide a tensor like ``like`` by along ``dim``."""
    if _is_static(n, outputs) and outputs and n % outputs == 0:
        return n // outputs
    return _positions(n, outputs, like.device)[1].to(like.dtype).view(-1, *(1,) * (like.dim() - dim - 1))


def _sums(x: Tensor, dim: int, outputs: int) -> Tensor:
    """Sums each window along a dimension."""
    n, before, after = x.shape[dim], x.shape[:dim], x.shape[dim + 1 :]
    static = _is_static(n, outputs)
    if static and outputs and n % outputs == 0:
        return x.reshape(*before, outputs, n // outputs, *after).sum(dim + 1)
    if static and n and outputs % n == 0:
        repeated = x.unsqueeze(dim + 1).expand(*before, n, outputs // n, *after)
        return repeated.reshape(*before, outputs, *after)
    positions, _, beyond = _positions(n, outputs, x.device)
    seen = x.index_select(dim, positions.reshape(-1)).reshape(*before, *positions.shape, *after)
    return seen.masked_fill(beyond.view(*beyond.shape, *(1,) * len(after)), 0).sum(dim + 1)


def _positions(n: int, outputs: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Returns positions (P, R) of windows along a dimension, their lengths (P,), and which positions are repeated.

    Windows shorter than R repeat their last position.
    """
    window = torch.arange(outputs, device=device)
    first = window * n // outputs if outputs else window
    length = ((window + 1) * n + outputs - 1) // outputs - first if outputs else window
    if _is_static(n, outputs):
        longest = max([-((p + 1) * n // -outputs) - p * n // outputs for p in range(outputs)], default=1)
    else:
        longest = n // outputs + 2
    step, last = torch.arange(longest, device=device), length.unsqueeze(1) - 1
    return first.unsqueeze(1) + torch.minimum(step, last), length, step > last


def _is_static(*sizes: int) -> bool:
    """Returns whether sizes are numbers, not symbols of a trace with dynamic shapes."""
    return all(isinstance(n, int) for n in sizes)


def _outputs(op: str, output_size: Any, size: Sequence[int]) -> Sizes:
    """Expands ``output_size`` to one number per dimension; None stands for the size of the input."""
    dims = len(size)
    given = output_size if isinstance(output_size, tuple) else (output_size,) * dims
    if len(given) != dims:
        raise RuntimeError(f"{op}: expected output_size to be one integer or {dims}, got {output_size}")
    full = tuple(n if wanted is None else wanted for wanted, n in zip(given, size, strict=True))
    if min(full) < 0:
        raise RuntimeError(f"{op}: expected output_size not below 0, got {output_size}")
    return full


def adaptive_avg_pool(dims: int, input: Tensor, output_size: Outputs) -> Tensor:
    """Averages each of P × Q windows.

    Args:
        dims: number of dimensions.
        input: floating-point tensor.
        output_size: P and Q, or one number for both; None stands for the input's size.

    Returns:
        A tensor with P × Q outputs in place of H × W.

    Raises:
        TypeError: if the input is not a tensor, or ``output_size`` not an integer.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if the input's shape or ``output_size`` is out of range.
    """
    op = f"adaptive_avg_pool{dims}d"
    is_global = output_size == 1 or isinstance(output_size, tuple) and all(n == 1 for n in output_size)
    empty_channels = dims < 3 or tensor(op, input).dim() == dims + 1
    # A global average of no elements is NaN.
    x, unbatched = with_batch(op, input, dims, may_be_empty=dims + 2 if is_global else 1 + empty_channels)
    size = tuple(x.shape[2:])
    outputs = _outputs(op, output_size, size)
    floating(op, x, complex=all(n == 1 for n in outputs))
    channels_last = returns_channels_last(x)
    # The gradient of a global average is contiguous.
    y = AdaptiveAvgPoolFunction.apply(
        upcast(x) if dims == 3 else x, size, outputs, channels_last and set(outputs) != {1}
    )
    return finish(y, channels_last, unbatched)


def adaptive_max_pool(dims: int, input: Tensor, output_size: Outputs, return_indices: bool = False) -> Any:
    """Computes the maximum of each of P × Q windows.

    Args:
        dims: number of dimensions.
        input: floating-point tensor.
        output_size: P and Q, or one number for both; None stands for the input's size.
        return_indices: whether to return indices as well.

    Returns:
        A tensor with P × Q outputs in place of H × W; with ``return_indices`` also their indices into the flattened
        images.

    Raises:
        TypeError: if the input is not a tensor, or ``output_size`` not an integer.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if the input's shape or ``output_size`` is out of range.
    """
    op = f"adaptive_max_pool{dims}d"
    x, unbatched = with_batch(op, input, dims, may_be_empty=1 + (tensor(op, input).dim() == dims + 1))
    floating(op, x)
    outputs = _outputs(op, output_size, x.shape[2:])
    positions = [_positions(n, o, x.device)[0] for n, o in zip(x.shape[2:], outputs, strict=True)]
    indices = argmax_indices(x, positions)
    channels_last = returns_channels_last(x)
    y = SelectFunction.apply(upcast(x) if dims == 3 else x, indices, tuple(x.shape[2:]), channels_last)
    y = finish(y, channels_last, unbatched)
    return (y, finish(indices, channels_last, unbatched)) if return_indices else y


adaptive_avg_pool2d, adaptive_avg_pool3d = form(adaptive_avg_pool, 2), form(adaptive_avg_pool, 3)
adaptive_max_pool2d, adaptive_max_pool3d = form(adaptive_max_pool, 2), form(adaptive_max_pool, 3)


@overridable
def adaptive_avg_pool1d(input: Tensor, output_size: int | Sequence[int]) -> Tensor:
    """Averages each of P windows of sequences (B, C, L) or (C, L), as `adaptive_avg_pool2d` does."""
    return adaptive_avg_pool(1, input, output_size)


@overridable
def adaptive_max_pool1d(input: Tensor, output_size: int | Sequence[int], return_indices: bool = False) -> Any:
    """Computes the maximum of each of P windows of sequences (B, C, L) or (C, L), as `adaptive_max_pool2d` does."""
    return adaptive_max_pool(1, input, output_size, return_indices)
