"""Padding as modules: one for each mode and number of dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from scratchnet.arguments import describe
from scratchnet.convolution.padding import pad

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]

Widths = int | Sequence[int]


class _Padding(nn.Module):
    """What the modules share: widths before and after of the last dimension first."""

    __constants__ = ["padding"]
    dims: ClassVar[int]

    def __init__(self, padding: Widths) -> None:
        super().__init__()
        self.padding = (padding,) * (2 * self.dims) if isinstance(padding, int) else tuple(padding)

    def extra_repr(self) -> str:
        """The widths."""
        return f"{self.padding}"


class _ConstantPad(_Padding):
    __constants__ = ["padding", "value"]

    def __init__(self, padding: Widths, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        """Applies `pad` with a constant."""
        return pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        """The widths and the constant."""
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_Padding):
    # The constant is an attribute here too, as in PyTorch.
    value = 0.0

    def forward(self, input: Tensor) -> Tensor:
        """Applies `pad` with zeros."""
        return pad(input, self.padding, "constant", self.value)


class _ReflectionPad(_Padding):
    def forward(self, input: Tensor) -> Tensor:
        """Applies `pad`, which reflects the image at its edges."""
        return pad(input, self.padding, "reflect")


class _ReplicationPad(_Padding):
    def forward(self, input: Tensor) -> Tensor:
        """Applies `pad`, which repeats the elements at the edges."""
        return pad(input, self.padding, "replicate")


class _CircularPad(_Padding):
    def forward(self, input: Tensor) -> Tensor:
        """Applies `pad`, which goes on from the other side."""
        if input.dim() not in (self.dims + 1, self.dims + 2):
            raise ValueError(
                f"{type(self).__name__}: expected an input of {self.dims + 1} or {self.dims + 2} dimensions, got "
                f"{describe(input)}"
            )
        return pad(input, self.padding, "circular")


class CircularPad1d(_CircularPad):
    """A margin around the last dimension, continued from the other side; ``padding``: 1 or 2 widths."""

    dims = 1


class CircularPad2d(_CircularPad):
    """A margin around the last two dimensions, continued from the other side; ``padding``: 1 or 4 widths."""

    dims = 2


class CircularPad3d(_CircularPad):
    """A margin around the last three dimensions, continued from the other side; ``padding``: 1 or 6 widths."""

    dims = 3


class ConstantPad1d(_ConstantPad):
    """A margin around the last dimension of one number; ``padding``: 1 or 2 widths."""

    dims = 1


class ConstantPad2d(_ConstantPad):
    """A margin around the last two dimensions of one number; ``padding``: 1 or 4 widths."""

    dims = 2


class ConstantPad3d(_ConstantPad):
    """A margin around the last three dimensions of one number; ``padding``: 1 or 6 widths."""

    dims = 3


class ReflectionPad1d(_ReflectionPad):
    """A margin around the last dimension that reflects the image at its edges; ``padding``: 1 or 2 widths."""

    dims = 1


class ReflectionPad2d(_ReflectionPad):
    """A margin around the last two dimensions that reflects the image at its edges; ``padding``: 1 or 4 widths."""

    dims = 2


class ReflectionPad3d(_ReflectionPad):
    """A margin around the last three dimensions that reflects the image at its edges; ``padding``: 1 or 6 widths."""

    dims = 3


class ReplicationPad1d(_ReplicationPad):
    """A margin around the last dimension that repeats the elements at the edges; ``padding``: 1 or 2 widths."""

    dims = 1


class ReplicationPad2d(_ReplicationPad):
    """A margin around the last two dimensions that repeats the elements at the edges; ``padding``: 1 or 4 widths."""

    dims = 2


class ReplicationPad3d(_ReplicationPad):
    """A margin around the last three dimensions that repeats the elements at the edges; ``padding``: 1 or 6 widths."""

    dims = 3


class ZeroPad1d(_ZeroPad):
    """A margin around the last dimension of zeros; ``padding``: 1 or 2 widths."""

    dims = 1


class ZeroPad2d(_ZeroPad):
    """A margin around the last two dimensions of zeros; ``padding``: 1 or 4 widths."""

    dims = 2


class ZeroPad3d(_ZeroPad):
    """A margin around the last three dimensions of zeros; ``padding``: 1 or 6 widths."""

    dims = 3
