"""Unfold and fold."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from reference.catalog.record import BadInput, Make, Record, Sample, bad
from scratchnet.convolution.unfolding import FoldFunction, UnfoldFunction, fold, unfold
from scratchnet.nn import Fold, Unfold

__all__ = ["RECORDS"]

WINDOWS: tuple[tuple[int, dict[str, Any]], ...] = (
    (9, {"kernel_size": 2}),
    (6, {"kernel_size": (2, 3)}),
    (4, {"kernel_size": 2, "dilation": (2, 1), "stride": (1, 2)}),
    (4, {"kernel_size": 3, "padding": (0, 1), "stride": [2, 1]}),
    (4, {"kernel_size": 2, "dilation": 3, "padding": 1, "stride": 2}),
    (16, {"kernel_size": 1}),
)


def unfold_samples(make: Make) -> Iterator[Sample]:
    for _, options in WINDOWS:
        yield Sample((make.normal(1, 2, 4, 4),), options)
    yield Sample((make.normal(2, 3, 4), 2, 1, 1, 3))
    yield Sample((make.normal(0, 2, 4, 4), 2))
    last = make.normal(2, 2, 4, 3).detach().to(memory_format=torch.channels_last).requires_grad_()
    yield Sample((last, 2))
    yield Sample((make.normal(1, 1, 3, 3).detach().expand(2, 2, 3, 3).requires_grad_(), 2))


def fold_samples(make: Make) -> Iterator[Sample]:
    for count, options in WINDOWS:
        kernel = options["kernel_size"]
        positions = kernel**2 if isinstance(kernel, int) else kernel[0] * kernel[1]
        yield Sample((make.normal(1, 2 * positions, count), 4), options)
    yield Sample((make.normal(8, 4), (3, 4), 2, 1, 1, 3))
    yield Sample((make.normal(0, 8, 9), (4, 4), 2))
    yield Sample((make.normal(6, 4, 2).detach().permute(2, 1, 0).requires_grad_(), (3, 4), 2))
    yield Sample((make.normal(1, 4, 1).detach().expand(2, 4, 6).requires_grad_(), (3, 4), 2))


def errors(*inputs: Any) -> tuple[BadInput, ...]:
    return (
        bad(TypeError, "expected kernel_size to be an integer", *inputs, 2.0),
        bad(RuntimeError, "expected kernel_size to be one integer", *inputs, 0),
        bad(RuntimeError, "expected kernel_size to be one integer", *inputs, (2, 2, 2)),
        bad(RuntimeError, "expected dilation to be one integer", *inputs, 2, dilation=0),
        bad(RuntimeError, "expected padding to be one integer", *inputs, 2, padding=-1),
        bad(RuntimeError, "expected stride to be one integer", *inputs, 2, stride=0),
        bad(RuntimeError, "expected an input of at least the kernel's size", *inputs, 6),
    )


IMAGE, COLUMNS = torch.zeros(1, 2, 4, 4), torch.zeros(1, 8, 9)
MODULES: tuple[tuple[tuple[Any, ...], dict[str, Any]], ...] = (
    ((2,), {}),
    (((2, 3),), {"dilation": 2, "padding": (1, 0), "stride": 2}),
)

RECORDS = (
    Record(
        "unfold",
        unfold,
        F.unfold,
        unfold_samples,
        [UnfoldFunction],
        errors=(
            *errors(IMAGE),
            bad(TypeError, "expected input to be a tensor", [1.0], 2),
            bad(NotImplementedError, "expected input to be floating point", IMAGE.long(), 2),
            bad(RuntimeError, "only the batch may be empty", IMAGE[:, :0], 2),
            bad(RuntimeError, "expected an input of shape", torch.zeros(1, 1, 1, 4, 4), 2),
        ),
        modules=tuple((partial(Unfold, *a, **o), partial(nn.Unfold, *a, **o)) for a, o in MODULES),
    ),
    Record(
        "fold",
        fold,
        F.fold,
        fold_samples,
        [FoldFunction],
        errors=(
            *errors(COLUMNS, 4),
            bad(TypeError, "expected input to be a tensor", [1.0], 4, 2),
            bad(NotImplementedError, "expected input to be floating point", COLUMNS.long(), 4, 2),
            bad(RuntimeError, "only the batch may be empty", COLUMNS[:, :0], 4, 2),
            bad(RuntimeError, "expected an input of shape", COLUMNS[0, 0], 4, 2),
            bad(RuntimeError, "expected a multiple of 4 rows", COLUMNS[:, :7], 4, 2),
            bad(RuntimeError, "and 9 columns", COLUMNS[..., :8], 4, 2),
        ),
        modules=tuple((partial(Fold, 8, *a, **o), partial(nn.Fold, 8, *a, **o)) for a, o in MODULES),
    ),
)
