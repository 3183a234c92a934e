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

Shapes: input ``(*, *normalized_shape)``; a row is the last dimensions.

Source: J. L. Ba, J. R. Kiros and G. E. Hinton, "Layer normalization", 2016.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import floating, overridable
from scratchnet.function import Rowwise
from scratchnet.normalization.parameters import check_dtypes
from scratchnet.normalization.rows import Dims, check_rows, last_dims, project, standardize, sum_rows

__all__ = ["LayerNormFunction", "layer_norm"]


class LayerNormFunction(Rowwise):
    """Normalizes over the last dimensions, then scales and shifts the places. Saves x, w, μ and r."""

    autocast = "float32_on_cuda"

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor | None, bias: Tensor | None, *, dims: Dims, eps: float
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """Computes the output."""
        y, mean, _, rstd = standardize(x, dims, eps)
        if weight is not None and bias is not None:
            y = torch.addcmul(bias, y, weight)
        elif weight is not None:
            y = y * weight
        elif bias is not None:
            y = y + bias
        return y.contiguous(), (x, weight, mean, rstd)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, dims: Dims, eps: float
    ) -> tuple[Tensor | None, ...]:
        """Projects for x, and sums over rows for w and b."""
        x, weight, mean, rstd = saved
        normal = (x - mean) * rstd
        grad_x = project(grad if weight is None else grad * weight, normal, rstd, dims) if needs[0] else None
        grad_weight = sum_rows(grad * normal, dims) if needs[1] else None
        grad_bias = sum_rows(grad, dims) if needs[2] else None
        return grad_x, grad_weight, grad_bias

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, dims: Dims, eps: float) -> Tensor:
        """Projects for x, and applies the product rule for w and b."""
        x, weight, mean, rstd = saved
        tangent, tangent_w, tangent_b = tangents
        normal = (x - mean) * rstd
        y = project(tangent, normal, rstd, dims)
        y = y if weight is None else y * weight
        y = y if tangent_w is None else y + normal * tangent_w
        return y if tangent_b is None else y + tangent_b


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
    return LayerNormFunction.apply(x, weight, bias, last_dims(shape), eps)
