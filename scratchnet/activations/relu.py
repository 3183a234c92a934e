r"""The rectifier and the leaky one.

.. math::
    y = \begin{cases} x & x > 0 \\ \alpha x & x \le 0 \end{cases}
    \qquad \frac{dy}{dx} = \begin{cases} 1 & x > 0 \\ \alpha & x \le 0 \end{cases}

ReLU has α = 0: two half-lines, and a unit whose inputs are all negative gets no gradient and cannot recover
(it is dead). Leaky ReLU has a small fixed α, so its units keep learning. At the kink, x = 0, the slope is that of
the left side, as in PyTorch.

Sources: Fukushima 1969 and Nair and Hinton 2010 (ReLU); Maas, Hannun and Ng 2013 (leaky ReLU).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.arguments import describe, floating, overridable, tensor
from scratchnet.function import Elementwise, Function, clipped, elementwise, overwrite

__all__ = [
    "LeakyReLUFromOutputFunction",
    "LeakyReLUFunction",
    "ReLUFunction",
    "leaky_relu",
    "leaky_relu_",
    "overwritten_leaky_relu",
    "relu",
    "relu_",
    "where_positive",
]


class ReLUFunction(Function):
    """max(x, 0). Saves its output, which the next layer keeps anyway."""

    keeps_output = True
    native_low_precision = True  # nothing is rounded

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, tuple[Tensor]]:
        """Clamps from below; NaN stays NaN."""
        y = clipped(x, 0)
        return y, (y,)

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool]) -> Tensor:
        """The gradient where the output is positive; selected, not multiplied, so that inf · 0 is 0."""
        (y,) = saved
        return elementwise(where_positive, y, grad)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor]) -> Tensor:
        """The tangent where the output is positive."""
        (y,) = saved
        return where_positive(y, tangents[0])


def where_positive(y: Tensor, v: Tensor) -> Tensor:
    """v where y, which is not negative, is not 0."""
    return torch.where(y != 0, v, 0)


class LeakyReLUFunction(Elementwise):
    """x for positive x, slope · x otherwise."""

    gradient_follows_input = True

    @staticmethod
    def value(x: Tensor, *, negative_slope: float) -> Tensor:
        """The two half-lines."""
        # A slope of 0 makes 0 of -∞ too; one that a traced size sets is not read.
        flat = isinstance(negative_slope, float) and negative_slope == 0
        return torch.where(x > 0, x, clipped(x, 0) if flat else negative_slope * x)

    @staticmethod
    def chain(x: Tensor, v: Tensor, *, negative_slope: float) -> Tensor:
        """1 or the negative slope, times v."""
        if 0 <= negative_slope <= 1:
            return (x > 0).to(x.dtype).clamp(min=negative_slope) * v
        return torch.where(x > 0, v, negative_slope * v)


class LeakyReLUFromOutputFunction(LeakyReLUFunction):
    """The same, for a slope that is not negative: then the output has the sign of the input."""

    slope_from_output = True


def overwritten_leaky_relu(x: Tensor, slope: float) -> Tensor:
    """The leaky ReLU in the memory of its input."""
    return overwrite(LeakyReLUFromOutputFunction if slope >= 0 else LeakyReLUFunction, x, slope)


@overridable
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0) of each element.

    Args:
        input: tensor of any shape.
        inplace: overwrite ``input`` with the result.

    Returns:
        A tensor of the same shape.

    Raises:
        TypeError: if ``input`` is no tensor.
        RuntimeError: if ``input`` is boolean.
    """
    x = tensor("relu", input)
    if x.dtype is torch.bool:
        raise RuntimeError(f"relu: expected numbers, got {describe(x)}; convert it with .float()")
    if x.is_floating_point():
        return overwrite(ReLUFunction, x) if inplace else ReLUFunction.apply(x)
    return x.clamp_(min=0) if inplace else x.clamp(min=0)


@overridable
def relu_(input: Tensor) -> Tensor:
    """`relu`, which overwrites its input."""
    return relu(input, inplace=True)


@overridable
def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """The input where it is positive, and ``negative_slope`` times the input elsewhere.

    Args:
        input: floating-point tensor of any shape.
        negative_slope: slope of the left half-line.
        inplace: overwrite ``input`` with the result.

    Returns:
        A tensor of the same shape.

    Raises:
        TypeError: if ``input`` is no tensor or ``negative_slope`` no number.
        NotImplementedError: if ``input`` is not floating point.
    """
    x = floating("leaky_relu", input)
    return overwritten_leaky_relu(x, negative_slope) if inplace else LeakyReLUFunction.apply(x, negative_slope)


@overridable
def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """`leaky_relu`, which overwrites its input."""
    return leaky_relu(input, negative_slope, inplace=True)
