r"""Hardtanh, and ReLU6, which is one.

.. math::
    \operatorname{hardtanh}(x) = \min(\max(x, a), b)
    \qquad \operatorname{relu6}(x) = \min(\max(x, 0), 6)
    \qquad \frac{dy}{dx} = \begin{cases} 1 & a < x < b \\ 0 & \text{elsewhere} \end{cases}

At the ends themselves the slope is 0, as it is beyond them. ReLU6 keeps its values in a range that 8 bits can resolve.

Sources: Collobert, "Large Scale Machine Learning", 2004 (hardtanh); Krizhevsky, "Convolutional Deep Belief Networks
on CIFAR-10", 2010 (ReLU6).
"""

from __future__ import annotations

import torch
from torch import Tensor

from scratchnet.arguments import describe, overridable, tensor
from scratchnet.function import Elementwise, clipped, overwrite

__all__ = ["HardtanhFunction", "hardtanh", "hardtanh_", "relu6"]


class HardtanhFunction(Elementwise):
    """Clamps its input to [low, high]. Saves its input."""

    @staticmethod
    def value(x: Tensor, *, low: float, high: float) -> Tensor:
        """min(max(x, low), high)."""
        return clipped(x, low, high)

    @staticmethod
    def chain(x: Tensor, v: Tensor, *, low: float, high: float) -> Tensor:
        """v between the ends, 0 at them and beyond."""
        return torch.where((x <= low) | (x >= high), 0, v)


@overridable
def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """The input, cut off at ``min_val`` and ``max_val``.

    Args:
        input: tensor of any shape; of an integer tensor the ends are rounded towards 0.
        min_val: the lower end.
        max_val: the upper end.
        inplace: overwrite ``input`` with the result.

    Returns:
        A tensor of the same shape and dtype.

    Raises:
        TypeError: if ``input`` is no tensor, or an end no number.
        ValueError: if ``min_val`` is greater than ``max_val``.
        NotImplementedError: if ``input`` is complex.
        RuntimeError: if ``input`` is boolean, or its integer dtype does not hold an end.
    """
    return _hardtanh("hardtanh", input, min_val, max_val, inplace)


@overridable
def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """`hardtanh`, which overwrites its input."""
    return hardtanh(input, min_val, max_val, inplace=True)


@overridable
def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """The input, cut off at 0 and 6.

    Args:
        input: tensor of any shape.
        inplace: overwrite ``input`` with the result.

    Returns:
        A tensor of the same shape and dtype.

    Raises:
        TypeError: if ``input`` is no tensor.
        RuntimeError: if ``input`` is boolean.
    """
    return _hardtanh("relu6", input, 0.0, 6.0, inplace)


def _hardtanh(op: str, input: Tensor, low: float, high: float, inplace: bool) -> Tensor:
    x = tensor(op, input)
    if low > high:
        raise ValueError(f"{op}: expected min_val of at most max_val={high}, got {low}")
    if x.is_floating_point():
        return overwrite(HardtanhFunction, x, low, high) if inplace else HardtanhFunction.apply(x, low, high)
    if x.dtype is torch.bool:
        raise RuntimeError(f"{op}: expected numbers, got {describe(x)}; convert it with .float()")
    if x.is_complex():
        raise NotImplementedError(f"{op}: expected real numbers, got {describe(x)}; choose .real or .abs()")
    least, most = torch.iinfo(x.dtype).min, torch.iinfo(x.dtype).max
    if not (least - 1 < low and high < most + 1):  # also of NaN
        raise RuntimeError(
            f"{op}: expected ends between {least} and {most} for {describe(x)}, got {low} and {high}"
        )
    y = x.clamp(int(low), int(high))
    return x.copy_(y) if inplace else y
