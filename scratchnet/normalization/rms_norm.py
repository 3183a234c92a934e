r"""Root-mean-square normalization: each row of N elements is divided by its own root mean square.

.. math::
    y_i = w_i \hat x_i, \qquad \hat x_i = r\,x_i, \qquad
    r = \frac{1}{\sqrt{\frac1N \sum_i x_i^2 + \varepsilon}}, \qquad
    \frac{\partial r}{\partial x_i} = -\frac{r^3 x_i}{N} = -\frac{r^2 \hat x_i}{N}

It is layer normalization that takes the mean for zero. With :math:`g = \partial L / \partial y` and
:math:`h = w g`, the gradient loses its part along :math:`\hat x` alone:

.. math::
    \frac{\partial L}{\partial x_i} = r \left(h_i - \hat x_i\, \frac1N \sum_j h_j \hat x_j\right), \qquad
    \frac{\partial L}{\partial w_i} = \sum_{\text{rows}} g_i \hat x_i

The Jacobian of :math:`\hat x` is symmetric: forward mode does to the tangent what backward does to h.

Shapes: input ``(*, *normalized_shape)``, seen as M rows of N elements.

Source: B. Zhang and R. Sennrich, "Root mean square layer normalization", 2019.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import floating, overridable
from scratchnet.function import LOW_PRECISION, Function, recorded
from scratchnet.normalization.channelwise import blocks, fresh
from scratchnet.normalization.rows import check_rows

__all__ = ["RMSNormFunction", "rms_norm"]


class RMSNormFunction(Function):
    """Divides each of ``shape`` (M, N) rows by its root mean square, and scales the places. Keeps x, w and r."""

    autocast = "float32_on_cuda"

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor | None, *, shape: tuple[int, int], eps: float
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """The rows times r and w."""
        rows = x.reshape(shape)
        rstd = (_mean_of_products(rows, rows) + eps) ** -0.5
        if recorded():
            y = rows * rstd[:, None]
            return (y if weight is None else y * weight).reshape(x.shape).contiguous(), (x, weight, rstd)
        y = fresh(rows)
        for out, block, factor in blocks(y, rows, rstd):
            torch.mul(block, factor[:, None], out=out)
            if weight is not None:
                out.mul_(weight)
        return y.reshape(x.shape), (x, weight, rstd)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, shape: tuple[int, int], eps: float
    ) -> tuple[Tensor | None, Tensor | None]:
        """The projection for x; the sum over rows for w."""
        x, weight, rstd = saved
        g, rows = grad.reshape(shape), x.reshape(shape)
        grad_x = grad_weight = None
        if needs[0]:
            h = g if weight is None else g * weight
            grad_x = _projected(h, rows, rstd).reshape(x.shape)
        if needs[1]:
            grad_weight = ((g * rows).t() @ rstd[:, None]).squeeze(1)
        return grad_x, grad_weight

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, shape: tuple[int, int], eps: float) -> Tensor:
        """The projection for x, the product rule for w."""
        x, weight, rstd = saved
        rows, tangent_w = x.reshape(shape), tangents[1]
        y = _projected(tangents[0].reshape(shape), rows, rstd)
        y = y if weight is None else y * weight
        y = y if tangent_w is None else y + rows * rstd[:, None] * tangent_w
        return y.reshape(x.shape)


def _mean_of_products(a: Tensor, b: Tensor) -> Tensor:
    """The mean over each row of a b; 0 of a row without elements."""
    count = max(1, a.shape[1])
    if recorded():
        return (a * b).sum(1) / count
    return torch.cat([(p * q).sum(1) for p, q in blocks(a, b)]).div_(count)


def _projected(h: Tensor, rows: Tensor, rstd: Tensor) -> Tensor:
    """r (h - x̂ · mean of h x̂), by row."""
    pull = _mean_of_products(h, rows) * rstd**2
    if recorded():
        return rstd[:, None] * (h - rows * pull[:, None])
    result = fresh(rows)
    for out, block, v, factor, of_x in blocks(result, rows, h, rstd, pull):
        torch.mul(block, of_x[:, None], out=out)
        torch.sub(v, out, out=out).mul_(factor[:, None])
    return result


@overridable
def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Divides by the root mean square over the last dimensions, then scales each place in them.

    Args:
        input: floating-point tensor of shape ``(*, *normalized_shape)``.
        normalized_shape: the sizes of the dimensions to normalize over.
        weight: tensor of that shape, or None for 1.
        eps: added to the mean square; by default the distance from 1 to the next number of the dtype that is
            computed in, which is float32 for shorter ones.

    Returns:
        A tensor of the input's shape and dtype.

    Raises:
        TypeError: if ``input`` is no tensor, ``normalized_shape`` no sequence of integers or ``eps`` no number.
        NotImplementedError: if ``input`` is not floating point.
        ValueError: if the input has fewer dimensions than ``normalized_shape``.
        RuntimeError: if a shape does not fit.
    """
    x = floating("rms_norm", input, complex=True)
    shape = check_rows("rms_norm", x, normalized_shape, too_few=ValueError, weight=weight)
    computed = torch.float32 if x.dtype in LOW_PRECISION else x.dtype
    offset = torch.finfo(computed).eps if eps is None else eps
    rows = (math.prod(x.shape[: x.dim() - len(shape)]), math.prod(shape))
    flat = weight if weight is None or weight.dim() == 1 else weight.reshape(-1)
    return RMSNormFunction.apply(x, flat, rows, offset)
