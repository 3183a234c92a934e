r"""The exponential linear units: ELU, CELU and SELU.

.. math::
    y = \lambda \begin{cases} x & x > 0 \\ \alpha (e^{r x} - 1) & x \le 0 \end{cases}
    \qquad \frac{dy}{dx} = \lambda \begin{cases} 1 & x > 0 \\ \alpha r e^{r x} & x \le 0 \end{cases}

Negative inputs saturate at -λα, which brings the mean activation nearer to zero.

====  =======  =======  =======  ==========================================================================
op    α        r        λ        why
====  =======  =======  =======  ==========================================================================
ELU   free     1        1        saturates where one likes, with slope α on the left of the kink
CELU  free     1 / α    1        the slope is 1 on both sides for every α: continuously differentiable
SELU  1.6733…  1        1.0507…  mean 0 and variance 1 are the fixed point of a deep network of such units
====  =======  =======  =======  ==========================================================================

The exponential is taken of min(x, 0), so that it cannot overflow on the side that is not selected and turn
a derivative into inf · 0. At the kink the first derivative is that of the left side and the second
is zero, and NaN passes the gradient through, all as in PyTorch.

Sources: Clevert, Unterthiner and Hochreiter, "Fast and Accurate Deep Network Learning by Exponential Linear
Units", ICLR 2016; Barron, "Continuously Differentiable Exponential Linear Units", 2017; Klambauer, Unterthiner,
Mayr and Hochreiter, "Self-Normalizing Neural Networks", NeurIPS 2017.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scratchnet.arguments import floating, overridable
from scratchnet.function import Elementwise, overwrite, recorded

__all__ = [
    "ELUFromOutputFunction",
    "ELUFunction",
    "celu",
    "celu_",
    "elu",
    "elu_",
    "selu",
    "selu_",
]

SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


class ELUFunction(Elementwise):
    """The half-line and the exponential, with height α, rate r and scale λ."""

    @staticmethod
    def value(x: Tensor, *, alpha: float, rate: float, scale: float) -> Tensor:
        """λx, or λα (exp(rx) - 1)."""
        low = rate * x.clamp(max=0)
        # An export to ONNX, which has no expm1, loses digits near 0.
        low = torch.exp(low) - 1 if torch.onnx.is_in_onnx_export() else torch.expm1(low)
        high = torch.where(x <= 0, 0, x)  # max(x, 0), with slope 0 at 0
        return torch.add(alpha * scale * low, high, alpha=scale)

    @staticmethod
    def chain(x: Tensor, v: Tensor, *, alpha: float, rate: float, scale: float) -> Tensor:
        """λ, or λαr exp(rx), times v."""
        bent = v * BentSlopeFunction.apply(x, alpha * scale * rate, rate)
        return torch.where(x <= 0, bent, _scaled(v, scale))


class BentSlopeFunction(Elementwise):
    """λαr exp(rx), the slope on the left, and any finite number on the right. Its own slope is 0 from the kink on."""

    @staticmethod
    def value(x: Tensor, *, factor: float, rate: float) -> Tensor:
        return factor * torch.exp(rate * torch.where(x <= 0, x, 0))

    @staticmethod
    def chain(x: Tensor, v: Tensor, *, factor: float, rate: float) -> Tensor:
        return torch.where(x < 0, v * BentSlopeFunction.apply(x, factor * rate, rate), 0)


class ELUFromOutputFunction(ELUFunction):
    """The same, for an α that is not negative: then the output y tells the slope, λ or r (y + λα)."""

    slope_from_output = True

    @staticmethod
    def chain(x: Tensor, v: Tensor, *, alpha: float, rate: float, scale: float) -> Tensor:
        """The slope, from the output in the place of x, times v."""
        # On the right, any finite number with slope 0: one step more of seven, so only where that is differentiated.
        negative = torch.where(x < 0, x, 0) if recorded() else x
        return torch.where(x <= 0, v * (rate * (negative + alpha * scale)), _scaled(v, scale))


def _overwritten(x: Tensor, alpha: float, rate: float, scale: float) -> Tensor:
    """The output in the memory of the input."""
    return overwrite(ELUFromOutputFunction if alpha >= 0 else ELUFunction, x, alpha, rate, scale)


def _scaled(x: Tensor, scale: float) -> Tensor:
    return x if scale == 1 else scale * x


@overridable
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
    options = (alpha, 1.0, 1.0)
    return _overwritten(x, *options) if inplace else ELUFunction.apply(x, *options)


@overridable
def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`elu`, which overwrites its input."""
    return elu(input, alpha, inplace=True)


@overridable
def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """The input where it is positive, and ``alpha * (exp(input / alpha) - 1)`` elsewhere.

    Args:
        input: floating-point tensor of any shape.
        alpha: the negative of the value at which negative inputs saturate.
        inplace: overwrite ``input`` with the result.

    Returns:
        A tensor of the same shape.

    Raises:
        TypeError: if ``input`` is no tensor or ``alpha`` no number.
        RuntimeError: if ``alpha`` is 0.
        NotImplementedError: if ``input`` is not floating point.
    """
    x = floating("celu", input)
    if alpha == 0:
        raise RuntimeError("celu: expected alpha other than 0, got 0; its limit for small alpha is relu")
    options = (alpha, 1 / alpha, 1.0)
    return _overwritten(x, *options) if inplace else ELUFunction.apply(x, *options)


@overridable
def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """`celu`, which overwrites its input."""
    return celu(input, alpha, inplace=True)


@overridable
def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """ELU with the α and the scale under which a network normalises itself.

    Args:
        input: floating-point tensor of any shape.
        inplace: overwrite ``input`` with the result.

    Returns:
        A tensor of the same shape.

    Raises:
        TypeError: if ``input`` is no tensor.
        NotImplementedError: if ``input`` is not floating point.
    """
    x = floating("selu", input)
    options = (SELU_ALPHA, 1.0, SELU_SCALE)
    return _overwritten(x, *options) if inplace else ELUFunction.apply(x, *options)


@overridable
def selu_(input: Tensor) -> Tensor:
    """`selu`, which overwrites its input."""
    return selu(input, inplace=True)
