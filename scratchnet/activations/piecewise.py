"""What activations of several pieces share: selection in place of multiplication, and working in place.

Where a piece is flat its slope is 0, and 0 · inf is NaN. So these ops do not multiply by their slope: they select
what each piece makes of the gradient or the tangent, and a flat piece sends back 0 whatever comes from above.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from scratchnet.function import Function, elementwise

__all__ = ["InPlaceModule", "Piecewise", "overwrite"]


class Piecewise(Function):
    """An op of one tensor that acts on each element by pieces: the author writes its value and its chain rule.

    ``value(x, *, …)`` is the output, and ``chain(x, v, *, …)`` is ``v`` times the slope at ``x``: in backward
    ``v`` is the gradient, in forward mode the tangent. Keeps its input or, with ``slope_from_output``, its output,
    which the chain rule then receives in the place of ``x``.
    """

    slope_from_output: ClassVar[bool] = False

    value: ClassVar[Callable[..., Tensor]]
    chain: ClassVar[Callable[..., Tensor]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Derives forward, backward and jvp from the value and the chain rule."""
        value, chain, from_output = cls.value, cls.chain, cls.slope_from_output

        def forward(x: Tensor, **options: Any) -> tuple[Tensor, tuple[Tensor]]:
            y = elementwise(value, x, **options)
            return y, (y if from_output else x,)

        def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], **options: Any) -> Tensor:
            return elementwise(chain, saved[0], grad, **options)

        def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], **options: Any) -> Tensor:
            return chain(saved[0], tangents[0], **options)

        forward.__signature__ = inspect.signature(value)  # type: ignore[attr-defined]
        for method in (forward, backward, jvp):
            setattr(cls, method.__name__, staticmethod(method))
        super().__init_subclass__(**kwargs)


def overwrite(op: type[Function], input: Tensor, *others: Any) -> Tensor:
    """Overwrites a tensor with an op of itself and of other arguments, and returns it.

    The op's backward needs the input as it was, so where a gradient may be asked for it gets a copy: working in
    place saves memory at inference, not in training.
    """
    x = input.clone() if torch.is_grad_enabled() else input
    return input.copy_(op.apply(x, *others))


class InPlaceModule(nn.Module):
    """A module whose one option is whether to overwrite its input."""

    __constants__ = ["inplace"]

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        """The option, where it differs from the default."""
        return "inplace=True" if self.inplace else ""
