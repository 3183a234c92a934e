r"""The rectifier and its leaky relatives.

.. math::
    y = \begin{cases} x & x > 0 \\ \alpha x & x \le 0 \end{cases}
    \qquad \frac{dy}{dx} = \begin{cases} 1 & x > 0 \\ \alpha & x \le 0 \end{cases}
    \qquad \frac{dy}{d\alpha} = \begin{cases} 0 & x > 0 \\ x & x \le 0 \end{cases}

ReLU has α = 0: two half-lines, and a unit whose inputs are all negative gets no gradient and cannot recover
(it is dead). Leaky ReLU has a small fixed α, so its units keep learning; PReLU learns α, one for all channels
or one for each. At the kink, x = 0, the slope is that of the left side, as in PyTorch's backward passes
(its PReLU takes the right side's in forward mode, which contradicts its backward; ours does not).

Sources: Fukushima 1969 and Nair and Hinton 2010 (ReLU); Maas, Hannun and Ng 2013 (leaky ReLU);
He, Zhang, Ren and Sun 2015 (PReLU).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from scratchnet.arguments import describe, floating, number, per_channel, tensor
from scratchnet.function import Function

__all__ = [
    "LeakyReLU",
    "LeakyReLUFunction",
    "PReLU",
    "PReLUFunction",
    "ReLU",
    "ReLUFunction",
    "leaky_relu",
    "prelu",
    "relu",
]


class ReLUFunction(Function):
    """max(x, 0). Keeps its output, which the next layer keeps anyway."""

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, tuple[Tensor]]:
        """Clamps from below; NaN stays NaN."""
        y = x.clamp(min=0)
        return y, (y,)

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool]) -> Tensor:
        """The gradient where the output is positive; selected, not multiplied, so that inf · 0 is 0."""
        (y,) = saved
        return grad.masked_fill(y <= 0, 0)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor]) -> Tensor:
        """The tangent where the output is positive."""
        (y,) = saved
        return tangents[0].masked_fill(y <= 0, 0)


class LeakyReLUFunction(Function):
    """x for positive x, slope · x otherwise. Keeps its input."""

    @staticmethod
    def forward(x: Tensor, *, negative_slope: float) -> tuple[Tensor, tuple[Tensor]]:
        """The two half-lines."""
        return torch.where(x > 0, x, negative_slope * x), (x,)

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, negative_slope: float) -> Tensor:
        """1 or the negative slope, times the gradient."""
        (x,) = saved
        return torch.where(x > 0, grad, negative_slope * grad)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, negative_slope: float) -> Tensor:
        """1 or the negative slope, times the tangent."""
        (x,) = saved
        return torch.where(x > 0, tangents[0], negative_slope * tangents[0])


class PReLUFunction(Function):
    """Leaky ReLU whose slope is a tensor that broadcasts against the input. Keeps both."""

    autocast = "low_precision"

    @staticmethod
    def forward(x: Tensor, weight: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The two half-lines."""
        return torch.where(x > 0, x, weight * x), (x, weight)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        """Of the input: 1 or the weight. Of the weight: the negative inputs, summed over the channel."""
        x, weight = saved
        positive = x > 0
        grad_x = torch.where(positive, grad, weight * grad) if needs[0] else None
        grad_weight = (x * grad).masked_fill(positive, 0).sum_to_size(weight.shape) if needs[1] else None
        return grad_x, grad_weight

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor]) -> Tensor:
        """Product rule on the negative side."""
        x, weight = saved
        tangent_x, tangent_weight = tangents
        return torch.where(x > 0, tangent_x, weight * tangent_x + x * tangent_weight)


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
    if tensor("relu", input).dtype is torch.bool:
        raise RuntimeError(f"relu: expected numbers, got {describe(input)}; convert it with .float()")
    y = ReLUFunction.apply(input) if input.is_floating_point() else input.clamp(min=0)
    return input.copy_(y) if inplace else y


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
    slope = number("leaky_relu", negative_slope, "negative_slope")
    if inplace:
        return input.copy_(LeakyReLUFunction.apply(x.clone(), slope))
    return LeakyReLUFunction.apply(x, slope)


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
    return PReLUFunction.apply(*per_channel("prelu", input, weight))


class ReLU(nn.Module):
    """`relu` as a module; input and output have the same shape."""

    __constants__ = ["inplace"]

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Applies `relu`."""
        return relu(input, self.inplace)

    def extra_repr(self) -> str:
        """The options that differ from the default."""
        return "inplace=True" if self.inplace else ""


class LeakyReLU(nn.Module):
    """`leaky_relu` as a module; input and output have the same shape."""

    __constants__ = ["inplace", "negative_slope"]

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Applies `leaky_relu`."""
        return leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        """The options."""
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class PReLU(nn.Module):
    """`prelu` with its slope as a parameter, ``weight`` of shape ``(num_parameters,)``."""

    __constants__ = ["num_parameters"]

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = nn.Parameter(torch.empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets every slope to its initial value."""
        nn.init.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        """Applies `prelu`."""
        return prelu(input, self.weight)

    def extra_repr(self) -> str:
        """The number of slopes."""
        return f"num_parameters={self.num_parameters}"
