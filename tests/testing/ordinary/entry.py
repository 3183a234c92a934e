"""A right Function, what it equals, and what makes its inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["ORDINARY", "Ordinary", "equals", "labels", "normal", "targets"]


class Ordinary(NamedTuple):
    """A right function.

    Attributes:
        custom: the function.
        builtin: what it equals.
        inputs: makes its inputs from a generator, in float64.
        gradient_of: whose gradients it has, where these are not the built-in's.
        short: whether it takes bfloat16, which NumPy and complex numbers lack.
    """

    custom: Callable[..., Any]
    builtin: Callable[..., Any]
    inputs: Callable[[torch.Generator], tuple[Any, ...]]
    gradient_of: Callable[..., Any] | None = None
    short: bool = True


ORDINARY: dict[str, Ordinary] = {}


def normal(*shapes: tuple[int, ...]) -> Callable[[torch.Generator], tuple[Tensor, ...]]:
    return lambda g: tuple(torch.randn(shape, generator=g, dtype=torch.float64) for shape in shapes)


def targets(shape: tuple[int, ...], *rest: Any) -> Callable[[torch.Generator], tuple[Any, ...]]:
    """Predictions, targets that need no gradient, and other arguments."""

    def make(g: torch.Generator) -> tuple[Any, ...]:
        x, y = normal(shape, shape)(g)
        return x.requires_grad_(), y, *rest

    return make


def labels(shape: tuple[int, int]) -> Callable[[torch.Generator], tuple[Tensor, ...]]:
    return lambda g: (*normal(shape)(g), torch.randint(shape[1], shape[:1], generator=g))


def equals(
    builtin: Callable[..., Any], inputs: Callable[..., Any] | None = None, **attributes: Any
) -> Callable[[Any], Any]:
    """Enters a Function, or a function, with what it equals; by default of one matrix."""

    def enter(custom: Any) -> Any:
        call = custom.apply if isinstance(custom, type) else custom
        ORDINARY[custom.__name__] = Ordinary(call, builtin, inputs or normal((4, 3)), **attributes)
        return custom

    return enter
