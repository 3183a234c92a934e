r"""The cosine embedding loss.

With :math:`\cos = x_1 \cdot x_2 / \sqrt{s_1 s_2}`, where :math:`s = |x|^2 + \epsilon`, which gives a zero vector the
cosine 0:

.. math::
    L = \begin{cases} 1 - \cos & y = 1 \\ \max(0, \cos - m) & y = -1 \end{cases}
    \qquad \frac{\partial \cos}{\partial x_1} = \frac{x_2}{\sqrt{s_1 s_2}} - \cos \frac{x_1}{s_1}

and the same with 1 and 2 exchanged. Vectors of a like pair (y = 1) are turned towards one another, those of an
unlike pair (y = -1) away until their cosine is at most m; at cos = m the slope is that of the side that costs.
Another label costs nothing.

Shapes: N pairs of D elements; inputs (N, D) or (D,), target (N,) or ().
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import describe, overridable, tensor
from scratchnet.function import Function
from scratchnet.losses.pointwise import promoted_together
from scratchnet.losses.reduction import reduce, reduction_of, unreduce

__all__ = ["CosineEmbeddingLossFunction", "cosine_embedding_loss"]

EPSILON = 9.999999960041972e-13  # PyTorch's 1e-12 is of type float


class CosineEmbeddingLossFunction(Function):
    """The loss of pairs of rows. Saves its inputs; the label is a constant."""

    autocast = "float32"

    @staticmethod
    def forward(
        x1: Tensor, x2: Tensor, target: Tensor, *, margin: float, reduction: str
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """1 - cosine of like pairs, and the cosine above the margin of unlike ones."""
        cosine, _, _ = _cosine(x1, x2)
        like = (1 - cosine).masked_fill(target != 1, 0)
        unlike = (cosine - margin).clamp(min=0).masked_fill(target != -1, 0)
        return reduce(like + unlike, reduction), (x1, x2, target)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, margin: float, reduction: str
    ) -> tuple[Tensor | None, Tensor | None, None]:
        """The slope of the cosine, turned round for like pairs."""
        x1, x2, target = saved
        cosine, s1, s2 = _cosine(x1, x2)
        upstream = _slope_of_cosine(cosine, target, margin) * unreduce(grad, target, reduction)
        across = (upstream / (s1 * s2).sqrt()).unsqueeze(-1)
        along = upstream * cosine
        grad_x1 = across * x2 - (along / s1).unsqueeze(-1) * x1 if needs[0] else None
        grad_x2 = across * x1 - (along / s2).unsqueeze(-1) * x2 if needs[1] else None
        return grad_x1, grad_x2, None

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, margin: float, reduction: str) -> Tensor:
        """The change of the cosine: of the product, less that of the lengths."""
        x1, x2, target = saved
        t1, t2, _ = tangents
        cosine, s1, s2 = _cosine(x1, x2)
        product = (t1 * x2 + x1 * t2).sum(-1) / (s1 * s2).sqrt()
        lengths = cosine * ((x1 * t1).sum(-1) / s1 + (x2 * t2).sum(-1) / s2)
        return reduce(_slope_of_cosine(cosine, target, margin) * (product - lengths), reduction)


def _cosine(x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The cosine of each pair of rows, and the two squared lengths."""
    s1, s2 = (x1 * x1).sum(-1) + EPSILON, (x2 * x2).sum(-1) + EPSILON
    return (x1 * x2).sum(-1) / (s1 * s2).sqrt(), s1, s2


def _slope_of_cosine(cosine: Tensor, target: Tensor, margin: float) -> Tensor:
    """-1 for like pairs, 1 for unlike ones above the margin."""
    return ((target == -1) & (cosine - margin >= 0)).to(cosine.dtype) - (target == 1).to(cosine.dtype)


@overridable
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The loss of the angle between pairs of vectors that are alike (1) or not (-1).

    Args:
        input1: vectors of shape ``(N, D)`` or ``(D,)``.
        input2: the vectors to pair them with; the number of rows may be 1 on either side.
        target: labels -1 and 1 of shape ``(N,)``, or ``()`` for one pair.
        margin: the cosine above which an unlike pair costs.
        size_average: deprecated.
        reduce: deprecated.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.

    Returns:
        A scalar, or a tensor of the target's shape for ``reduction="none"``.

    Raises:
        TypeError: if an argument is no tensor or ``margin`` no number.
        RuntimeError: if the shapes do not fit.
        ValueError: if ``reduction`` is unknown.
    """
    op = "cosine_embedding_loss"
    reduction = reduction_of(op, reduction, size_average, reduce)
    x1, x2, y = (tensor(op, x, n) for x, n in ((input1, "input1"), (input2, "input2"), (target, "target")))
    if y.dim() > 1 or not x1.dim() == x2.dim() == y.dim() + 1:
        raise RuntimeError(
            f"{op}: expected inputs of shape (N, D) with a target of shape (N,), or (D,) with (), got "
            f"{describe(x1)}, {describe(x2)} and {describe(y)}"
        )
    try:
        shape = torch.broadcast_shapes(x1.shape, x2.shape, (*y.shape, 1))
    except RuntimeError as error:
        raise RuntimeError(
            f"{op}: expected as many pairs as labels, got {describe(x1)}, {describe(x2)} and {describe(y)}"
        ) from error
    lengths = [x1.new_empty(0, dtype=torch.get_default_dtype()) for x in (x1, x2) if not x.is_floating_point()]
    x1, x2, *_ = promoted_together(op, x1, x2, *lengths)
    rows = y.expand(shape[:-1])
    return CosineEmbeddingLossFunction.apply(x1.expand(shape), x2.expand(shape), rows, margin, reduction)
