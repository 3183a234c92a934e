r"""The exponential linear unit, with a fixed and with a learned α.

.. math::
    y = \begin{cases} x & x > 0 \\ \alpha (e^x - 1) & x \le 0 \end{cases}
    \qquad \frac{dy}{dx} = \begin{cases} 1 & x > 0 \\ \alpha e^x & x \le 0 \end{cases}
    \qquad \frac{dy}{d\alpha} = \begin{cases} 0 & x > 0 \\ e^x - 1 & x \le 0 \end{cases}

Negative inputs saturate at -α, which brings the mean activation nearer to zero. In the paper α is a fixed
hyperparameter; `LearnedELU` makes it a parameter, and back-propagation finds it.

The exponential is taken of min(x, 0), so that it cannot overflow on the side that is not selected and turn
the second derivative into inf · 0. At the kink the first derivative is that of the left side and the second
is zero, and NaN passes the gradient through, all as in PyTorch.

Source: Clevert, Unterthiner and Hochreiter, "Fast and Accurate Deep Network Learning by Exponential Linear
Units", ICLR 2016.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from scratchnet.arguments import floating, number, per_channel
from scratchnet.function import Function

__all__ = ["ELU", "ELUFunction", "LearnedELU", "LearnedELUFunction", "elu", "learned_elu"]


class ELUFunction(Function):
    """ELU with a fixed α. Keeps its input."""

    @staticmethod
    def forward(x: Tensor, *, alpha: float) -> tuple[Tensor, tuple[Tensor]]:
        """The half-line and the exponential."""
        return torch.where(x <= 0, alpha * torch.expm1(_negative(x)), x), (x,)

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, alpha: float) -> Tensor:
        """1 or α exp(x), times the gradient."""
        (x,) = saved
        return torch.where(x <= 0, grad * (alpha * torch.exp(_negative(x))), grad)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, alpha: float) -> Tensor:
        """1 or α exp(x), times the tangent."""
        (x,) = saved
        return torch.where(x <= 0, tangents[0] * (alpha * torch.exp(_negative(x))), tangents[0])


class LearnedELUFunction(Function):
    """ELU whose α is a tensor that broadcasts against the input. Keeps both."""

    autocast = "low_precision"

    @staticmethod
    def forward(x: Tensor, alpha: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The half-line and the exponential."""
        return torch.where(x <= 0, alpha * torch.expm1(_negative(x)), x), (x, alpha)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        """Of the input: 1 or α exp(x). Of α: exp(x) - 1, summed over what α was spread on."""
        x, alpha = saved
        negative = _negative(x)
        grad_x = torch.where(x <= 0, grad * (alpha * torch.exp(negative)), grad) if needs[0] else None
        grad_alpha = (grad * torch.expm1(negative)).sum_to_size(alpha.shape) if needs[1] else None
        return grad_x, grad_alpha

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor]) -> Tensor:
        """Product rule on the negative side."""
        x, alpha = saved
        tangent_x, tangent_alpha = tangents
        negative = _negative(x)
        bent = tangent_x * (alpha * torch.exp(negative)) + tangent_alpha * torch.expm1(negative)
        return torch.where(x <= 0, bent, tangent_x)


def _negative(x: Tensor) -> Tensor:
    """Min(x, 0), with slope 0 at 0, and 0 for NaN, which is not selected either."""
    return x.masked_fill(~(x < 0), 0)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """The input where it is positive, and ``alpha * (exp(input) - 1)`` elsewhere.

    Args:
        input: floating-point tensor of any shape.
        alpha: the negative of the value at which negative inputs saturate.
        inplace: overwrite ``input`` with the result.

    Returns:
        A tensor of the same shape.

    Raises:
        TypeError: if ``input`` is no tensor or ``alpha`` no number.
        NotImplementedError: if ``input`` is not floating point.
    """
    x = floating("elu", input)
    alpha = number("elu", alpha, "alpha")
    return input.copy_(ELUFunction.apply(x.clone(), alpha)) if inplace else ELUFunction.apply(x, alpha)


def learned_elu(input: Tensor, alpha: Tensor) -> Tensor:
    """ELU whose α is a tensor and receives a gradient.

    Args:
        input: tensor of shape ``(N, C, …)``, or ``(N,)``, which has one channel.
        alpha: one element for all channels, or ``C`` elements.

    Returns:
        A tensor of the input's shape.

    Raises:
        TypeError: if an argument is no tensor.
        RuntimeError: if ``alpha`` is not of shape ``()``, ``(1,)`` or ``(C,)``, or the dtypes differ.
    """
    return LearnedELUFunction.apply(*per_channel("learned_elu", floating("learned_elu", input), alpha, "alpha"))


class ELU(nn.Module):
    """`elu` as a module; input and output have the same shape."""

    __constants__ = ["alpha", "inplace"]

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Applies `elu`."""
        return elu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        """The options."""
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class LearnedELU(nn.Module):
    """`learned_elu` with α as a parameter, ``alpha`` of shape ``(num_parameters,)``."""

    __constants__ = ["num_parameters"]

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.alpha = nn.Parameter(torch.empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets every α to its initial value."""
        nn.init.constant_(self.alpha, self.init)

    def forward(self, input: Tensor) -> Tensor:
        """Applies `learned_elu`."""
        return learned_elu(input, self.alpha)

    def extra_repr(self) -> str:
        """The number of learned α."""
        return f"num_parameters={self.num_parameters}"
