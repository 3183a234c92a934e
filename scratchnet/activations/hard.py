r"""The piecewise linear stand-ins for the sigmoid and for swish.

.. math::
    \operatorname{hardsigmoid}(x) = \frac{\min(\max(x + 3, 0), 6)}{6}
    \qquad \operatorname{hardswish}(x) = x \operatorname{hardsigmoid}(x)

Between the bends at ±3 hardsigmoid has slope 1/6 and hardswish x/3 + 1/2; outside the slope is 0, and 1 on the right
of hardswish. At a bend itself the slope is that of the outer piece: hardswish jumps from 0 to -1/2 at -3, and from 3/2
to 1 at 3. Neither needs an exponential.

Sources: Courbariaux, Bengio and David, "BinaryConnect", 2015 (hardsigmoid); Howard et al., "Searching for
MobileNetV3", 2019 (hardswish, and this hardsigmoid).
"""

from __future__ import annotations

import torch
from torch import Tensor

from scratchnet.arguments import floating, overridable
from scratchnet.function import Elementwise, clipped, overwrite, recorded

__all__ = ["HardsigmoidFunction", "HardswishFunction", "hardsigmoid", "hardswish"]


class HardsigmoidFunction(Elementwise):
    """A ramp from 0 at -3 to 1 at 3."""

    @staticmethod
    def value(x: Tensor) -> Tensor:
        """The ramp."""
        return _ramp(x)

    @staticmethod
    def chain(x: Tensor, v: Tensor) -> Tensor:
        """v / 6 between the bends, 0 at them and beyond."""
        return torch.where(torch.abs(x) < 3, v / 6, 0)


class HardswishFunction(Elementwise):
    """The input times a ramp from 0 at -3 to 1 at 3."""

    @staticmethod
    def value(x: Tensor) -> Tensor:
        """x times the ramp."""
        return _ramp(x) * x.clamp(min=-3)  # beyond which the ramp is 0

    @staticmethod
    def chain(x: Tensor, v: Tensor) -> Tensor:
        """(x/3 + 1/2) v between the bends, 0 on their left and v on their right."""
        # The derivative by v has to be finite outside the bends as well, though it is not selected. Where there is no
        # such derivative, a tenth of the time is saved.
        within = x.masked_fill(~((x > -3) & (x < 3)), 0) if recorded() else x
        return torch.where(x <= -3, 0, torch.where(x < 3, v * (within / 3 + 0.5), v))


def _ramp(x: Tensor) -> Tensor:
    return clipped(x + 3, 0, 6) / 6


@overridable
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


@overridable
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
