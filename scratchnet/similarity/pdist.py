r"""The distances of all pairs of rows i < j of one matrix, in the order (0, 1), (0, 2), …, (1, 2), ….

.. math::
    d_{ij} = \lVert x_i - x_j \rVert_p \qquad
    \bar x_i = \sum_{j > i} \bar d_{ij}\, s(x_i - x_j) - \sum_{j < i} \bar d_{ji}\, s(x_j - x_i)

with the norm's slope s, as in `distance`. Many pairs are computed tile by tile, as
`scratchnet.similarity.distance_tiles` says.

Conventions, PyTorch's: those of `distance`; with p = ∞ several equal largest differences each have the whole slope.

Shapes: N rows, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from scratchnet.arguments import describe, floating, overridable
from scratchnet.function import Function, dispatch
from scratchnet.similarity import distance_tiles
from scratchnet.similarity.distance import distances, slope

__all__ = ["PDistFunction", "pdist"]


class PDistFunction(Function):
    """The distances of all pairs of rows. Keeps the rows; the differences are computed again."""

    autocast = "float32_on_cuda"

    @staticmethod
    def forward(x: Tensor, *, p: float) -> tuple[Tensor, tuple[Tensor]]:
        """The norms of all differences of two rows."""
        return _distances(x, p), (x,)

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, p: float) -> Tensor:
        """Each pair pushes its rows apart."""
        (x,) = saved
        return _gradient(grad, x, p)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, p: float) -> Tensor:
        """The slope along the difference of the tangents."""
        (x,) = saved
        pairs = _pairs(x.shape[0], x.device)
        change = _differences(*pairs, tangents[0])
        return (slope(_differences(*pairs, x), p, shared=False) * change).sum(-1)


def _count_pairs(count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    # With arange: triu_indices would keep an exported program at its number of rows.
    row = torch.arange(count, device=device)
    first = row.repeat_interleave(count - 1 - row, output_size=count * (count - 1) // 2)
    place = torch.arange(first.shape[0], device=device)
    return first, place - first * (2 * count - first - 1) // 2 + first + 1


@dispatch(lru_cache(8)(_count_pairs))  # few rows reach it: many are computed tile by tile
def _pairs(count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns the first and the second row of each pair; those of row i begin at place i · (2 N - i - 1) / 2."""
    return _count_pairs(count, device)


def _differences(first: Tensor, second: Tensor, x: Tensor) -> Tensor:
    return x.index_select(0, first) - x.index_select(0, second)


@dispatch(distance_tiles.pair_distances)
def _distances(x: Tensor, p: float) -> Tensor:
    return distances(_differences(*_pairs(x.shape[0], x.device), x), p)


@dispatch(distance_tiles.pair_gradients)
def _gradient(grad: Tensor, x: Tensor, p: float) -> Tensor:
    first, second = _pairs(x.shape[0], x.device)
    push = slope(_differences(first, second, x), p, shared=False) * grad.unsqueeze(-1)
    return torch.zeros_like(x).index_add(0, first, push).index_add(0, second, push, alpha=-1)


@overridable
def pdist(input: Tensor, p: float = 2) -> Tensor:
    """The distances of all pairs of rows.

    Args:
        input: floating-point tensor of shape ``(N, D)``.
        p: the norm.

    Returns:
        A tensor of shape ``(N · (N - 1) / 2,)``.

    Raises:
        TypeError: if the input is no tensor, or ``p`` no number.
        RuntimeError: if the input is not floating point or has not two dimensions, or ``p`` is negative.
    """
    op = "pdist"
    if floating(op, input, error=RuntimeError).dim() != 2:
        raise RuntimeError(f"{op}: expected an input of shape (N, D), got {describe(input)}")
    if not p >= 0:
        raise RuntimeError(f"{op}: expected a norm p of at least 0, got {p}")
    return PDistFunction.apply(input, float(p))
