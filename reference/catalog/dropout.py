"""Dropout: probabilities from 0 to 1; the comparison seeds both sides alike."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from reference.catalog.record import BadInput, Make, Record, Sample, leaf
from scratchnet.layers.dropout import Dropout, DropoutFunction, dropout

__all__ = ["RECORDS"]

INFINITY, NAN = float("inf"), float("nan")


def dropout_samples(make: Make) -> Iterator[Sample]:
    """Probabilities from 0 to 1 in every layout; the comparison seeds both sides alike."""
    for p in (0.5, 0.1, 0.9, 0.0, 1.0):
        yield Sample((make.normal(3, 5), p))
    yield Sample((make.normal(3, 5),), {"training": False})
    yield Sample((make.normal(3, 4), 0.3, True, False))
    yield Sample((leaf(make.normal(4, 3).t()),), {"p": 0.3})
    yield Sample((leaf(make.normal(4, 6)[:, ::2]),))
    yield Sample((leaf(make.normal(1, 3).expand(4, 3)),))
    for shape in ((), (2, 3, 2, 2), (0, 3)):
        yield Sample((make.normal(*shape), 0.25))
    extremes = make.values(INFINITY, -INFINITY, NAN, 0.0, -0.0, 1e30, INFINITY, NAN)
    for p in (0.0, 0.5, 1.0):
        yield Sample((extremes, p), smooth=False)


def bad_dropout(error: type[Exception], says: str, input: Any, **options: Any) -> BadInput:
    """One input and its options."""
    return BadInput(lambda: ((input,), options), error, says)


DROPOUT_ERRORS = (
    bad_dropout(TypeError, "expected input to be a tensor, got list", [1.0, 2.0]),
    bad_dropout(TypeError, "expected p to be a number, got str", torch.zeros(2), p="half"),
    bad_dropout(ValueError, "between 0 and 1, got 1.5", torch.zeros(2), p=1.5),
    bad_dropout(ValueError, "between 0 and 1, got -0.1", torch.zeros(2), p=-0.1, training=False),
    bad_dropout(RuntimeError, "floating point", torch.tensor([1, 2])),
)


RECORDS = (
    Record(
        name="dropout",
        custom=dropout,
        builtin=F.dropout,
        samples=dropout_samples,
        functions=(DropoutFunction,),
        errors=DROPOUT_ERRORS,
        builtin_lacks=frozenset({"vmap"}),
        modules=tuple(
            (partial(Dropout, *arguments), partial(nn.Dropout, *arguments))
            for arguments in ((), (0.1,), (0.3, True))
        ),
    ),
)
