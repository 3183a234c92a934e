r"""Fractional max pooling: windows of one size at pseudorandom distances, for non-integer ratios of input to output.

Along a dimension of n elements, o windows of k elements start at

.. math::
    a_p = \lfloor \alpha (p + u) \rfloor - \lfloor \alpha u \rfloor \quad (p < o - 1), \qquad
    a_{o-1} = n - k, \qquad \alpha = \frac{n - k}{o - 1}

with u drawn uniformly from [0, 1) for each sample, channel and dimension. The distance between neighboring windows is
one of the two integers around α, in an order that depends on u. The maximum of each window is selected and gets the
gradient.

On a CPU, u is what PyTorch draws from the same generator state, and windows are placed in the arithmetic of the input's
dtype, as in PyTorch.

Shapes: B samples, C channels, H × W pixels, R × S kernel, P × Q outputs.

Source: B. Graham, "Fractional max-pooling", 2014.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from scratchnet.arguments import describe, floating, tensor
from scratchnet.pooling.selection import SelectFunction, argmax_indices
from scratchnet.pooling.windows import Size, form, upcast, with_batch
from scratchnet.windows import sizes

__all__ = ["fractional_max_pool", "fractional_max_pool2d", "fractional_max_pool3d"]

Sizes = tuple[int, ...]


def _starts(u: Tensor, n: int, outputs: int, kernel: int) -> Tensor:
    """Returns the starts of the windows along one dimension, (B, C, P), for random numbers u (B, C)."""
    last = torch.full((*u.shape, min(outputs, 1)), n - kernel, dtype=torch.int64, device=u.device)
    if outputs < 2:
        return last
    step = torch.full((), n - kernel, dtype=u.dtype, device=u.device) / (outputs - 1)
    index = torch.arange(outputs - 1, device=u.device).to(u.dtype)
    start = ((index + u.unsqueeze(-1)) * step).to(torch.int64)
    return torch.cat([start - (u * step).to(torch.int64).unsqueeze(-1), last], -1)


def _outputs(
    op: str, size: Sequence[int], output_size: Size | None, output_ratio: Sequence[float] | None
) -> Sizes:
    """Returns the number of windows along each dimension, from ``output_size`` or as a fraction of the input's size."""
    dims = len(size)
    if output_size is not None:
        return sizes(op, "output_size", output_size, dims, least=0)
    if output_ratio is None:
        raise ValueError(f"{op}: expected an output_size or an output_ratio, got neither")
    if len(output_ratio) != dims:
        raise ValueError(f"{op}: expected output_ratio to hold {dims} numbers, got {output_ratio}")
    return tuple(int(n * ratio) for n, ratio in zip(size, output_ratio, strict=True))


def _check_samples(op: str, samples: Tensor, x: Tensor) -> None:
    dims = x.dim() - 2
    tensor(op, samples, "_random_samples")
    fits = samples.dim() == 3 and samples.shape[0] >= x.shape[0] and samples.shape[1:] == (x.shape[1], dims)
    if not fits or samples.dtype is not x.dtype:
        raise RuntimeError(
            f"{op}: expected _random_samples of shape {(*x.shape[:2], dims)} and of the input's dtype, got "
            f"{describe(samples)} for {describe(x)}"
        )


def fractional_max_pool(
    dims: int,
    input: Tensor,
    kernel_size: Size,
    output_size: Size | None = None,
    output_ratio: Sequence[float] | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """Computes the maximum of windows at pseudorandom distances.

    Args:
        dims: number of dimensions.
        input: floating-point tensor.
        kernel_size: size of a window, in pixels.
        output_size: P and Q.
        output_ratio: the ratios of P to H and Q to W, if ``output_size`` is not given.
        return_indices: whether to return indices as well.
        _random_samples: a number in [0, 1) for each sample, channel and dimension; drawn by default.

    Returns:
        A tensor with P × Q outputs in place of H × W; with ``return_indices`` also their indices into the flattened
        images.

    Raises:
        TypeError: if the input is not a tensor, or an option not a number.
        NotImplementedError: if the input is not floating point.
        ValueError: if neither ``output_size`` nor ``output_ratio`` is given.
        RuntimeError: if the input's shape or an option is out of range.
    """
    op = f"fractional_max_pool{dims}d"
    x, unbatched = with_batch(op, input, dims, may_be_empty=1 + (tensor(op, input).dim() == dims + 1))
    floating(op, x)
    x = upcast(x)
    kernel = sizes(op, "kernel_size", kernel_size, dims, least=1)
    outputs = _outputs(op, x.shape[2:], output_size, output_ratio)
    for n, k, o in zip(x.shape[2:], kernel, outputs, strict=True):
        if o + k - 1 > n:
            raise RuntimeError(
                f"{op}: expected windows that start at different elements and fit, which needs an input of at "
                f"least output_size + kernel_size - 1, got {o} outputs and a kernel of {k} for {describe(input)}"
            )
    if _random_samples is None:
        samples = torch.rand((*x.shape[:2], dims), dtype=x.dtype, device=x.device)
    else:
        samples = upcast(_random_samples)
        _check_samples(op, samples, x)
    samples = samples.detach()[: x.shape[0]]
    # For images, PyTorch's first random number is for the width.
    draws = samples.unbind(2)[::-1] if dims == 2 else samples.unbind(2)
    positions = [
        _starts(u, n, o, k).unsqueeze(-1) + torch.arange(k, device=x.device)
        for u, n, o, k in zip(draws, x.shape[2:], outputs, kernel, strict=True)
    ]
    indices = argmax_indices(x, positions)
    y = SelectFunction.apply(x, indices, tuple(x.shape[2:]), False)
    y, indices = (y.squeeze(0), indices.squeeze(0)) if unbatched else (y, indices)
    return (y, indices) if return_indices else y


fractional_max_pool2d, fractional_max_pool3d = form(fractional_max_pool, 2), form(fractional_max_pool, 3)
