"""What the records of elementwise ops share: the kink, both tails, infinities and NaN beside ordinary values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from reference.catalog.record import BadInput, Make, Sample

__all__ = [
    "EXTREMES",
    "FINITE",
    "HALVES",
    "KINKS",
    "elementwise",
    "few",
    "layouts",
    "no_integers",
    "on_a_copy",
    "wrong_type",
]

KINKS = (-2.0, -1.0, -0.0, 0.0, 1.0, 2.0)
HALVES = (-1.0, -0.5, -0.25, -0.0, 0.0, 0.25, 0.5, 1.0)
FINITE = (-1000.0, -20.0, -1e-30, 1e-30, 20.0, 1000.0, float("nan"))
EXTREMES = (-float("inf"), *FINITE[:-1], float("inf"), float("nan"))


def layouts(make: Make, shape: tuple[int, ...] = (3, 4)) -> Iterator[Tensor]:
    """One shape in every layout: dense, transposed, sliced, expanded, scalar and empty."""
    yield make.normal(*shape, scale=2.0)
    yield make.normal(*shape[::-1], scale=2.0).detach().permute(*reversed(range(len(shape)))).requires_grad_()
    yield make.normal(2 * shape[0], *shape[1:]).detach()[::2].requires_grad_()
    yield make.normal(1, *shape[1:]).detach().expand(*shape).requires_grad_()
    yield make.normal(0, *shape[1:])


def elementwise(
    *options: dict[str, Any], kinks: Sequence[float] = KINKS, extremes: Sequence[float] = EXTREMES
) -> Callable[[Make], Iterator[Sample]]:
    """Samples of an op of one tensor, with each set of options on the values where it bends.

    Every layout has the first set of options.
    """
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
    """Samples of an op whose twin has them all."""

    def samples(make: Make) -> Iterator[Sample]:
        for option in options:
            yield Sample((make.normal(2, 3, scale=2.0),), option)
            yield Sample((make.normal(2, 2).detach().t().requires_grad_(),), option)
            yield Sample((make.values(*KINKS),), option, smooth=False)

    return samples


def on_a_copy(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """An op that works in place, called on a copy: the result is what the copy has become."""

    def op(x: Any, *arguments: Any, **options: Any) -> Tensor:
        copy = x.clone() if isinstance(x, Tensor) else x
        function(copy, *arguments, **options)
        return copy

    return op


def wrong_type(error: type[Exception] = TypeError) -> BadInput:
    """Something that is no tensor."""
    return BadInput(lambda: (([1.0, 2.0],), {}), error, "expected input to be a tensor, got list")


def no_integers() -> BadInput:
    """Integers, which only some activations promote."""
    return BadInput(lambda: ((torch.tensor([1, 2]),), {}), NotImplementedError, "floating point")
