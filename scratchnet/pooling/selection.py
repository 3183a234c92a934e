r"""Pooling that selects one element of each window.

.. math::
    y_p = x_{i_p}, \qquad \frac{\partial L}{\partial x_i} = \sum_{p \,:\, i_p = i} g_p

The indices :math:`i_p` into the flattened image are computed first and have no derivative. Gathering the elements is
linear; the backward is its adjoint, which adds gradients up where several windows select one element.

A window is a list of positions along each dimension, and may differ between outputs, channels and samples.

Shapes: B samples, C channels, N pixels of a flattened image, P outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from scratchnet.function import Function
from scratchnet.layout import laid_out

__all__ = ["SelectFunction", "argmax_indices"]

Sizes = tuple[int, ...]


class SelectFunction(Function):
    """Gathers elements of images (B, C, H, W) at indices (B, C, P, Q) into the flattened images."""

    @staticmethod
    def forward(x: Tensor, indices: Tensor, *, size: Sizes, channels_last: bool) -> tuple[Tensor, tuple[Tensor]]:
        return x.flatten(2).gather(2, indices.flatten(2)).view(indices.shape), (indices,)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, size: Sizes, channels_last: bool
    ) -> tuple[Tensor, None]:
        batch, channels, *windows = grad.shape
        zeros, shape = grad.new_zeros((batch, channels, math.prod(size))), (batch, channels, math.prod(windows))
        total = zeros.scatter_add(2, saved[0].reshape(shape), grad.reshape(shape))
        return laid_out(total.reshape(batch, channels, *size), channels_last), None

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], **options: Any) -> Tensor:
        return SelectFunction.forward(tangents[0], saved[0], **options)[0]


def argmax_indices(x: Tensor, positions: Sequence[Tensor]) -> Tensor:
    """Returns the index of each window's maximum: the first of equal elements, the last NaN if there is one.

    Args:
        x: images of shape ``(B, C, H, W)``.
        positions: the positions of the windows along each dimension, of shape ``(P, R)`` or ``(B, C, P, R)``. A
            window that is smaller than others repeats its last position.

    Returns:
        Indices into the flattened images, of shape ``(B, C, P, Q)``.
    """
    flat, size = x.detach().flatten(2), x.shape[2:]
    shape = (*x.shape[:2], *(p.shape[-2] for p in positions))
    if any(p.dim() == 2 and not isinstance(p.shape[1], int) for p in positions):
        return _argmax_of_symbolic_size(flat, positions, size).reshape(shape)
    best = argmax = None
    for offsets in product(*(range(p.shape[-1]) for p in positions)):
        index = _index([p[..., k] for p, k in zip(positions, offsets, strict=True)], size).expand(shape).flatten(2)
        seen = flat.gather(2, index)
        if best is None or argmax is None:
            best, argmax = seen, index
        else:
            larger = (seen > best) | (seen != seen)
            best, argmax = torch.where(larger, seen, best), torch.where(larger, index, argmax)
    assert argmax is not None
    return argmax.reshape(shape).contiguous()  # the index of windows of one element is expanded


def _argmax_of_symbolic_size(flat: Tensor, positions: Sequence[Tensor], size: Sequence[int]) -> Tensor:
    """Returns indices (B, C, P·Q) without a loop over positions, for windows whose size is a symbol in a trace."""
    counts = [n for p in positions for n in p.shape]
    dims = range(len(positions))
    index = _index([p.flatten() for p in positions], size).reshape(counts)
    index = index.permute(*(2 * d for d in dims), *(2 * d + 1 for d in dims)).flatten(len(positions))
    index = index.flatten(0, -2)
    seen = flat.index_select(2, index.flatten()).unflatten(2, index.shape)
    best = seen.argmax(-1, keepdim=True)
    return index.expand(seen.shape).gather(-1, best).squeeze(-1)


def _index(along: Sequence[Tensor], size: Sequence[int]) -> Tensor:
    """Combines positions (…, P) and (…, Q) along each dimension to indices (…, P, Q) into the flattened image."""
    dims = len(along)
    total = None
    for d, (position, n) in enumerate(zip(along, size, strict=True)):
        term = position.reshape(*position.shape[:-1], *(1,) * d, position.shape[-1], *(1,) * (dims - 1 - d))
        total = term if total is None else total * n + term
    assert total is not None
    return total
