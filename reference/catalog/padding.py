"""Padding in every mode, in one, two and three dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import scratchnet.nn
from reference.catalog.record import Make, Record, Sample, bad
from scratchnet.padding import ConstantPadFunction, ExtendFunction, ExtendInFloat32Function, pad

__all__ = ["RECORDS"]

IMAGE = {1: (4,), 2: (3, 4), 3: (3, 2, 3)}
WIDTHS = {1: (3, 2), 2: (1, 2, 0, 2), 3: (2, 1, 1, 0, 0, 2)}
UNEVEN = {1: (-1, 2), 2: (2, -1, -1, 1), 3: (1, -1, 0, 1, -1, 1)}


def samples(make: Make) -> Iterator[Sample]:
    for widths in ((1, 2), (2, 0, 1, 1), (-1, 2), (-1, -1), (0, 0), (), (1, 1, -2, 1, 0, 3), (-2, -2)):
        yield Sample((make.normal(1, 3, 4), widths))
    yield Sample((make.normal(2, 3), (1, 2)), {"value": 1.5})
    yield Sample((make.normal(3), [1, 1]), {"mode": "constant", "value": float("inf")}, smooth=False)
    yield Sample((make.normal(), ()))
    yield Sample((make.normal(0, 3), (1, 1)))
    yield Sample((make.normal(0, 3), (0, 0, 1, 1)), {"value": 2})
    last = make.normal(2, 2, 3, 2).detach().to(memory_format=torch.channels_last).requires_grad_()
    for mode in ("constant", "reflect", "replicate", "circular"):
        yield Sample((last, (1, 1, 1, 1)), {"mode": mode})
    for mode in ("reflect", "replicate", "circular"):
        for dims in (1, 2, 3):
            yield Sample((make.normal(1, 2, *IMAGE[dims]), WIDTHS[dims]), {"mode": mode})
            yield Sample((make.normal(2, *IMAGE[dims]), UNEVEN[dims]), {"mode": mode})
        yield Sample((make.normal(0, 2, 3), (1, 1)), {"mode": mode})
        yield Sample((make.normal(4, 3, 2).detach().permute(2, 1, 0).requires_grad_(), (1, 0)), {"mode": mode})
    yield Sample((make.normal(2, 3), (-5, 6)), {"mode": "replicate"})
    yield Sample((make.normal(2, 2, 1), (4, 3)), {"mode": "replicate"})
    yield Sample((make.normal(1, 3).detach().expand(2, 3).requires_grad_(), (2, 2)), {"mode": "reflect"})
    yield Sample((torch.arange(6).view(2, 3), (1, 1)), {"value": 2.7})
    yield Sample((torch.arange(6).view(2, 3), (1, 1)), {"mode": "reflect"})
    yield Sample((torch.tensor([[True, False]]), (1, 0)), {"mode": "circular"})


LINE, IMAGES = torch.zeros(2, 3), torch.zeros(1, 2, 3, 4)
ERRORS = (
    bad(TypeError, "expected input to be a tensor", [1.0], (1, 1)),
    bad(TypeError, "expected pad to be a tuple of integers", LINE, (1.0, 1)),
    bad(TypeError, "expected pad to be a tuple of integers", LINE, 1),
    bad(TypeError, "expected value to be a number", LINE, (1, 1), value="a"),
    bad(RuntimeError, "expected pad to have two widths", LINE, (1,)),
    bad(RuntimeError, "expected pad to have two widths", LINE, (1,) * 6),
    bad(RuntimeError, "expected widths that crop", LINE, (-2, -2)),
    bad(NotImplementedError, "expected mode to be one of", LINE, (1, 1), mode="mirror"),
    bad(RuntimeError, "expected no value", LINE, (1, 1), mode="reflect", value=1.0),
    bad(NotImplementedError, "expected an input of shape (B, C, …)", LINE[0], (1, 1), mode="reflect"),
    bad(NotImplementedError, "expected an input of shape (B, C, …)", IMAGES, (1, 1), mode="circular"),
    bad(NotImplementedError, "expected numbers", LINE.bool(), (1, 1), mode="replicate"),
    bad(RuntimeError, "expected widths of at most 2", LINE, (3, 0), mode="reflect"),
    bad(RuntimeError, "expected widths of at most 3", LINE, (0, 4), mode="circular"),
    bad(RuntimeError, "at least one element", LINE, (-1, -2), mode="reflect"),
    bad(RuntimeError, "at least one element", LINE[:, :0], (1, 1), mode="replicate"),
    bad(
        RuntimeError,
        "expected an input in which only the batch may be empty",
        torch.zeros(2, 0, 3),
        (1, 1),
        mode="replicate",
    ),
)


def modules() -> Iterator[tuple[Any, Any]]:
    for kind in ("Circular", "Constant", "Reflection", "Replication", "Zero"):
        constant = (3.5,) if kind == "Constant" else ()
        for dims in (1, 2, 3):
            name = f"{kind}Pad{dims}d"
            for widths in (1, (1, 2, 0, 1, 2, 1)[: 2 * dims]):
                yield (
                    partial(getattr(scratchnet.nn, name), widths, *constant),
                    partial(getattr(nn, name), widths, *constant),
                )


RECORDS = (
    Record(
        "pad",
        pad,
        F.pad,
        samples,
        [ConstantPadFunction, ExtendFunction, ExtendInFloat32Function],
        errors=ERRORS,
        modules=tuple(modules()),
    ),
)
