r"""Adaptive pooling: windows that divide the input into a given number of outputs.

With n elements and o outputs along a dimension, window p sees the elements from :math:`\lfloor p\,n / o \rfloor` to
before :math:`\lceil (p + 1)\,n / o \rceil`. Neighbours share an element where o does not divide n. Where it does,
this is ordinary pooling by windows of n / o.

The average over a window is the average along each of its dimensions in turn, because windows are products:

.. math::
    y_{pq} = \frac{1}{n_p n_q} \sum_{i \in p} \sum_{j \in q} x_{ij}, \qquad
    \frac{\partial L}{\partial x_{ij}} = \sum_{p \ni i} \frac{1}{n_p} \sum_{q \ni j} \frac{g_{pq}}{n_q}

Averaging is linear: the backward is its adjoint and keeps nothing, and forward mode averages the tangent. Element i
lies in the windows :math:`\lfloor i\,o / n \rfloor` to before :math:`\lceil (i + 1)\,o / n \rceil`, which are those
that would divide o outputs into n: to sum over windows is its own adjoint, with the two sizes exchanged.

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
from scratchnet.pooling.windows import finish, returns_channels_last, upcast, with_batch

__all__ = [
    "AdaptiveAvgPoolFunction",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
]

Outputs = int | Sequence[int | None] | None
Sizes = tuple[int, ...]


class AdaptiveAvgPoolFunction(Function):
    """The average of each window, one dimension after the other. Keeps nothing."""

    @staticmethod
    def forward(x: Tensor, *, size: Sizes, outputs: Sizes, channels_last: bool) -> tuple[Tensor, tuple[()]]:
        """Averages along the last dimension first, whose elements lie together."""
        y = x
        for dim in reversed(range(len(size))):
            y = _averaged(y, dim + 2, outputs[dim])
        return y.clone() if y is x else y, ()

    @staticmethod
    def backward(
        grad: Tensor,
        saved: Sequence[Tensor],
        needs: Sequence[bool],
        *,
        size: Sizes,
        outputs: Sizes,
        channels_last: bool,
    ) -> Tensor:
        """Gives every element of a window the same share, dimension by dimension in the opposite order."""
        for dim, n in enumerate(size):
            grad = _shared(grad, dim + 2, n)
        return laid_out(grad, channels_last)

    @staticmethod
    def jvp(
        tangents: Sequence[Tensor], saved: Sequence[Tensor], *, size: Sizes, outputs: Sizes, channels_last: bool
    ) -> Tensor:
        """The average of the tangent."""
        return AdaptiveAvgPoolFunction.mathematics.forward(
            tangents[0], size=size, outputs=outputs, channels_last=channels_last
        )[0]


def _averaged(x: Tensor, dim: int, outputs: int) -> Tensor:
    n = x.shape[dim]
    return x if _known(n) and n == outputs else _sums(x, dim, outputs) / _counts(x, n, outputs, dim)


def _shared(grad: Tensor, dim: int, n: int) -> Tensor:
    """The adjoint of `_averaged`."""
    outputs = grad.shape[dim]
    return grad if _known(n) and n == outputs else _sums(grad / _counts(grad, n, outputs, dim), dim, n)


def _counts(like: Tensor, n: int, outputs: int, dim: int) -> Tensor | int:
    """How many elements each window sees, along a dimension of such a tensor."""
    if _known(n, outputs) and outputs and n % outputs == 0:
        return n // outputs
    return _positions(n, outputs, like.device)[1].to(like.dtype).view(-1, *(1,) * (like.dim() - dim - 1))


def _sums(x: Tensor, dim: int, outputs: int) -> Tensor:
    """The sum over each window along a dimension."""
    n, before, after = x.shape[dim], x.shape[:dim], x.shape[dim + 1 :]
    known = _known(n, outputs)
    if known and outputs and n % outputs == 0:
        return x.reshape(*before, outputs, n // outputs, *after).sum(dim + 1)
    if known and n and outputs % n == 0:
        spread = x.unsqueeze(dim + 1).expand(*before, n, outputs // n, *after)
        return spread.reshape(*before, outputs, *after)
    positions, _, beyond = _positions(n, outputs, x.device)
    seen = x.index_select(dim, positions.reshape(-1)).reshape(*before, *positions.shape, *after)
    return seen.masked_fill(beyond.view(*beyond.shape, *(1,) * len(after)), 0).sum(dim + 1)


def _positions(n: int, outputs: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """What each window sees along a dimension.

    Returns:
        Positions ``(P, R)``, of which shorter windows repeat the last; counts ``(P,)``; what is a repetition.
    """
    each = torch.arange(outputs, device=device)
    first = each * n // outputs if outputs else each
    length = ((each + 1) * n + outputs - 1) // outputs - first if outputs else each
    if _known(n, outputs):
        longest = max([-((p + 1) * n // -outputs) - p * n // outputs for p in range(outputs)], default=1)
    else:
        longest = n // outputs + 2
    step, last = torch.arange(longest, device=device), length.unsqueeze(1) - 1
    return first.unsqueeze(1) + torch.minimum(step, last), length, step > last


def _known(*sizes: int) -> bool:
    """Whether sizes are numbers, and not symbols in a graph that holds for others too."""
    return all(isinstance(n, int) for n in sizes)


def _outputs(op: str, output_size: Any, size: Sequence[int]) -> Sizes:
    """The number of outputs along each dimension, where None leaves as many as there are elements."""
    dims = len(size)
    given = output_size if isinstance(output_size, tuple) else (output_size,) * dims
    if len(given) != dims:
        raise RuntimeError(f"{op}: expected output_size to be one integer or {dims}, got {output_size}")
    full = tuple(n if wanted is None else wanted for wanted, n in zip(given, size, strict=True))
    if min(full) < 0:
        raise RuntimeError(f"{op}: expected output_size not below 0, got {output_size}")
    return full


def _avg(op: str, dims: int, input: Tensor, output_size: Any) -> Tensor:
    whole = output_size == 1 or isinstance(output_size, tuple) and all(n == 1 for n in output_size)
    channels_too = dims < 3 or tensor(op, input).dim() == dims + 1
    # The one mean over everything is NaN where there is nothing.
    x, unbatched = with_batch(op, input, dims, may_be_empty=dims + 2 if whole else 1 + channels_too)
    size = tuple(x.shape[2:])
    outputs = _outputs(op, output_size, size)
    floating(op, x, complex=all(n == 1 for n in outputs))
    channels_last = returns_channels_last(x)
    # One mean over everything is spread over contiguous memory.
    y = AdaptiveAvgPoolFunction.apply(
        upcast(x) if dims == 3 else x, size, outputs, channels_last and set(outputs) != {1}
    )
    return finish(y, channels_last, unbatched)


def _max(op: str, dims: int, input: Tensor, output_size: Any, return_indices: bool) -> Any:
    x, unbatched = with_batch(op, input, dims, may_be_empty=1 + (tensor(op, input).dim() == dims + 1))
    floating(op, x)
    outputs = _outputs(op, output_size, x.shape[2:])
    positions = [_positions(n, o, x.device)[0] for n, o in zip(x.shape[2:], outputs, strict=True)]
    indices = argmax_indices(x, positions)
    channels_last = returns_channels_last(x)
    y = SelectFunction.apply(upcast(x) if dims == 3 else x, indices, tuple(x.shape[2:]), channels_last)
    y = finish(y, channels_last, unbatched)
    return (y, finish(indices, channels_last, unbatched)) if return_indices else y


@overridable
def adaptive_avg_pool1d(input: Tensor, output_size: int | Sequence[int]) -> Tensor:
    """The mean of each of a given number of windows along a line.

    Args:
        input: floating-point tensor of shape ``(B, C, L)`` or ``(C, L)``.
        output_size: the number P of windows.

    Returns:
        A tensor with P outputs in place of L.

    Raises:
        TypeError: if the input is no tensor, or ``output_size`` no integer.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if the input's shape or ``output_size`` does not fit.
    """
    return _avg("adaptive_avg_pool1d", 1, input, output_size)


@overridable
def adaptive_avg_pool2d(input: Tensor, output_size: Outputs) -> Tensor:
    """The mean of each of a given number of windows of an image.

    Args:
        input: floating-point tensor of shape ``(B, C, H, W)`` or ``(C, H, W)``.
        output_size: the numbers P and Q of windows, or one number for both; None for as many as there are pixels.

    Returns:
        A tensor with P × Q outputs in place of H × W.

    Raises:
        TypeError: if the input is no tensor, or ``output_size`` holds no integer.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if the input's shape or ``output_size`` does not fit.
    """
    return _avg("adaptive_avg_pool2d", 2, input, output_size)


@overridable
def adaptive_avg_pool3d(input: Tensor, output_size: Outputs) -> Tensor:
    """The mean of each of a given number of windows of a volume.

    Args:
        input: floating-point tensor of shape ``(B, C, D, H, W)`` or ``(C, D, H, W)``.
        output_size: the numbers N, P and Q of windows, or one number for all; None for as many as there are voxels.

    Returns:
        A tensor with N × P × Q outputs in place of D × H × W.

    Raises:
        TypeError: if the input is no tensor, or ``output_size`` holds no integer.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if the input's shape or ``output_size`` does not fit.
    """
    return _avg("adaptive_avg_pool3d", 3, input, output_size)


@overridable
def adaptive_max_pool1d(input: Tensor, output_size: int | Sequence[int], return_indices: bool = False) -> Any:
    """The largest element of each of a given number of windows along a line.

    Args:
        input: floating-point tensor of shape ``(B, C, L)`` or ``(C, L)``.
        output_size: the number P of windows.
        return_indices: whether to return where the elements were too.

    Returns:
        A tensor with P outputs in place of L; with ``return_indices`` also a tensor of indices into the line.

    Raises:
        TypeError: if the input is no tensor, or ``output_size`` no integer.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if the input's shape or ``output_size`` does not fit.
    """
    return _max("adaptive_max_pool1d", 1, input, output_size, return_indices)


@overridable
def adaptive_max_pool2d(input: Tensor, output_size: Outputs, return_indices: bool = False) -> Any:
    """The largest element of each of a given number of windows of an image.

    Args:
        input: floating-point tensor of shape ``(B, C, H, W)`` or ``(C, H, W)``.
        output_size: the numbers P and Q of windows, or one number for both; None for as many as there are pixels.
        return_indices: whether to return where the elements were too.

    Returns:
        A tensor with P × Q outputs in place of H × W; with ``return_indices`` also a tensor of indices into the
        flattened image.

    Raises:
        TypeError: if the input is no tensor, or ``output_size`` holds no integer.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if the input's shape or ``output_size`` does not fit.
    """
    return _max("adaptive_max_pool2d", 2, input, output_size, return_indices)


@overridable
def adaptive_max_pool3d(input: Tensor, output_size: Outputs, return_indices: bool = False) -> Any:
    """The largest element of each of a given number of windows of a volume.

    Args:
        input: floating-point tensor of shape ``(B, C, D, H, W)`` or ``(C, D, H, W)``.
        output_size: the numbers N, P and Q of windows, or one number for all; None for as many as there are voxels.
        return_indices: whether to return where the elements were too.

    Returns:
        A tensor with N × P × Q outputs in place of D × H × W; with ``return_indices`` also a tensor of indices into
        the flattened volume.

    Raises:
        TypeError: if the input is no tensor, or ``output_size`` holds no integer.
        NotImplementedError: if the input is not floating point.
        RuntimeError: if the input's shape or ``output_size`` does not fit.
    """
    return _max("adaptive_max_pool3d", 3, input, output_size, return_indices)
