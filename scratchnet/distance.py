r"""Distances between vectors: the p-norm of their difference.

.. math::
    d = \lVert \delta \rVert_p = \Big( \sum_k |\delta_k|^p \Big)^{1/p}
    \qquad \frac{\partial d}{\partial \delta_k} = \operatorname{sign}(\delta_k)
        \Big( \frac{|\delta_k|}{d} \Big)^{p - 1}

`pairwise_distance` takes pairs of vectors, with :math:`\delta = x_1 - x_2 + \varepsilon`; `pdist` takes all pairs
i < j of the rows of one matrix, in the order (0, 1), (0, 2), …, (1, 2), ….

Conventions, PyTorch's: the slope is 0 where the distance is 0. With p = ∞ it is that of the largest difference; of
several equal ones, `pairwise_distance` gives each its share, and `pdist` gives each the whole. With p = 0 the
distance counts the elements that differ, and its slope is 0.

Shapes: N rows, D features.

Source: H. Minkowski, "Geometrie der Zahlen", 1896.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from scratchnet.arguments import describe, number, tensor
from scratchnet.function import Function

__all__ = [
    "PDistFunction",
    "PairwiseDistance",
    "PairwiseDistanceFunction",
    "pairwise_distance",
    "pdist",
]

INFINITY = float("inf")


class PairwiseDistanceFunction(Function):
    """The norm of x₁ - x₂ + ε over the last dimension. Keeps its inputs alone: a rounded norm matches no element."""

    autocast = "float32_on_cuda"

    @staticmethod
    def forward(
        x1: Tensor, x2: Tensor, *, p: float, eps: float, keepdim: bool
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The norm."""
        y = _norm(x1 - x2 + eps, p)
        return (y if keepdim else y.squeeze(-1)), (x1, x2)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, p: float, eps: float, keepdim: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """The slope for the first vector, and its negative for the second."""
        x1, x2 = saved
        each = _slope(x1 - x2 + eps, p, shared=True)
        push = each * (grad if keepdim else grad.unsqueeze(-1))
        return (push.sum_to_size(x1.shape) if needs[0] else None), (
            -push.sum_to_size(x2.shape) if needs[1] else None
        )

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, p: float, eps: float, keepdim: bool) -> Tensor:
        """The slope along the difference of the tangents."""
        x1, x2 = saved
        each = _slope(x1 - x2 + eps, p, shared=True)
        return (each * (tangents[0] - tangents[1])).sum(-1, keepdim=keepdim)


class PDistFunction(Function):
    """The distances of all pairs of rows. Keeps the rows; the differences are computed again."""

    autocast = "float32_on_cuda"

    @staticmethod
    def forward(x: Tensor, *, p: float) -> tuple[Tensor, tuple[Tensor]]:
        """The norms of all differences of two rows."""
        first, second = _pairs(x)
        y = _norm(x.index_select(0, first) - x.index_select(0, second), p).squeeze(-1)
        return y, (x,)

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, p: float) -> Tensor:
        """Each pair pushes its rows apart."""
        (x,) = saved
        first, second = _pairs(x)
        difference = x.index_select(0, first) - x.index_select(0, second)
        push = _slope(difference, p, shared=False) * grad.unsqueeze(-1)
        return x.new_zeros(x.shape).index_add(0, first, push).index_add(0, second, -push)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, p: float) -> Tensor:
        """The slope along the difference of the tangents."""
        (x,) = saved
        first, second = _pairs(x)
        difference = x.index_select(0, first) - x.index_select(0, second)
        change = tangents[0].index_select(0, first) - tangents[0].index_select(0, second)
        return (_slope(difference, p, shared=False) * change).sum(-1)


def _pairs(x: Tensor) -> tuple[Tensor, Tensor]:
    """The two rows of each pair: the places above the diagonal of a square, row by row."""
    first, second = torch.triu_indices(x.shape[0], x.shape[0], 1, device=x.device).unbind()
    return first, second


def _norm(difference: Tensor, p: float) -> Tensor:
    """The p-norm over the last dimension, which stays; its slope at zero is zero."""
    size = difference.abs()
    if p == 0:
        return (difference != 0).to(size.dtype).sum(-1, keepdim=True)
    if abs(p) == INFINITY and size.shape[-1]:
        return size.amax(-1, keepdim=True) if p > 0 else size.amin(-1, keepdim=True)
    if p == 1:
        return size.sum(-1, keepdim=True)
    total = (size * size if p == 2 else size.pow(p)).sum(-1, keepdim=True)
    zero = total == 0
    safe = total.masked_fill(zero, 1)
    return (torch.sqrt(safe) if p == 2 else safe.pow(1 / p)).masked_fill(zero, 0)


def _slope(difference: Tensor, p: float, shared: bool) -> Tensor:
    """The derivative of the norm by each element; ``shared`` says what the largest of p = ∞ do where they tie."""
    if p == 0:
        return difference * 0
    sign = torch.sign(difference)
    if p == 1:
        return sign
    if abs(p) == INFINITY:
        largest = (difference.abs() == _norm(difference, p)).to(sign.dtype)
        return sign * (largest / largest.sum(-1, keepdim=True) if shared else largest)
    distance = _norm(difference, p)
    safe = distance.masked_fill(distance == 0, 1)
    if p == 2:
        return difference / safe
    zero = difference == 0
    ratio = difference.abs().masked_fill(zero, 1) / safe
    return (sign * ratio.pow(p - 1)).masked_fill(zero, 0)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of ``x1 - x2 + eps`` over the last dimension.

    Args:
        x1: floating-point tensor of shape ``(*, D)``.
        x2: floating-point tensor that broadcasts against it.
        p: the norm.
        eps: added to each difference, so that equal vectors have a slope.
        keepdim: whether the last dimension stays, with size 1.

    Returns:
        A tensor of the common leading dimensions.

    Raises:
        TypeError: if an argument is no tensor, or an option no number.
        RuntimeError: if the shapes do not broadcast, or the inputs are not floating point.
    """
    op = "pairwise_distance"
    a, b = tensor(op, x1, "x1"), tensor(op, x2, "x2")
    number(op, eps, "eps")
    dtype = torch.promote_types(a.dtype, b.dtype)
    dtype = dtype if dtype.is_floating_point else torch.get_default_dtype()
    try:
        torch.broadcast_shapes(a.shape, b.shape)
    except RuntimeError as error:
        raise RuntimeError(
            f"{op}: expected vectors that broadcast, got {describe(a)} and {describe(b)}"
        ) from error
    return PairwiseDistanceFunction.apply(a.to(dtype), b.to(dtype), float(number(op, p, "p")), eps, keepdim)


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
    if tensor(op, input).dim() != 2:
        raise RuntimeError(f"{op}: expected an input of shape (N, D), got {describe(input)}")
    if not input.is_floating_point():
        raise RuntimeError(f"{op}: expected input to be floating point, got {describe(input)}")
    if not number(op, p, "p") >= 0:
        raise RuntimeError(f"{op}: expected a norm p of at least 0, got {p}")
    return PDistFunction.apply(input, float(p))


class PairwiseDistance(nn.Module):
    """`pairwise_distance` as a module.

    Args:
        p: the norm.
        eps: added to each difference.
        keepdim: whether the last dimension stays.
    """

    __constants__ = ["eps", "keepdim", "norm"]

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Applies `pairwise_distance`."""
        return pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
