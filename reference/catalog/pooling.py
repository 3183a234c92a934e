"""Maximum and average pooling in one, two and three dimensions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import scratchnet.nn
from reference.catalog.record import BadInput, Make, Record, Sample, bad, rounded_once
from scratchnet.pooling import average_pooling as average
from scratchnet.pooling import max_pooling as maximum

__all__ = ["RECORDS"]

INFINITY, NAN = float("inf"), float("nan")
SHARED_OPTIONS: tuple[dict[str, Any], ...] = (
    {"kernel_size": 2},
    {"kernel_size": 2, "stride": 1},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 2, "stride": 3},
    {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    {"kernel_size": 2, "stride": 2, "ceil_mode": True},
    {"kernel_size": 1, "stride": 2, "ceil_mode": True},
)
MAXIMUM_OPTIONS: tuple[dict[str, Any], ...] = (
    {"kernel_size": 2, "dilation": 2},
    {"kernel_size": 3, "padding": 1, "stride": 1, "dilation": 2},
    {"kernel_size": 2, "return_indices": True},
    {"kernel_size": 3, "stride": 2, "padding": 1, "return_indices": True, "ceil_mode": True},
)
AVERAGE_OPTIONS: tuple[dict[str, Any], ...] = (
    {"kernel_size": 3, "padding": 1, "count_include_pad": False},
    {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False},
)


def size(dims: int) -> tuple[int, ...]:
    return (7,) if dims == 1 else (5, 6) if dims == 2 else (3, 5, 4)


def windows(make: Make, dims: int, options: tuple[dict[str, Any], ...]) -> Iterator[Sample]:
    """Yields every option and layout; no two elements are closer than a finite difference."""
    for option in (*SHARED_OPTIONS, *options):
        yield Sample((make.distinct(2, 2, *size(dims)),), option)
    if dims > 1:
        kernel, stride = (2, 3, 2)[:dims], (1, 2, 1)[:dims]
        yield Sample((make.distinct(1, 2, *size(dims)), kernel, stride))
    yield Sample((make.distinct(3, *size(dims)), 2))
    yield Sample((make.distinct(0, 2, *size(dims)), 2))
    turned = make.distinct(*reversed((2, 2, *size(dims)))).detach().permute(*reversed(range(dims + 2)))
    yield Sample((turned.requires_grad_(), 2))
    yield Sample((make.distinct(1, 2, *size(dims)).detach().expand(2, 2, *size(dims)).requires_grad_(), 2))
    if dims > 1:
        layout = torch.channels_last if dims == 2 else torch.channels_last_3d
        yield Sample((make.distinct(2, 3, *size(dims)).detach().to(memory_format=layout).requires_grad_(), 2))


def maximum_samples(make: Make, dims: int) -> Iterator[Sample]:
    """Adds ties, infinities and NaN."""
    yield from windows(make, dims, MAXIMUM_OPTIONS)
    odd = make.values(1.0, 1.0, -INFINITY, -INFINITY, NAN, 2.0, NAN, NAN, 0.0, INFINITY, INFINITY, 3.0).detach()
    image = odd.view(1, 1, *(1,) * (dims - 1), -1).expand(1, 1, *(2,) * (dims - 1), -1).clone()
    for options in ({"stride": 2}, {"padding": 1}):
        yield Sample((image.requires_grad_(), 2), {**options, "return_indices": True}, smooth=False)
    flat = make.values(*[-INFINITY] * 4).detach().view(1, 1, *(1,) * (dims - 1), -1)
    everything = flat.expand(1, 1, *(4,) * (dims - 1), -1).clone().requires_grad_()
    yield Sample((everything, 2), {"padding": 1, "stride": 1, "return_indices": True}, smooth=False)


def average_samples(make: Make, dims: int) -> Iterator[Sample]:
    """Adds options that change the divisor."""
    yield from windows(make, dims, AVERAGE_OPTIONS)
    if dims > 1:
        yield Sample((make.normal(2, 2, *size(dims)), 2), {"divisor_override": 3})
    odd = make.values(1.0, INFINITY, -INFINITY, 0.0, NAN, 2.0).detach()
    image = odd.view(1, 1, *(1,) * (dims - 1), -1).expand(1, 1, *(2,) * (dims - 1), -1).clone()
    yield Sample((image.requires_grad_(), 2), smooth=False)


def errors(dims: int) -> tuple[BadInput, ...]:
    image = torch.zeros(1, 2, *(4,) * dims)
    return (
        bad(TypeError, "expected input to be a tensor", [1.0], 2),
        bad(TypeError, "expected kernel_size to be an integer", image, 2.0),
        bad(RuntimeError, "expected kernel_size to be one integer", image, 0),
        bad(RuntimeError, "expected kernel_size to be one integer", image, (2,) * (dims + 1)),
        bad(RuntimeError, "expected stride to be one integer", image, 2, 0),
        bad(RuntimeError, "expected padding to be one integer", image, 2, padding=-1),
        bad(RuntimeError, "expected padding of at most half the kernel", image, 2, padding=2),
        bad(RuntimeError, "expected an input of at least the kernel's size", image, 5),
        bad(RuntimeError, "expected an input in which only the batch may be empty", image[:, :0], 2),
    )


def modules(dims: int, custom: type[nn.Module], builtin: type[nn.Module]) -> Iterator[tuple[Any, Any]]:
    arguments: tuple[tuple[tuple[Any, ...], dict[str, Any]], ...] = (
        ((2,), {}),
        ((3, 2, 1), {"ceil_mode": True}),
        (((2,) * dims,), {"stride": (1,) * dims}),
    )
    for given, options in arguments:
        yield partial(custom, *given, **options), partial(builtin, *given, **options)


def record(
    name: str,
    dims: int,
    part: Any,
    samples: Callable[..., Iterator[Sample]],
    function: type[torch.autograd.Function],
    module: str,
    *others: BadInput,
    builtin: Callable[..., Any] | None = None,
    lacks: tuple[str, ...] = (),
) -> Record:
    return Record(
        name,
        getattr(part, name),
        builtin or getattr(F, name),
        partial(samples, dims=dims),
        [function],
        errors=(*errors(dims), *others),
        builtin_lacks=frozenset(lacks),
        modules=tuple(modules(dims, getattr(scratchnet.nn, module), getattr(nn, module))),
    )


BOOLEANS = bad(NotImplementedError, "expected numbers", torch.zeros(1, 2, 4, 4, dtype=torch.bool), 2)
ZERO_DILATION = bad(RuntimeError, "expected dilation to be one integer", torch.zeros(1, 2, 4), 2, dilation=0)
MISSING_DIMENSIONS = bad(RuntimeError, "expected an input of shape (B, C, H, W)", torch.zeros(4, 4), 2)
ZERO_DIVISOR = bad(
    RuntimeError, "expected a divisor_override other than 0", torch.zeros(1, 1, 2, 2), 2, divisor_override=0
)

UNBATCHED = ("gradient", "double backward")  # which the built-in lacks without a batch dimension

RECORDS = (
    record("max_pool1d", 1, maximum, maximum_samples, maximum.MaxPoolFunction, "MaxPool1d", ZERO_DILATION),
    record(
        "max_pool2d",
        2,
        maximum,
        maximum_samples,
        maximum.MaxPoolFunction,
        "MaxPool2d",
        BOOLEANS,
        MISSING_DIMENSIONS,
    ),
    record("max_pool3d", 3, maximum, maximum_samples, maximum.MaxPoolFunction, "MaxPool3d", lacks=UNBATCHED),
    record("avg_pool1d", 1, average, average_samples, average.AvgPoolFunction, "AvgPool1d"),
    record("avg_pool2d", 2, average, average_samples, average.AvgPoolFunction, "AvgPool2d", ZERO_DIVISOR),
    record(
        "avg_pool3d",
        3,
        average,
        average_samples,
        average.AvgPoolFunction,
        "AvgPool3d",
        builtin=rounded_once(F.avg_pool3d),
    ),
)
