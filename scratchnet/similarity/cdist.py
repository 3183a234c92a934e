r"""The distances of each row of one matrix from each row of another.

.. math::
    d_{ij} = \lVert a_i - b_j \rVert_p \qquad
    \bar a_i = \sum_j \bar d_{ij}\, s(a_i - b_j) \qquad \bar b_j = -\sum_i \bar d_{ij}\, s(a_i - b_j)

with the norm's slope s, as in `scratchnet.similarity.distance`. Many pairs are computed tile by tile, as
`scratchnet.similarity.distance_tiles` says. Rows that are close keep their digits whatever ``compute_mode`` says.

Conventions, PyTorch's: the slope is 0 where the distance is 0; with p = ∞ several equal largest differences each have
the whole slope.

Shapes: P and R rows, D features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import describe, floating, number, overridable
from scratchnet.function import Function, dispatch
from scratchnet.similarity import distance_tiles
from scratchnet.similarity.distance import distances, slope

__all__ = ["CDistFunction", "cdist"]

MODES = ("use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist")


class CDistFunction(Function):
    """The distances of all pairs. Keeps both matrices; the differences are computed again."""

    autocast = "float32_on_cuda"

    @staticmethod
    def forward(a: Tensor, b: Tensor, *, p: float) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The norms of all differences."""
        return _distances(a, b, p), (a, b)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, p: float
    ) -> tuple[Tensor, Tensor]:
        """Each pair pushes its rows apart."""
        a, b = saved
        return _gradients(grad, a, b, p)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, p: float) -> Tensor:
        """The slope along the difference of the tangents."""
        a, b = saved
        change = tangents[0].unsqueeze(-2) - tangents[1].unsqueeze(-3)
        return (slope(a.unsqueeze(-2) - b.unsqueeze(-3), p, shared=False) * change).sum(-1)


@dispatch(distance_tiles.all_distances)
def _distances(a: Tensor, b: Tensor, p: float) -> Tensor:
    return distances(a.unsqueeze(-2) - b.unsqueeze(-3), p)


@dispatch(distance_tiles.all_gradients)
def _gradients(grad: Tensor, a: Tensor, b: Tensor, p: float) -> tuple[Tensor, Tensor]:
    push = slope(a.unsqueeze(-2) - b.unsqueeze(-3), p, shared=False) * grad.unsqueeze(-1)
    return push.sum(-2).sum_to_size(a.shape), -push.sum(-3).sum_to_size(b.shape)


@overridable
def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = MODES[0]) -> Tensor:
    """Computes the distance of each row of one matrix from each row of another.

    Args:
        x1: floating-point tensor of shape ``(*, P, D)``.
        x2: floating-point tensor of shape ``(*, R, D)``, whose leading dimensions broadcast against those of ``x1``.
        p: the norm.
        compute_mode: has no effect: many rows multiply matrices, without losing digits where rows are close.

    Returns:
        A tensor of shape ``(*, P, R)``.

    Raises:
        TypeError: if an argument is no tensor, or ``p`` no number.
        RuntimeError: if a shape does not fit, an input is not floating point, or ``p`` is negative.
        ValueError: if ``compute_mode`` is unknown.
    """
    op = "cdist"
    for x, name in ((x1, "x1"), (x2, "x2")):
        if floating(op, x, name, error=RuntimeError).dim() < 2:
            raise RuntimeError(f"{op}: expected {name} of shape (*, rows, D), got {describe(x)}")
    if x1.shape[-1] != x2.shape[-1] or x1.dtype is not x2.dtype:
        raise RuntimeError(f"{op}: expected rows of one length and dtype, got {describe(x1)} and {describe(x2)}")
    if not number(op, p, "p") >= 0:
        raise RuntimeError(f"{op}: expected a norm p of at least 0, got {p}")
    if compute_mode not in MODES:
        raise ValueError(f"{op}: expected a compute_mode of {MODES}, got {compute_mode!r}")
    try:
        torch.broadcast_shapes(x1.shape[:-2], x2.shape[:-2])
    except RuntimeError as error:
        raise RuntimeError(
            f"{op}: expected batches that broadcast, got {describe(x1)} and {describe(x2)}"
        ) from error
    return CDistFunction.apply(x1, x2, float(p))
