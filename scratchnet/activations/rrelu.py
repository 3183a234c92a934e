r"""The randomised leaky ReLU.

.. math::
    y_i = \begin{cases} x_i & x_i > 0 \\ a_i x_i & x_i \le 0 \end{cases}
    \qquad a_i \sim \operatorname{Uniform}(l, u)
    \qquad \frac{\partial y_i}{\partial x_i} = \begin{cases} 1 & x_i > 0 \\ a_i & x_i \le 0 \end{cases}

In training each negative element draws a slope of its own, which regularises as dropout does; at evaluation all
have the mean slope, (l + u) / 2, and the op is a leaky ReLU. Given the slopes the map is linear: y = a ⊙ x with
a = 1 on the right, so backward and forward mode are products with the same a, which is all that is kept.

On a CPU the slopes are those that PyTorch draws from the same generator state, one for each negative element in
order, and the generator is left in the same state. Where the number of negative elements must not be looked at
(under `torch.compile` and `torch.func`, in forward mode), one is drawn for every element and the first ones are
used, which gives the same slopes but leaves the generator further on.

Source: Xu, Wang, Chen and Li, "Empirical Evaluation of Rectified Activations in Convolutional Network", 2015.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from scratchnet.activations.relu import LeakyReLUFunction, overwritten_leaky_relu
from scratchnet.arguments import floating, overridable
from scratchnet.function import Function, overwrite, readable

__all__ = ["RReLUFunction", "rrelu", "rrelu_"]


class RReLUFunction(Function):
    """The input times its slopes. Saves the slopes."""

    @staticmethod
    def forward(x: Tensor, slopes: Tensor) -> tuple[Tensor, tuple[Tensor]]:
        """The product."""
        return x * slopes, (slopes,)

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool]) -> tuple[Tensor, None]:
        """The same product of the gradient."""
        return grad * saved[0], None

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor]) -> Tensor:
        """The same product of the tangent."""
        return tangents[0] * saved[0]


@overridable
def rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """Leaky ReLU with random slopes in training, and their mean otherwise.

    Args:
        input: floating-point tensor of any shape.
        lower: the least slope.
        upper: the greatest slope.
        training: whether to draw the slopes.
        inplace: overwrite ``input`` with the result.

    Returns:
        A tensor of the same shape.

    Raises:
        TypeError: if ``input`` is no tensor, or a bound no number.
        NotImplementedError: if ``input`` is not floating point.
        RuntimeError: if a bound is not finite, or ``lower`` is greater than ``upper``.
    """
    x = floating("rrelu", input)
    if not (math.isfinite(lower) and math.isfinite(upper)):
        raise RuntimeError(f"rrelu: expected finite bounds, got lower={lower} and upper={upper}")
    if lower > upper:
        raise RuntimeError(f"rrelu: expected lower of at most upper={upper}, got {lower}")
    if not training:
        slope = (lower + upper) / 2
        return overwritten_leaky_relu(x, slope) if inplace else LeakyReLUFunction.apply(x, slope).contiguous()
    # Drawn here, not in the Function, whose forward may run a second time.
    slopes = _slopes(x, lower, upper)
    return overwrite(RReLUFunction, x, slopes) if inplace else RReLUFunction.apply(x, slopes).contiguous()


@overridable
def rrelu_(input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False) -> Tensor:
    """`rrelu`, which overwrites its input."""
    return rrelu(input, lower, upper, training, inplace=True)


def _slopes(x: Tensor, lower: float, upper: float) -> Tensor:
    """1 where x is positive, and a random slope elsewhere; of a short x in float32."""
    dtype = torch.float64 if x.dtype is torch.float64 else torch.float32
    draws = torch.float64 if x.device.type in ("cpu", "meta") else dtype
    least, greatest = (torch.full((), b, dtype=dtype, device=x.device).to(draws) for b in (lower, upper))

    def draw(count: int) -> Tensor:
        unit = torch.rand(count, dtype=draws, device=x.device)
        return (unit * (greatest - least) + least).to(dtype)

    negative = x <= 0
    if readable(x):
        slopes = torch.ones(x.shape, dtype=dtype)
        return slopes.masked_scatter_(negative, draw(int(negative.count_nonzero())))
    rank = negative.reshape(-1).cumsum(0).sub(1).clamp(min=0).view(x.shape)
    return torch.where(negative, draw(x.numel())[rank], 1)
