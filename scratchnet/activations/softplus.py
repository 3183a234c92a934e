r"""Softplus, the smooth rectifier, and the logarithm of the sigmoid, its mirror image.

.. math::
    \operatorname{softplus}(x) = \frac{1}{\beta} \log(1 + e^{\beta x}), \qquad \frac{dy}{dx} = \sigma(\beta x)

.. math::
    \operatorname{logsigmoid}(x) = \log \sigma(x) = -\log(1 + e^{-x}), \qquad \frac{dy}{dx} = \sigma(-x)

The exponential of a large number overflows, so both are written as

.. math:: \log(1 + e^z) = \max(z, 0) + \log(1 + e^{-|z|})

with ``log1p`` for the second part. Above a threshold of βx softplus is the identity, as in PyTorch, where that is
a guard against overflow; here it is only a convention.

Source: Dugas, Bengio, Bélisle, Nadeau and Garcia, "Incorporating Second-Order Functional Knowledge for Better Option
Pricing", 2000.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scratchnet.activations.sigmoid import LogisticFunction, LogisticSlopeFunction
from scratchnet.arguments import floating, overridable
from scratchnet.function import Elementwise, replayed

__all__ = ["LogSigmoidFunction", "SoftplusFunction", "logsigmoid", "positive_part", "softplus"]


def positive_part(x: Tensor) -> Tensor:
    """max(x, 0), with slope 1/2 at 0, which that of log(1 + exp(-|x|)) adds nothing to."""
    if replayed():
        return torch.where(x > 0, x, torch.where(x < 0, 0, x / 2))
    return x.clamp(min=0)


class SoftplusFunction(Elementwise):
    """The smooth rectifier, and the identity above a threshold. Saves its input."""

    autocast = "float32_on_cuda"

    @staticmethod
    def value(x: Tensor, *, beta: float, threshold: float) -> Tensor:
        """(max(βx, 0) + log(1 + exp(-|βx|))) / β."""
        z = beta * x
        bent = (_tail(z) + positive_part(z)) / beta
        if _threshold_is_beyond_rounding(x.dtype, beta, threshold):
            return bent
        return torch.where(z > threshold, x, bent)

    @staticmethod
    def slope(x: Tensor, *, beta: float, threshold: float) -> Tensor:
        return SoftplusSlopeFunction.apply(x, beta, threshold)


class SoftplusSlopeFunction(Elementwise):
    """σ(βx), and 1 above the threshold, from which its own slope is 0 as in PyTorch. Saves its input."""

    @staticmethod
    def value(x: Tensor, *, beta: float, threshold: float) -> Tensor:
        z = beta * x
        bent = LogisticFunction.apply(z)
        if _threshold_is_beyond_rounding(x.dtype, beta, threshold):
            return bent
        return torch.where(z > threshold, 1, bent)

    @staticmethod
    def chain(x: Tensor, v: Tensor, *, beta: float, threshold: float) -> Tensor:
        z = beta * x
        return torch.where(z >= threshold, 0, v * (beta * LogisticSlopeFunction.apply(z)))


class LogSigmoidFunction(Elementwise):
    """The logarithm of the sigmoid. Saves its input."""

    @staticmethod
    def value(x: Tensor) -> Tensor:
        """min(x, 0) - log(1 + exp(-|x|))."""
        return -positive_part(-x) - _tail(x)

    @staticmethod
    def slope(x: Tensor) -> Tensor:
        """σ(-x)."""
        return LogisticFunction.apply(-x)


def _threshold_is_beyond_rounding(dtype: torch.dtype, beta: float, threshold: float) -> bool:
    """Whether from the threshold on the tail vanishes beside x, and the slope is 1, without being told so."""
    return beta == 1 and threshold > 1 and math.exp(-threshold) < torch.finfo(dtype).eps / 8


def _tail(z: Tensor) -> Tensor:
    """log(1 + exp(-|z|)), which is at most log 2."""
    return torch.log1p(torch.exp(-torch.abs(z)))


@overridable
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """``log(1 + exp(beta * input)) / beta``, a smooth rectifier.

    Args:
        input: floating-point tensor of any shape.
        beta: how sharply it bends: the larger, the closer to ReLU.
        threshold: the value of ``beta * input`` above which the input is returned as it is.

    Returns:
        A tensor of the same shape.

    Raises:
        TypeError: if ``input`` is no tensor, or an option no number.
        ValueError: if ``beta`` is 0.
        NotImplementedError: if ``input`` is not floating point.
    """
    x = floating("softplus", input)
    if beta == 0:
        raise ValueError("softplus: expected beta other than 0, got 0; a larger one bends more sharply")
    return SoftplusFunction.apply(x, beta, threshold)


@overridable
def logsigmoid(input: Tensor) -> Tensor:
    """The logarithm of the sigmoid, without the underflow on the left.

    Args:
        input: floating-point tensor of any shape.

    Returns:
        A tensor of the same shape, with values of at most 0.

    Raises:
        TypeError: if ``input`` is no tensor.
        NotImplementedError: if ``input`` is not floating point.
    """
    return LogSigmoidFunction.apply(floating("logsigmoid", input)).contiguous()
