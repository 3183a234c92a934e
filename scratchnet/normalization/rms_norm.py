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

Shapes: input ``(*, *normalized_shape)``; a row is the last dimensions.

Source: B. Zhang and R. Sennrich, "Root mean square layer normalization", 2019.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import floating, overridable
from scratchnet.function import LOW_PRECISION, Rowwise
from scratchnet.normalization.rows import Dims, check_rows, last_dims, sum_rows

__all__ = ["RMSNormFunction", "rms_norm"]


class RMSNormFunction(Rowwise):
    """Divides by the root mean square over the last dimensions, and scales the places. Saves x, w and r."""

    autocast = "float32_on_cuda"

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor | None, *, dims: Dims, eps: float
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """Multiplies by r and w."""
        rstd = ((x * x).mean(dims, keepdim=True) + eps) ** -0.5
        y = x * rstd
        return (y if weight is None else y * weight).contiguous(), (x, weight, rstd)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, dims: Dims, eps: float
    ) -> tuple[Tensor | None, Tensor | None]:
        """Projects for x, and sums over rows for w."""
        x, weight, rstd = saved
        grad_x = _project(grad if weight is None else grad * weight, x, rstd, dims) if needs[0] else None
        return grad_x, sum_rows(grad * (x * rstd), dims) if needs[1] else None

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, dims: Dims, eps: float) -> Tensor:
        """Projects for x, and applies the product rule for w."""
        x, weight, rstd = saved
        y = _project(tangents[0], x, rstd, dims)
        y = y if weight is None else y * weight
        return y if tangents[1] is None else y + x * rstd * tangents[1]


def _project(h: Tensor, x: Tensor, rstd: Tensor, dims: Dims) -> Tensor:
    """Returns r (h - x̂ · mean of h x̂)."""
    return rstd * (h - x * ((h * x).mean(dims, keepdim=True) * rstd**2))


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
    return RMSNormFunction.apply(x, weight, last_dims(shape), offset)
