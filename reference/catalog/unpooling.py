"""Maximum unpooling in one, two and three dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import scratchnet.nn
from reference.catalog.adaptive_pooling import size
from reference.catalog.record import BadInput, Make, Record, Sample, bad, leaf
from scratchnet.pooling import unpooling

__all__ = ["RECORDS"]


def samples(make: Make, dims: int) -> Iterator[Sample]:
    """Yields indices of a pooling, sizes that pool to the same size, and an element with several values."""
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
    yield Sample((leaf(y), indices), options, smooth=False)  # neighboring windows may share their maximum
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


def errors(dims: int) -> Iterator[BadInput]:
    y = torch.ones(1, 2, *(2,) * dims)
    indices = torch.zeros(y.shape, dtype=torch.int64)
    yield bad(NotImplementedError, "floating point", y.long(), indices, 2)
    yield bad(RuntimeError, "expected indices of dtype int64", y, indices.int(), 2)
    yield bad(RuntimeError, "of the input's shape", y, indices[:, :1], 2)
    yield bad(RuntimeError, "expected indices from 0 to", y, indices + 999, 2)
    yield bad(RuntimeError, "expected indices from 0 to", y, indices - 1, 2)
    yield bad(ValueError, "expected output_size to hold", y, indices, 2, output_size=(4,) * (dims + 1))
    yield bad(ValueError, "expected an output_size within a stride", y, indices, 2, output_size=(9,) * dims)
    yield bad(TypeError, "expected output_size to be a tuple", y, indices, 2, output_size=4)
    yield bad(TypeError, "expected kernel_size to be an integer", y, indices, 2.0)
    yield bad(RuntimeError, "only the batch may be empty", y[:, :0], indices[:, :0], 2)


def record(dims: int) -> Record:
    name, module = f"max_unpool{dims}d", f"MaxUnpool{dims}d"
    calls: tuple[tuple[Any, ...], ...] = ((2,), (3, 2, 1), ((2,) * dims, None, 0))
    return Record(
        name,
        getattr(unpooling, name),
        getattr(F, name),
        partial(samples, dims=dims),
        [unpooling.MaxUnpoolFunction],
        errors=tuple(errors(dims)),
        builtin_lacks=frozenset({"vmap"} if dims == 2 else ()),  # in channels-last format
        modules=tuple(
            (partial(getattr(scratchnet.nn, module), *c), partial(getattr(nn, module), *c)) for c in calls
        ),
    )


RECORDS = tuple(record(dims) for dims in (1, 2, 3))
