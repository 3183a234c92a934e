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

This is group normalization of M samples with N channels in one group and a single position, whose Function derives
and computes it. Nothing depends on other rows: training and evaluation are the same.

Shapes: input ``(*, *normalized_shape)``, seen as M rows of N elements.

Source: J. L. Ba, J. R. Kiros and G. E. Hinton, "Layer normalization", 2016.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from scratchnet.arguments import floating, number
from scratchnet.layers.normalization.group_norm import GroupNormFunction
from scratchnet.layers.normalization.parameters import check_dtypes
from scratchnet.layers.normalization.rows import check_rows, whole

__all__ = ["LayerNorm", "layer_norm"]


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
    number("layer_norm", eps, "eps")
    shape = check_rows("layer_norm", x, normalized_shape, weight=weight, bias=bias)
    check_dtypes("layer_norm", x, weight=weight, bias=bias)
    rows = math.prod(x.shape[: x.dim() - len(shape)])
    weight, bias = (p if p is None or p.dim() == 1 else p.reshape(-1) for p in (weight, bias))
    return GroupNormFunction.apply(x, weight, bias, (rows, 1, math.prod(shape), 1), eps)[0]


class LayerNorm(nn.Module):
    """`layer_norm` with a weight and a bias of shape ``normalized_shape``.

    Args:
        normalized_shape: the sizes of the dimensions to normalize over, or the size of the last one.
        eps: added to the variance.
        elementwise_affine: whether to learn a weight and a bias.
        bias: whether a layer with a weight has a bias.
        device: where the parameters live.
        dtype: their dtype.
    """

    __constants__ = ["elementwise_affine", "eps", "normalized_shape"]

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = whole(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        for name, wanted in (("weight", elementwise_affine), ("bias", elementwise_affine and bias)):
            values = torch.empty(self.normalized_shape, device=device, dtype=dtype) if wanted else None
            self.register_parameter(name, None if values is None else nn.Parameter(values))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets weight to 1 and bias to 0."""
        if self.weight is not None:
            nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Applies `layer_norm`."""
        return layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The options."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )
