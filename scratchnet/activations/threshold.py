r"""The threshold: the input above it, a constant elsewhere.

.. math::
    y = \begin{cases} x & x > t \\ v & x \le t \end{cases}
    \qquad \frac{dy}{dx} = \begin{cases} 1 & x > t \\ 0 & x \le t \end{cases}

With t = v = 0 it is ReLU. Elsewhere it jumps from v to t, which no gradient sees. NaN is not below any threshold,
so it stays and passes the gradient through, as in PyTorch.

Source: Konda, Memisevic and Krueger, "Zero-bias autoencoders and the benefits of co-adapting features", 2014.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scratchnet.arguments import describe, is_integer, overridable, tensor
from scratchnet.function import Elementwise, overwrite

__all__ = ["ThresholdFunction", "threshold", "threshold_"]


class ThresholdFunction(Elementwise):
    """The input above the threshold, a constant elsewhere."""

    gradient_follows_input = True

    @staticmethod
    def value(x: Tensor, *, threshold: float, value: float) -> Tensor:
        """Fills what is not above."""
        return torch.where(x <= threshold, value, x)

    @staticmethod
    def chain(x: Tensor, v: Tensor, *, threshold: float, value: float) -> Tensor:
        """v above the threshold, 0 elsewhere."""
        return torch.where(x <= threshold, 0, v)


@overridable
def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """The input where it is greater than ``threshold``, and ``value`` elsewhere.

    Args:
        input: tensor of any shape; of an integer tensor threshold and value are rounded towards 0.
        threshold: what an element must exceed to stay.
        value: what replaces the others.
        inplace: overwrite ``input`` with the result.

    Returns:
        A tensor of the same shape and dtype.

    Raises:
        TypeError: if ``input`` is no tensor, or an option no number.
        NotImplementedError: if ``input`` is boolean or complex.
    """
    return _threshold(input, threshold, value, inplace)


@overridable
def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """`threshold`, which overwrites its input."""
    return _threshold(input, threshold, value, inplace=True)


def _threshold(input: Tensor, threshold: float, value: float, inplace: bool) -> Tensor:
    """The name of the function is that of its argument, which hides it."""
    x = tensor("threshold", input)
    options = (threshold, value)
    if x.is_floating_point():
        return overwrite(ThresholdFunction, x, *options) if inplace else ThresholdFunction.apply(x, *options)
    if not is_integer(x):
        raise NotImplementedError(
            f"threshold: expected numbers that have an order, got {describe(x)}; use .float() or .abs()"
        )
    y = x.masked_fill(x <= int(threshold), int(value))
    return x.copy_(y) if inplace else y
