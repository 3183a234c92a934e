"""Pooling by p-norm in one, two and three dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import scratchnet.nn
from reference.catalog.adaptive_pooling import size
from reference.catalog.record import BadInput, Beyond, Make, Record, Sample, bad, leaf, rounded_once
from scratchnet.pooling import lp_pooling as lp

__all__ = ["RECORDS"]

INFINITY, NAN = float("inf"), float("nan")


def samples(make: Make, dims: int) -> Iterator[Sample]:
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


def errors(dims: int) -> Iterator[BadInput]:
    image = torch.ones(1, 2, *(4,) * dims)
    yield bad(ZeroDivisionError, "norm_type other than 0", image, 0, 2)
    yield bad(TypeError, "expected norm_type to be a number", image, "two", 2)
    yield bad(RuntimeError, "expected kernel_size to be one integer", image, 2, 0)
    yield bad(RuntimeError, "expected stride to be one integer", image, 2, 2, 0)
    yield bad(RuntimeError, "expected an input of at least the kernel's size", image, 2, 5)


def record(dims: int) -> Record:
    name, module = f"lp_pool{dims}d", f"LPPool{dims}d"
    calls: tuple[tuple[Any, ...], ...] = ((2, 2), (1.5, 3, 2, True))
    builtin = getattr(F, name)
    return Record(
        name,
        getattr(lp, name),
        rounded_once(builtin) if dims == 3 else builtin,
        partial(samples, dims=dims),
        [lp.LPPoolFunction],
        errors=tuple(errors(dims)),
        beyond=[
            Beyond(
                "a negative sum of odd powers: its real root",
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


RECORDS = tuple(record(dims) for dims in (1, 2, 3))
