r"""Layer normalization: each sample with mean 0 and variance 1 over its last dimensions.

.. math::
    \hat x = \frac{x - \mu}{s}, \quad s = \sqrt{\sigma^2 + \varepsilon}, \qquad y = w \hat x + b, \qquad
    \bar x = \frac{w g - \operatorname{mean}(w g) - \hat x \operatorname{mean}(w g \hat x)}{s}

Source: J. L. Ba, J. R. Kiros and G. E. Hinton, "Layer normalization", 2016.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from scratchnet.arguments import describe, floating
from scratchnet.function import Function

__all__ = ["LayerNorm", "LayerNormFunction", "layer_norm"]


class LayerNormFunction(Function):
    """Normalization of the last n dimensions. Keeps the input and the weight."""

    autocast = "float32_on_cuda"

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor | None, bias: Tensor | None, *, n: int, eps: float
    ) -> tuple[Tensor, tuple[Tensor, Tensor | None]]:
        """The normalized input, scaled and shifted."""
        y = _normalized(x, n, eps)[0]
        y = y if weight is None else y * weight
        return (y if bias is None else y + bias), (x, weight)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, n: int, eps: float
    ) -> tuple[Tensor | None, ...]:
        """Of the input: less what would move the mean or the variance."""
        x, weight = saved
        unit, scale, dims = _normalized(x, n, eps)
        push = grad if weight is None else grad * weight
        inner = push - push.mean(dims, keepdim=True) - unit * (push * unit).mean(dims, keepdim=True)
        shape = x.shape[x.dim() - n :]
        grad_weight = (grad * unit).sum_to_size(shape) if needs[1] else None
        grad_bias = grad.sum_to_size(shape) if needs[2] else None
        return inner * scale, grad_weight, grad_bias

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, n: int, eps: float) -> Tensor:
        """The normalized tangent less what is along the mean and the input, and the product rule."""
        x, weight = saved
        unit, scale, dims = _normalized(x, n, eps)
        tangent = tangents[0] - tangents[0].mean(dims, keepdim=True)
        tangent = (tangent - unit * (tangent * unit).mean(dims, keepdim=True)) * scale
        if weight is not None:
            tangent = tangent * weight + unit * tangents[1]
        return tangent if tangents[2] is None else tangent + tangents[2]


def _normalized(x: Tensor, n: int, eps: float) -> tuple[Tensor, Tensor, list[int]]:
    dims = list(range(x.dim() - n, x.dim()))
    centred = x - x.mean(dims, keepdim=True)
    scale = 1 / torch.sqrt((centred * centred).mean(dims, keepdim=True) + eps)
    return centred * scale, scale, dims


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Mean 0 and variance 1 over the last dimensions, then a scale and a shift for each element.

    Raises:
        RuntimeError: if the input does not end in ``normalized_shape``.
    """
    n = len(normalized_shape)
    if n == 0 or tuple(floating("layer_norm", input).shape[-n:]) != tuple(normalized_shape):
        raise RuntimeError(f"layer_norm: expected input of shape (*, {normalized_shape}), got {describe(input)}")
    return LayerNormFunction.apply(input, weight, bias, n, eps)


class LayerNorm(nn.Module):
    """`layer_norm` with ``weight`` and ``bias`` as parameters, which start as ones and zeros."""

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
        self.normalized_shape = (
            (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        )
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        size = math.prod(self.normalized_shape)
        for name, wanted in (("weight", elementwise_affine), ("bias", elementwise_affine and bias)):
            start = torch.ones if name == "weight" else torch.zeros
            values = start(size, device=device, dtype=dtype).view(self.normalized_shape) if wanted else None
            self.register_parameter(name, None if values is None else nn.Parameter(values))

    def forward(self, input: Tensor) -> Tensor:
        """Applies `layer_norm`."""
        return layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The options."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )
