r"""Layer normalization: each row of N elements is normalized with its own mean and variance.

.. math::
    y_i = w_i\, r\,(x_i - \mu) + b_i, \qquad
    \mu = \frac1N \sum_i x_i, \qquad r = \frac{1}{\sqrt{\frac1N \sum_i (x_i - \mu)^2 + \varepsilon}}

with a weight and a bias for each place in the row. With :math:`\hat x = r (x - \mu)`,
:math:`g = \partial L / \partial y` and :math:`h = w g`:

.. math::
    \frac{\partial L}{\partial x_i}
    = r \left(h_i - \frac1N \sum_j h_j - \hat x_i\, \frac1N \sum_j h_j \hat x_j\right), \qquad
    \frac{\partial L}{\partial w_i} = \sum_{\text{rows}} g_i \hat x_i, \qquad
    \frac{\partial L}{\partial b_i} = \sum_{\text{rows}} g_i

which batch normalization derives: its columns are the rows here. Nothing depends on other rows: training and
evaluation are the same. The Jacobian of :math:`\hat x` is symmetric, so forward mode projects the tangent as backward
projects h.

Shapes: input ``(*, *normalized_shape)``, seen as M rows of N elements.

Source: J. L. Ba, J. R. Kiros and G. E. Hinton, "Layer normalization", 2016.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import floating, overridable
from scratchnet.function import Function, recorded
from scratchnet.normalization.channelwise import blocks, drowned, fresh, scale_and_shift
from scratchnet.normalization.parameters import check_dtypes
from scratchnet.normalization.rows import check_rows

__all__ = ["LayerNormFunction", "layer_norm"]


class LayerNormFunction(Function):
    """Normalizes each of ``shape`` (M, N) rows, then scales and shifts the places. Keeps x, w, μ and r."""

    autocast = "float32_on_cuda"

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor | None, bias: Tensor | None, *, shape: tuple[int, int], eps: float
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """The output."""
        rows, count = x.reshape(shape), max(1, shape[1])  # a row without elements is spared 0 / 0
        if not recorded():
            y, mean, rstd = _forward_in_blocks(rows, weight, bias, count, eps)
            return y.reshape(x.shape), (x, weight, mean, rstd)
        mean = rows.sum(1, keepdim=True) / count
        mean = mean + ((rows - mean).sum(1, keepdim=True) / count).detach()  # what rounding left
        centred = rows - mean
        rstd = ((centred * centred).sum(1, keepdim=True) / count + eps) ** -0.5
        y = centred * rstd
        y = y if weight is None else y * weight
        return (y if bias is None else y + bias).reshape(x.shape).contiguous(), (x, weight, mean, rstd)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, shape: tuple[int, int], eps: float
    ) -> tuple[Tensor | None, ...]:
        """The projection for x; the sums over rows for w and b."""
        x, weight, mean, rstd = saved
        g, rows = grad.reshape(shape), x.reshape(shape)
        if not recorded():
            grad_x, grad_weight, grad_bias = _backward_in_blocks(g, rows, weight, mean, rstd, needs)
            return None if grad_x is None else grad_x.reshape(x.shape), grad_weight, grad_bias
        normal = (rows - mean) * rstd
        grad_x = (
            _projected(g if weight is None else g * weight, normal, rstd).reshape(x.shape) if needs[0] else None
        )
        return grad_x, (g * normal).sum(0) if needs[1] else None, g.sum(0) if needs[2] else None

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, shape: tuple[int, int], eps: float) -> Tensor:
        """The projection for x, the product rule for w and b."""
        x, weight, mean, rstd = saved
        tangent, tangent_w, tangent_b = tangents
        normal = (x.reshape(shape) - mean) * rstd
        y = _projected(tangent.reshape(shape), normal, rstd)
        y = y if weight is None else y * weight
        y = y if tangent_w is None else y + normal * tangent_w
        return (y if tangent_b is None else y + tangent_b).reshape(x.shape)


def _projected(h: Tensor, normal: Tensor, rstd: Tensor) -> Tensor:
    """r (h - mean of h - x̂ · mean of h x̂), by row."""
    count = max(1, h.shape[1])
    along = (h * normal).sum(1, keepdim=True) / count
    return rstd * (h - h.sum(1, keepdim=True) / count - normal * along)


def _forward_in_blocks(
    rows: Tensor, weight: Tensor | None, bias: Tensor | None, count: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Output, mean and r, block by block, so that the passes over a block find it in cache."""
    y, mean, rstd = fresh(rows), rows.new_empty(len(rows), 1), rows.new_empty(len(rows), 1)
    for out, x, m, r in blocks(y, rows, mean, rstd):
        torch.sum(x, 1, keepdim=True, out=m).div_(count)
        torch.sub(x, m, out=out)
        torch.sum(out * out, 1, keepdim=True, out=r).div_(count)
        if bool(drowned(m, r).any()):
            torch.sub(x, m.add_(out.sum(1, keepdim=True).div_(count)), out=out)
            torch.sum(out * out, 1, keepdim=True, out=r).div_(count)
        r.add_(eps).rsqrt_()
        out.mul_(r)
        scale_and_shift(out, weight, bias)
    return y, mean, rstd


def _backward_in_blocks(
    grad: Tensor, rows: Tensor, weight: Tensor | None, mean: Tensor, rstd: Tensor, needs: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """All gradients, block by block."""
    size = rows.shape[1]
    for_means = (rows.new_ones(size, 1) if weight is None else weight[:, None]) / max(1, size)
    grad_x = fresh(rows) if needs[0] else None
    sums: tuple[list[Tensor], list[Tensor]] = ([], [])
    for g, x, m, r, *rest in blocks(grad, rows, mean, rstd, *(() if grad_x is None else (grad_x,))):
        normal = torch.sub(x, m).mul_(r)
        product = g * normal
        for found, terms, need in zip(sums, (product, g), needs[1:], strict=True):
            if need:
                found.append(terms.sum(0))
        for out in rest:
            shift, along = torch.mm(g, for_means), torch.mm(product, for_means)
            torch.addcmul(shift, normal, along, out=normal)
            torch.sub(g if weight is None else g * weight, normal, out=out).mul_(r)
    return grad_x, *(
        torch.stack(found).sum(0) if need else None for found, need in zip(sums, needs[1:], strict=True)
    )


@overridable
def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalizes over the last dimensions, then scales and shifts each place in them.

    Args:
        input: floating-point tensor of shape ``(*, *normalized_shape)``.
        normalized_shape: the sizes of the dimensions to normalize over.
        weight: tensor of that shape, or None for 1.
        bias: tensor of that shape, or None for 0.
        eps: added to the variance, in the squared unit of the input.

    Returns:
        A tensor of the input's shape and dtype. All tensors have one dtype, or a float16 or bfloat16 input comes
        with float32 parameters.

    Raises:
        TypeError: if ``input`` is no tensor, ``normalized_shape`` no sequence of integers or ``eps`` no number.
        NotImplementedError: if ``input`` is not floating point.
        RuntimeError: if shapes or dtypes do not fit.
    """
    x = floating("layer_norm", input)
    shape = check_rows("layer_norm", x, normalized_shape, weight=weight, bias=bias)
    check_dtypes("layer_norm", x, weight=weight, bias=bias)
    rows = math.prod(x.shape[: x.dim() - len(shape)])
    weight, bias = (p if p is None or p.dim() == 1 else p.reshape(-1) for p in (weight, bias))
    return LayerNormFunction.apply(x, weight, bias, (rows, math.prod(shape)), eps)
