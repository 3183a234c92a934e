"""Workloads that call an op on random tensors of several shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from reference.catalog import Make, Sample
from reference.speed.workload import Workload, op_workload

__all__ = ["ELEMENTS", "TINY", "in_words", "sized"]

Shape = tuple[int, ...]
TINY: Shape = (4,)
ELEMENTS: tuple[Shape, ...] = (TINY, (65_536,), (4_000_000,))

Given = Callable[..., tuple[Any, ...]]


def _normal(make: Make, *shape: int) -> tuple[Any, ...]:
    return (make.normal(*shape),)


def sized(
    op: str, shapes: Sequence[Shape], given: Given = _normal, *, layouts: bool = False, **options: Any
) -> Iterator[Workload]:
    """Yields a workload for each shape of an op's first argument.

    Args:
        op: The op's name in the catalog.
        shapes: Shapes of the first argument.
        given: Makes the positional arguments from a `Make` and the shape; one normal tensor by default.
        layouts: Whether to time channels-last format too.
        **options: Keyword arguments of the call.
    """
    for shape in shapes:
        sample = partial(_sample, given, shape, options)
        yield op_workload(op, in_words(shape, **options), sample, layouts=layouts)


def in_words(shape: Shape, **options: Any) -> str:
    """Formats the size of a workload: the shape, then the options.

    Example:
        >>> in_words((8192, 1000), dim=-1)
        '(8192,1000) dim=-1'
    """
    return " ".join([str(shape).replace(" ", ""), *(f"{name}={value}" for name, value in options.items())])


def _sample(given: Given, shape: Shape, options: dict[str, Any], make: Make) -> Sample:
    return Sample(given(make, *shape), options)
