r"""The piecewise linear stand-ins for tanh, sigmoid and swish, and ReLU6.

.. math::
    \operatorname{hardtanh}(x) = \min(\max(x, a), b)
    \qquad \operatorname{relu6}(x) = \min(\max(x, 0), 6)

.. math::
    \operatorname{hardsigmoid}(x) = \frac{\operatorname{relu6}(x + 3)}{6}
    \qquad \operatorname{hardswish}(x) = x \operatorname{hardsigmoid}(x)

Between its bends hardtanh has slope 1, hardsigmoid 1/6 and hardswish x/3 + 1/2; outside the slope is 0, and 1 on the
right of hardswish. At a bend itself the slope is that of the outer piece: hardswish jumps from -1/2 to 0 at -3, and
from 3/2 to 1 at 3. None of them needs an exponential, and in 8-bit integers all of them are exact.

Sources: Collobert, "Large Scale Machine Learning", 2004 (hardtanh); Krizhevsky, "Convolutional Deep Belief Networks
on CIFAR-10", 2010 (ReLU6); Courbariaux, Bengio and David, "BinaryConnect", 2015 (hardsigmoid); Howard et al.,
"Searching for MobileNetV3", 2019 (hardswish, and its hardsigmoid).
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from scratchnet.activations.piecewise import InPlaceModule, Piecewise, overwrite
from scratchnet.arguments import describe, floating, number, tensor
from scratchnet.function import unobserved
from scratchnet.selection import keep, mask, select, unless

__all__ = [
    "Hardsigmoid",
    "HardsigmoidFunction",
    "Hardswish",
    "HardswishFunction",
    "Hardtanh",
    "HardtanhFunction",
    "ReLU6",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hardtanh_",
    "relu6",
]


class HardtanhFunction(Piecewise):
    """The identity, cut off at both ends."""

    @staticmethod
    def value(x: Tensor, *, low: float, high: float) -> Tensor:
        """min(max(x, low), high)."""
        return x.clamp(low, high)

    @staticmethod
    def chain(v: Tensor, x: Tensor, *, low: float, high: float) -> Tensor:
        """v between the ends, 0 at them and beyond."""
        return keep(unless(torch.le, x, low).bitwise_and_(unless(torch.ge, x, high)), v)


class HardsigmoidFunction(Piecewise):
    """A ramp from 0 at -3 to 1 at 3."""

    @staticmethod
    def value(x: Tensor) -> Tensor:
        """The ramp."""
        return _ramp(x)

    @staticmethod
    def chain(v: Tensor, x: Tensor) -> Tensor:
        """v / 6 between the bends, 0 at them and beyond."""
        return keep(_inside(x), v / 6)


class HardswishFunction(Piecewise):
    """The input times a ramp from 0 at -3 to 1 at 3."""

    @staticmethod
    def value(x: Tensor) -> Tensor:
        """x times the ramp."""
        ramp = _ramp(x)
        return ramp.mul_(x) if unobserved() else ramp * x

    @staticmethod
    def chain(v: Tensor, x: Tensor) -> Tensor:
        """(x/3 + 1/2) v between the bends, 0 on their left and v on their right."""
        inside = _inside(x)
        if unobserved():
            bent = (x / 3).add_(0.5).mul_(v)
        else:  # the derivative by v has to be finite outside as well, though it is not selected
            bent = v * (x.masked_fill(~inside, 0) / 3 + 0.5)
        return select(inside, bent, keep(unless(torch.le, x, -3), v))


def _inside(x: Tensor) -> Tensor:
    """Between the bends of the ramp."""
    return mask(torch.gt, x, -3).bitwise_and_(mask(torch.lt, x, 3))


def _ramp(x: Tensor) -> Tensor:
    if unobserved():
        return (x + 3).clamp_(0, 6).div_(6)
    return (x + 3).clamp(0, 6) / 6


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
        RuntimeError: if ``input`` is boolean, or unsigned and an end negative.
    """
    return _hardtanh("hardtanh", input, min_val, max_val, inplace)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """`hardtanh`, which overwrites its input."""
    return hardtanh(input, min_val, max_val, inplace=True)


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
    if number(op, low, "min_val") > number(op, high, "max_val"):
        raise ValueError(f"{op}: expected min_val of at most max_val={high}, got {low}")
    if x.is_floating_point():
        return overwrite(HardtanhFunction, x, low, high) if inplace else HardtanhFunction.apply(x, low, high)
    if x.dtype is torch.bool:
        raise RuntimeError(f"{op}: expected numbers, got {describe(x)}; convert it with .float()")
    if low < 0 and not x.dtype.is_signed:
        raise RuntimeError(f"{op}: expected min_val of at least 0 for {describe(x)}, got {low}")
    y = x.clamp(int(low), int(high))
    return x.copy_(y) if inplace else y


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """A ramp from 0 at -3 to 1 at 3.

    Args:
        input: floating-point tensor of any shape.
        inplace: overwrite ``input`` with the result.

    Returns:
        A tensor of the same shape, with values in [0, 1].

    Raises:
        TypeError: if ``input`` is no tensor.
        NotImplementedError: if ``input`` is not floating point.
    """
    x = floating("hardsigmoid", input)
    return overwrite(HardsigmoidFunction, x) if inplace else HardsigmoidFunction.apply(x)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """The input times a ramp from 0 at -3 to 1 at 3.

    Args:
        input: floating-point tensor of any shape.
        inplace: overwrite ``input`` with the result.

    Returns:
        A tensor of the same shape.

    Raises:
        TypeError: if ``input`` is no tensor.
        NotImplementedError: if ``input`` is not floating point.
    """
    x = floating("hardswish", input)
    return overwrite(HardswishFunction, x) if inplace else HardswishFunction.apply(x)


class Hardtanh(nn.Module):
    """`hardtanh` as a module; input and output have the same shape.

    Raises:
        AssertionError: if ``max_val`` is not greater than ``min_val``.
    """

    __constants__ = ["min_val", "max_val", "inplace"]

    def __init__(
        self,
        min_val: float = -1.0,
        max_val: float = 1.0,
        inplace: bool = False,
        min_value: float | None = None,
        max_value: float | None = None,
    ) -> None:
        super().__init__()
        for end, value in (("min", min_value), ("max", max_value)):
            if value is not None:
                warnings.warn(f"Hardtanh: write {end}_val in place of {end}_value", FutureWarning, stacklevel=2)
        self.min_val = min_val if min_value is None else min_value
        self.max_val = max_val if max_value is None else max_value
        self.inplace = inplace
        if self.max_val <= self.min_val:
            raise AssertionError(
                f"Hardtanh: expected max_val greater than min_val={self.min_val}, got {self.max_val}"
            )

    def forward(self, input: Tensor) -> Tensor:
        """Applies `hardtanh`."""
        return hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        """The options."""
        return f"min_val={self.min_val}, max_val={self.max_val}" + (", inplace=True" if self.inplace else "")


class ReLU6(Hardtanh):
    """`relu6` as a module; input and output have the same shape."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self) -> str:
        """The option, where it differs from the default."""
        return "inplace=True" if self.inplace else ""


class Hardsigmoid(InPlaceModule):
    """`hardsigmoid` as a module; input and output have the same shape."""

    def forward(self, input: Tensor) -> Tensor:
        """Applies `hardsigmoid`."""
        return hardsigmoid(input, self.inplace)

    def extra_repr(self) -> str:
        """Nothing, as in PyTorch."""
        return ""


class Hardswish(InPlaceModule):
    """`hardswish` as a module; input and output have the same shape."""

    def forward(self, input: Tensor) -> Tensor:
        """Applies `hardswish`."""
        return hardswish(input, self.inplace)

    def extra_repr(self) -> str:
        """Nothing, as in PyTorch."""
        return ""
