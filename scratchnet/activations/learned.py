r"""The rectifiers whose left side is learned: PReLU and an ELU with a learned α.

.. math::
    y_{PReLU} = \begin{cases} x \\ w x \end{cases}
    \qquad \frac{dy}{dx} = \begin{cases} 1 \\ w \end{cases}
    \qquad \frac{dy}{dw} = \begin{cases} 0 & x > 0 \\ x & x \le 0 \end{cases}

.. math::
    y_{ELU} = \begin{cases} x \\ \alpha (e^x - 1) \end{cases}
    \qquad \frac{dy}{dx} = \begin{cases} 1 \\ \alpha e^x \end{cases}
    \qquad \frac{dy}{d\alpha} = \begin{cases} 0 & x > 0 \\ e^x - 1 & x \le 0 \end{cases}

The parameter is one for all channels, or one for each; its gradient is the sum over what it was spread on. In the
paper the α of ELU is a fixed hyperparameter; `LearnedELU` makes it a parameter, and back-propagation finds it.

At the kink, x = 0, the slope is that of the left side, as in PyTorch's backward passes (its PReLU takes the right
side's in forward mode, which contradicts its backward; ours does not).

Sources: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", 2015; Clevert, Unterthiner and Hochreiter, "Fast
and Accurate Deep Network Learning by Exponential Linear Units", ICLR 2016.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import floating, overridable, per_channel
from scratchnet.function import Function, elementwise

__all__ = ["LearnedELUFunction", "PReLUFunction", "learned_elu", "prelu"]


class PReLUFunction(Function):
    """Leaky ReLU whose slope is a tensor that broadcasts against the input. Saves both."""

    autocast = "low_precision"

    @staticmethod
    def forward(x: Tensor, weight: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The two half-lines."""
        return elementwise(_bent, x, x, weight.expand_as(x), like=(x,)), (x, weight)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        """Multiplies by 1 or the weight for the input; sums over negative inputs for the weight."""
        x, weight = saved
        grad_x = elementwise(_bent, x, grad, weight.expand_as(x), like=(x, grad)) if needs[0] else None
        grad_weight = elementwise(_negative_product, x, grad).sum_to_size(weight.shape) if needs[1] else None
        return grad_x, grad_weight

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor]) -> Tensor:
        """Product rule on the negative side."""
        x, weight = saved
        tangent_x, tangent_weight = tangents
        return torch.where(x > 0, tangent_x, weight * tangent_x + x * tangent_weight)


def _bent(x: Tensor, v: Tensor, weight: Tensor) -> Tensor:
    """v on the right, and weighted on the left."""
    return torch.where(x > 0, v, weight * v)


def _negative_product(x: Tensor, v: Tensor) -> Tensor:
    """x v on the left, 0 on the right."""
    return torch.where(x > 0, 0, x * v)


class LearnedELUFunction(Function):
    """ELU whose α is a tensor that broadcasts against the input. Saves both."""

    autocast = "widest"

    @staticmethod
    def forward(x: Tensor, alpha: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The half-line and the exponential."""
        return elementwise(_elu, x, alpha.expand_as(x), like=(x,)), (x, alpha)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        """Multiplies by 1 or α exp(x) for the input; sums exp(x) - 1 over the elements that share α."""
        x, alpha = saved
        grad_x = elementwise(_elu_chain, x, grad, alpha.expand_as(x), like=(x, grad)) if needs[0] else None
        grad_alpha = elementwise(_depth, x, grad).sum_to_size(alpha.shape) if needs[1] else None
        return grad_x, grad_alpha

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor]) -> Tensor:
        """Product rule on the negative side."""
        x, alpha = saved
        tangent_x, tangent_alpha = tangents
        return _elu_chain(x, tangent_x, alpha) + _depth(x, tangent_alpha)


def _negative_part(x: Tensor) -> Tensor:
    """min(x, 0), with slope 1 at 0, and 0 for NaN."""
    return x.masked_fill(~(x <= 0), 0)


def _elu(x: Tensor, alpha: Tensor) -> Tensor:
    """α (exp x - 1) on the left, x on the right."""
    return torch.where(x <= 0, alpha * torch.expm1(_negative_part(x)), x)


def _elu_chain(x: Tensor, v: Tensor, alpha: Tensor) -> Tensor:
    """α exp x on the left, 1 on the right, times v."""
    return torch.where(x <= 0, v * (alpha * torch.exp(_negative_part(x))), v)


def _depth(x: Tensor, v: Tensor) -> Tensor:
    """exp x - 1 on the left, 0 on the right, times v."""
    return v * torch.expm1(_negative_part(x))


@overridable
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """Leaky ReLU with a learned slope.

    Args:
        input: tensor of shape ``(N, C, …)``, or ``(N,)``, which has one channel.
        weight: the slope: one element for all channels, or ``C`` elements.

    Returns:
        A tensor of the input's shape.

    Raises:
        TypeError: if an argument is no tensor.
        RuntimeError: if ``weight`` is not of shape ``()``, ``(1,)`` or ``(C,)``, or the dtypes differ.
    """
    return PReLUFunction.apply(*per_channel("prelu", floating("prelu", input, integer=True, boolean=True), weight))


@overridable
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
