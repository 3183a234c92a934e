"""Adaptive pooling in one, two and three dimensions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import scratchnet.nn
from reference.catalog.record import BadInput, Make, Record, Sample, bad, leaf
from scratchnet.pooling import adaptive_pooling as adaptive
from scratchnet.pooling.selection import SelectFunction

__all__ = ["RECORDS"]

INFINITY, NAN = float("inf"), float("nan")


def size(dims: int) -> tuple[int, ...]:
    return (7,) if dims == 1 else (5, 4) if dims == 2 else (3, 4, 2)


def windows(make: Make, dims: int) -> Iterator[Sample]:
    """Yields sizes that divide the input and sizes that do not; no two elements are close."""
    for outputs in (3, 1, size(dims), 8 if dims < 3 else 5):
        yield Sample((make.distinct(2, 2, *size(dims)), outputs))
    if dims > 1:
        yield Sample((make.distinct(1, 2, *size(dims)), (None, 2, 3)[:dims]))
    yield Sample((make.distinct(3, *size(dims)), 2))
    yield Sample((make.distinct(0, 2, *size(dims)), 2))
    turned = make.distinct(*reversed((2, 2, *size(dims)))).detach().permute(*reversed(range(dims + 2)))
    yield Sample((leaf(turned), 2))
    yield Sample((leaf(make.distinct(1, 2, *size(dims)).detach().expand(2, 2, *size(dims))), 2))
    if dims > 1:
        layout = torch.channels_last if dims == 2 else torch.channels_last_3d
        yield Sample((leaf(make.distinct(2, 3, *size(dims)).detach().to(memory_format=layout)), 2))


def average_samples(make: Make, dims: int) -> Iterator[Sample]:
    """Adds infinities and NaN, which must not leave their windows."""
    yield from windows(make, dims)
    odd = make.values(1.0, INFINITY, -INFINITY, 0.0, 3.0, NAN, 2.0).detach()
    image = odd.view(1, 1, *(1,) * (dims - 1), -1).expand(1, 1, *(2,) * (dims - 1), -1).clone()
    for outputs in (3, 5):
        yield Sample((leaf(image), outputs), smooth=False)


def maximum_samples(make: Make, dims: int) -> Iterator[Sample]:
    """Adds indices, ties, infinities and NaN."""
    yield from windows(make, dims)
    yield Sample((make.distinct(2, 2, *size(dims)), 3), {"return_indices": True})
    yield Sample((make.distinct(2, *size(dims)), 2, True))
    odd = make.values(1.0, 1.0, -INFINITY, -INFINITY, NAN, 2.0, NAN, NAN, 0.0, INFINITY, INFINITY).detach()
    image = odd.view(1, 1, *(1,) * (dims - 1), -1).expand(1, 1, *(2,) * (dims - 1), -1).clone()
    for outputs in (5, 3):
        yield Sample((leaf(image), outputs), {"return_indices": True}, smooth=False)
    nothing = make.values(*[-INFINITY] * 5).detach().view(1, 1, *(1,) * (dims - 1), -1)
    yield Sample((leaf(nothing), 2), {"return_indices": True}, smooth=False)


def errors(dims: int) -> Iterator[BadInput]:
    image = torch.zeros(1, 2, *(4,) * dims)
    yield bad(RuntimeError, "expected an input of shape (B, C", torch.zeros((3,) * (dims + 3)), 2)
    yield bad(NotImplementedError, "floating point", image.long(), 2)
    yield bad(TypeError, "expected output_size to be", image, 2.0)
    yield bad(TypeError, "expected output_size to be", image, None)
    yield bad(RuntimeError, "expected output_size to be one integer", image, (2,) * (dims + 1))
    yield bad(RuntimeError, "expected output_size not below 0", image, -1)
    yield bad(RuntimeError, "only the batch may be empty", image[..., :0], 2)


def record(
    kind: str, dims: int, samples: Callable[..., Iterator[Sample]], function: type[torch.autograd.Function]
) -> Record:
    name, module = f"adaptive_{kind.lower()}_pool{dims}d", f"Adaptive{kind}Pool{dims}d"
    sizes: tuple[Any, ...] = (3, (2,) * dims) if dims == 1 else (3, (2,) * dims, (None, 2, 3)[:dims])
    return Record(
        name,
        getattr(adaptive, name),
        getattr(F, name),
        partial(samples, dims=dims),
        [function],
        errors=tuple(errors(dims)),
        modules=tuple(
            (partial(getattr(scratchnet.nn, module), n), partial(getattr(nn, module), n)) for n in sizes
        ),
    )


RECORDS = tuple(
    record(kind, dims, samples, function)
    for kind, samples, function in (
        ("Avg", average_samples, adaptive.AdaptiveAvgPoolFunction),
        ("Max", maximum_samples, SelectFunction),
    )
    for dims in (1, 2, 3)
)
