r"""Selection: pooling that takes one element of each window as it is.

.. math::
    y_p = x_{i_p}, \qquad \frac{\partial L}{\partial x_i} = \sum_{p \,:\, i_p = i} g_p

The indices :math:`i_p` into the flattened image are found first, and have no derivative; taking the elements there
is then linear. The backward is its adjoint, which adds gradients up where several windows took one element.

Windows are given by the positions that they see along each dimension, and may differ between dimensions, outputs,
channels and samples.

Shapes: B samples, C channels, N pixels of a flattened image, P outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from scratchnet.function import Function
from scratchnet.layout import laid_out

__all__ = ["SelectFunction", "argmax_indices"]


class SelectFunction(Function):
    """The elements of images ``(B, C, H, W)`` at indices ``(B, C, P, Q)`` into each flattened image."""

    @staticmethod
    def forward(
        x: Tensor, indices: Tensor, *, size: tuple[int, ...], channels_last: bool
    ) -> tuple[Tensor, tuple[Tensor]]:
        """Takes the elements."""
        return x.flatten(2).gather(2, indices.flatten(2)).view(indices.shape), (indices,)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, size: tuple[int, ...], channels_last: bool
    ) -> tuple[Tensor, None]:
        """Adds each gradient up where its element was."""
        batch, channels, *windows = grad.shape
        zeros, each = grad.new_zeros((batch, channels, math.prod(size))), (batch, channels, math.prod(windows))
        total = zeros.scatter_add(2, saved[0].reshape(each), grad.reshape(each))
        return laid_out(total.reshape(batch, channels, *size), channels_last), None

    @staticmethod
    def jvp(
        tangents: Sequence[Tensor], saved: Sequence[Tensor], *, size: tuple[int, ...], channels_last: bool
    ) -> Tensor:
        """Takes the tangents."""
        return SelectFunction.mathematics.forward(tangents[0], saved[0], size=size, channels_last=channels_last)[0]


def argmax_indices(x: Tensor, positions: Sequence[Tensor]) -> Tensor:
    """The index of each window's largest element: the first of equal ones, the last NaN where there is one.

    Args:
        x: images of shape ``(B, C, H, W)``.
        positions: for each dimension what the windows see along it, of shape ``(P, R)`` or ``(B, C, P, R)``. A
            window that is smaller than others repeats its last position.

    Returns:
        Indices into the flattened images, of shape ``(B, C, P, Q)``.
    """
    flat, size = x.detach().flatten(2), x.shape[2:]
    shape = (*x.shape[:2], *(p.shape[-2] for p in positions))
    if any(p.dim() == 2 and not isinstance(p.shape[1], int) for p in positions):
        return _largest_at_once(flat, positions, size).reshape(shape)
    best = which = None
    for place in product(*(range(p.shape[-1]) for p in positions)):
        index = _index([p[..., k] for p, k in zip(positions, place, strict=True)], size).expand(shape).flatten(2)
        seen = flat.gather(2, index)
        if best is None or which is None:
            best, which = seen, index
        else:
            better = (seen > best) | (seen != seen)
            best, which = torch.where(better, seen, best), torch.where(better, index, which)
    assert which is not None
    return which.reshape(shape).contiguous()  # a window of one element leaves an expanded index


def _largest_at_once(flat: Tensor, positions: Sequence[Tensor], size: Sequence[int]) -> Tensor:
    """The indices ``(B, C, P · Q)`` where how many positions a window sees is a symbol: no loop runs over them."""
    counts = [n for p in positions for n in p.shape]
    dims = range(len(positions))
    index = _index([p.flatten() for p in positions], size).reshape(counts)
    index = index.permute(*(2 * d for d in dims), *(2 * d + 1 for d in dims)).flatten(len(positions))
    index = index.flatten(0, -2)
    seen = flat.index_select(2, index.flatten()).unflatten(2, index.shape)
    best = seen.argmax(-1, keepdim=True)
    return index.expand(seen.shape).gather(-1, best).squeeze(-1)


def _index(along: Sequence[Tensor], size: Sequence[int]) -> Tensor:
    """Positions along each dimension, ``(…, P)`` and ``(…, Q)``, as indices ``(…, P, Q)`` into the flat image."""
    dims = len(along)
    total = None
    for d, (position, n) in enumerate(zip(along, size, strict=True)):
        spread = position.reshape(*position.shape[:-1], *(1,) * d, position.shape[-1], *(1,) * (dims - 1 - d))
        total = spread if total is None else total * n + spread
    assert total is not None
    return total
