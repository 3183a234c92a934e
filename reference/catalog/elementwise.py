"""Samples and bad inputs that the records of elementwise ops share: kinks, tails, infinities and NaN."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from reference.catalog.record import Make, Sample, bad

__all__ = [
    "BOOLEANS",
    "EXTREMES",
    "FINITE",
    "HALVES",
    "INTEGERS",
    "KINKS",
    "NOT_A_TENSOR",
    "elementwise",
    "few",
    "layouts",
    "on_a_copy",
]

KINKS = (-2.0, -1.0, -0.0, 0.0, 1.0, 2.0)
HALVES = (-1.0, -0.5, -0.25, -0.0, 0.0, 0.25, 0.5, 1.0)
FINITE = (-1000.0, -20.0, -1e-30, 1e-30, 20.0, 1000.0, float("nan"))
EXTREMES = (-float("inf"), *FINITE[:-1], float("inf"), float("nan"))


def layouts(make: Make, shape: tuple[int, ...] = (3, 4)) -> Iterator[Tensor]:
    """Yields tensors of one shape: dense, transposed, sliced, expanded; and an empty one."""
    yield make.normal(*shape, scale=2.0)
    yield make.normal(*shape[::-1], scale=2.0).detach().permute(*reversed(range(len(shape)))).requires_grad_()
    yield make.normal(2 * shape[0], *shape[1:]).detach()[::2].requires_grad_()
    yield make.normal(1, *shape[1:]).detach().expand(*shape).requires_grad_()
    yield make.normal(0, *shape[1:])


def elementwise(
    *options: dict[str, Any], kinks: Sequence[float] = KINKS, extremes: Sequence[float] = EXTREMES
) -> Callable[[Make], Iterator[Sample]]:
    """Returns a maker of samples: kinks and extremes with every set of options, layouts with the first."""
    first = options[0] if options else {}

    def samples(make: Make) -> Iterator[Sample]:
        for x in layouts(make):
            yield Sample((x,), first)
        yield Sample((make.normal(),), first)
        yield Sample(
            (make.normal(2, 3, 2, 2).detach().to(memory_format=torch.channels_last).requires_grad_(),), first
        )
        for option in options or ({},):
            yield Sample((make.values(*kinks),), option, smooth=False)
            yield Sample((make.values(*extremes),), option, smooth=False)
        for option in options[1:]:
            yield Sample((make.normal(3, scale=2.0),), option)

    return samples


def few(*options: dict[str, float]) -> Callable[[Make], Iterator[Sample]]:
    """Returns a maker of a few samples, for an in-place op whose out-of-place form has the rest."""

    def samples(make: Make) -> Iterator[Sample]:
        for option in options:
            yield Sample((make.normal(2, 3, scale=2.0),), option)
            yield Sample((make.normal(2, 2).detach().t().requires_grad_(),), option)
            yield Sample((make.values(*KINKS),), option, smooth=False)

    return samples


def on_a_copy(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Wraps an in-place op to return a changed copy of its input."""

    def op(x: Any, *arguments: Any, **options: Any) -> Tensor:
        copy = x.clone() if isinstance(x, Tensor) else x
        function(copy, *arguments, **options)
        return copy

    return op


NOT_A_TENSOR = bad(TypeError, "expected input to be a tensor, got list", [1.0, 2.0])
INTEGERS = bad(NotImplementedError, "floating point", torch.tensor([1, 2]))
BOOLEANS = bad(RuntimeError, "expected numbers", torch.tensor([True]))
