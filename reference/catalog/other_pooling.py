"""Pooling by p-norm and at fractional distances, and maximum unpooling, in all their dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import scratchnet.nn
from reference.catalog.adaptive_pooling import size
from reference.catalog.record import BadInput, Beyond, Make, Record, Sample, leaf, rounded_once
from scratchnet.pooling import fractional_pooling as fractional
from scratchnet.pooling import lp_pooling as lp
from scratchnet.pooling import unpooling
from scratchnet.pooling.selection import SelectFunction

__all__ = ["RECORDS"]

INFINITY, NAN = float("inf"), float("nan")


def bad(says: str, *inputs: Any, error: type[Exception] = RuntimeError, **options: Any) -> BadInput:
    """A call that must fail."""
    return BadInput(lambda: (inputs, options), error, says)


def of_norms(make: Make, dims: int) -> Iterator[Sample]:
    """Exponents, windows that overlap and stick out, memory layouts, and windows whose sum is 0."""
    shape = size(dims)
    for p in (2, 1.0, 3.0, 1.5, 0.5):
        yield Sample((make.uniform(2, 2, *shape, low=0.2), p, 2))
    yield Sample((make.normal(2, 2, *shape), 2.0, 2, 1))
    yield Sample((make.normal(2, 2, *shape), 4.0, 2), {"stride": 3, "ceil_mode": True})
    for p in (INFINITY, -INFINITY):
        yield Sample((make.uniform(2, 2, *shape, low=0.2), p, 2))
    if dims > 1:
        yield Sample((make.normal(1, 2, *shape), 2, (2, 1, 2)[:dims], (1, 2, 1)[:dims]))
    yield Sample((make.normal(3, *shape), 2, 2))
    yield Sample((make.normal(0, 2, *shape), 2, 2))
    turned = make.normal(*reversed((2, 2, *shape))).detach().permute(*reversed(range(dims + 2)))
    yield Sample((leaf(turned), 2, 2))
    yield Sample((leaf(make.normal(1, 2, *shape).detach().expand(2, 2, *shape)), 2, 2))
    if dims > 1:
        layout = torch.channels_last if dims == 2 else torch.channels_last_3d
        yield Sample((leaf(make.normal(2, 3, *shape).detach().to(memory_format=layout)), 2, 2))
    odd = make.values(1.0, -3.0, INFINITY, 1.0, NAN, 2.0).detach()
    image = odd.view(1, 1, *(1,) * (dims - 1), -1).expand(1, 1, *(2,) * (dims - 1), -1).clone()
    yield Sample((leaf(image), 2, 2), smooth=False)


def lp_errors(dims: int) -> Iterator[BadInput]:
    """What no p-norm pooling takes."""
    image = torch.ones(1, 2, *(4,) * dims)
    yield bad("norm_type other than 0", image, 0, 2, error=ZeroDivisionError)
    yield bad("expected norm_type to be a number", image, "two", 2, error=TypeError)
    yield bad("expected kernel_size to be one integer", image, 2, 0)
    yield bad("expected stride to be one integer", image, 2, 2, 0)
    yield bad("expected an input of at least the kernel's size", image, 2, 5)


def lp_record(dims: int) -> Record:
    """The record in one dimension."""
    name, module = f"lp_pool{dims}d", f"LPPool{dims}d"
    calls: tuple[tuple[Any, ...], ...] = ((2, 2), (1.5, 3, 2, True))
    builtin = getattr(F, name)
    return Record(
        name,
        getattr(lp, name),
        rounded_once(builtin) if dims == 3 else builtin,
        partial(of_norms, dims=dims),
        [lp.LPPoolFunction],
        errors=tuple(lp_errors(dims)),
        beyond=[
            Beyond(
                "a negative sum of odd powers, which has a real root",
                lambda make: Sample((leaf(make.values(-2.0).view((1,) * (dims + 1))), 3, 1)),
                torch.full((1,) * (dims + 1), -2.0).tolist(),
                [torch.ones((1,) * (dims + 1)).tolist()],
            ),
            Beyond(
                "powers that overflow",
                lambda make: Sample((leaf(make.values(3.0).view((1,) * (dims + 1))), 2000, 1)),
                torch.full((1,) * (dims + 1), 3.0).tolist(),
                [torch.ones((1,) * (dims + 1)).tolist()],
            ),
        ],
        modules=tuple(
            (partial(getattr(scratchnet.nn, module), *c), partial(getattr(nn, module), *c)) for c in calls
        ),
    )


def of_unpooling(make: Make, dims: int) -> Iterator[Sample]:
    """Indices as pooling makes them, sizes that pool alike, layouts, and an element that is claimed twice."""
    pool = getattr(F, f"max_pool{dims}d")

    def pooled(*shape: int, **options: Any) -> tuple[Any, Any]:
        y, indices = pool(make.distinct(*shape).detach().double(), return_indices=True, **options)
        return y.to(make.dtype), indices

    shape = size(dims)
    y, indices = pooled(2, 2, *shape, kernel_size=2)
    yield Sample((leaf(y), indices, 2), {"output_size": shape})
    yield Sample((leaf(y), indices, 2), {"output_size": (2, 2, *shape)})
    even = (4,) if dims == 1 else (4, 2) if dims == 2 else (2, 4, 2)
    yield Sample((leaf(pooled(2, 2, *even, kernel_size=2)[0]), pooled(2, 2, *even, kernel_size=2)[1], 2))
    options = {"kernel_size": 3, "stride": 2, "padding": 1}
    y, indices = pooled(1, 2, *(5,) * dims, **options)
    yield Sample((leaf(y), indices), options, smooth=False)  # neighbouring windows may share their maximum
    y, indices = pooled(2, *even, kernel_size=2)
    yield Sample((leaf(y), indices, 2))
    yield Sample((leaf(y[None][:0]), indices[None][:0], 2))
    y, indices = pooled(2, 2, *even, kernel_size=2)
    yield Sample((leaf(y.transpose(0, 1)), indices.transpose(0, 1), 2))
    yield Sample((leaf(y[:1].expand(2, *y.shape[1:])), indices[:1].expand(2, *y.shape[1:]), 2))
    if dims == 2:
        layout = torch.channels_last
        yield Sample((leaf(y.to(memory_format=layout)), indices.to(memory_format=layout), 2))
    yield Sample((leaf(y), torch.zeros_like(indices), 2), smooth=False)


def unpooling_errors(dims: int) -> Iterator[BadInput]:
    """What no unpooling takes."""
    y = torch.ones(1, 2, *(2,) * dims)
    indices = torch.zeros(y.shape, dtype=torch.int64)
    yield bad("floating point", y.long(), indices, 2, error=NotImplementedError)
    yield bad("expected indices of dtype int64", y, indices.int(), 2)
    yield bad("of the input's shape", y, indices[:, :1], 2)
    yield bad("expected indices from 0 to", y, indices + 999, 2)
    yield bad("expected indices from 0 to", y, indices - 1, 2)
    yield bad("expected output_size to hold", y, indices, 2, output_size=(4,) * (dims + 1), error=ValueError)
    yield bad("expected an output_size within a stride", y, indices, 2, output_size=(9,) * dims, error=ValueError)
    yield bad("expected output_size to be a tuple", y, indices, 2, output_size=4, error=TypeError)
    yield bad("expected kernel_size to be an integer", y, indices, 2.0, error=TypeError)
    yield bad("only the batch may be empty", y[:, :0], indices[:, :0], 2)


def unpooling_record(dims: int) -> Record:
    """The record in one dimension."""
    name, module = f"max_unpool{dims}d", f"MaxUnpool{dims}d"
    calls: tuple[tuple[Any, ...], ...] = ((2,), (3, 2, 1), ((2,) * dims, None, 0))
    return Record(
        name,
        getattr(unpooling, name),
        getattr(F, name),
        partial(of_unpooling, dims=dims),
        [unpooling.MaxUnpoolFunction],
        errors=tuple(unpooling_errors(dims)),
        builtin_lacks=frozenset({"vmap"} if dims == 2 else ()),  # in channels last
        modules=tuple(
            (partial(getattr(scratchnet.nn, module), *c), partial(getattr(nn, module), *c)) for c in calls
        ),
    )


def of_fractions(make: Make, dims: int) -> Iterator[Sample]:
    """Sizes and ratios with given draws, and with draws that the comparison seeds alike."""
    shape = (5, 6) if dims == 2 else (4, 5, 5)

    def draws(batch: int, channels: int) -> dict[str, Any]:
        return {"_random_samples": make.uniform(batch, channels, dims, grad=False)}

    yield Sample((make.distinct(2, 2, *shape), 2, 2), draws(2, 2))
    outputs = (3, 4) if dims == 2 else (2, 3, 3)
    yield Sample((make.distinct(2, 2, *shape), 2), {"output_size": outputs, **draws(3, 2)})
    ratios = (0.5, 0.7) if dims == 2 else (0.4, 0.5, 0.7)
    yield Sample((make.distinct(2, 2, *shape), (1, 3, 2)[:dims]), {"output_ratio": ratios, **draws(2, 2)})
    yield Sample((make.distinct(2, 2, *shape), 2), {"output_size": 1, "return_indices": True, **draws(2, 2)})
    yield Sample((make.distinct(2, *shape), 2, 2), {"return_indices": True, **draws(1, 2)})
    yield Sample((make.distinct(0, 2, *shape), 2, 2), draws(0, 2))
    yield Sample((make.distinct(2, 3, *shape), 2), {"output_ratio": ratios})
    turned = make.distinct(*reversed((2, 2, *shape))).detach().permute(*reversed(range(dims + 2)))
    yield Sample((leaf(turned), 2, 2), draws(2, 2))
    odd = make.values(1.0, 1.0, -INFINITY, -INFINITY, NAN, 2.0, NAN, NAN, 0.0, INFINITY, INFINITY).detach()
    image = odd.view(1, 1, *(1,) * (dims - 1), -1).expand(1, 1, *(4,) * (dims - 1), -1).clone()
    yield Sample((leaf(image), 2, (2, 2, 6)[-dims:]), {"return_indices": True, **draws(1, 1)}, smooth=False)


def fractional_errors(dims: int) -> Iterator[BadInput]:
    """What no fractional pooling takes."""
    image = torch.ones(2, 3, *(4,) * dims)
    yield bad("got neither", image, 2, error=ValueError)
    yield bad("expected windows that start at different elements", image, 2, 4)
    yield bad("expected kernel_size to be an integer", image, 2.0, 2, error=TypeError)
    yield bad("expected kernel_size to be one integer", image, (2,) * (dims + 1), 2)
    yield bad("floating point", image.long(), 2, 2, error=NotImplementedError)
    yield bad("only the batch may be empty", image[:, :0], 2, 2)
    for wrong in ((1, 3, dims), (2, 4, dims), (2, 3, dims + 1)):
        yield bad("expected _random_samples of shape", image, 2, 2, _random_samples=torch.zeros(wrong))
    doubles = torch.zeros(2, 3, dims, dtype=torch.float64)
    yield bad("of the input's dtype", image, 2, 2, _random_samples=doubles)


def fractional_record(dims: int) -> Record:
    """The record in one dimension."""
    name, module = f"fractional_max_pool{dims}d", f"FractionalMaxPool{dims}d"
    calls: tuple[dict[str, Any], ...] = (
        {"output_size": 3},
        {"output_ratio": (0.5,) * dims, "return_indices": True},
        {"output_size": (2,) * dims, "_random_samples": torch.full((1, 1, dims), 0.5)},
    )
    return Record(
        name,
        getattr(fractional, name),
        getattr(F, name),
        partial(of_fractions, dims=dims),
        [SelectFunction],
        errors=tuple(fractional_errors(dims)),
        builtin_lacks=frozenset({"vmap"}),
        modules=tuple(
            (partial(getattr(scratchnet.nn, module), 2, **c), partial(getattr(nn, module), 2, **c)) for c in calls
        ),
    )


RECORDS = (
    *(lp_record(dims) for dims in (1, 2, 3)),
    *(unpooling_record(dims) for dims in (1, 2, 3)),
    *(fractional_record(dims) for dims in (2, 3)),
)
