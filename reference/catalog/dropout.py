"""Dropout of elements and of channels; the comparison seeds both sides alike."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from reference.catalog.record import BadInput, Make, Record, Sample, bad, leaf
from scratchnet.dropout.alpha_dropout import AlphaDropoutFunction, alpha_dropout, feature_alpha_dropout
from scratchnet.dropout.channel_dropout import dropout1d, dropout2d, dropout3d
from scratchnet.dropout.dropout import DropoutFunction, dropout
from scratchnet.nn import AlphaDropout, Dropout, Dropout1d, Dropout2d, Dropout3d, FeatureAlphaDropout

__all__ = ["RECORDS"]

INFINITY, NAN = float("inf"), float("nan")


def dropout_samples(make: Make) -> Iterator[Sample]:
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


DROPOUT_ERRORS = (
    bad(TypeError, "expected input to be a tensor, got list", [1.0, 2.0]),
    bad(TypeError, "expected p to be a number, got str", torch.zeros(2), p="half"),
    bad(ValueError, "between 0 and 1, got 1.5", torch.zeros(2), p=1.5),
    bad(ValueError, "between 0 and 1, got -0.1", torch.zeros(2), p=-0.1, training=False),
    bad(RuntimeError, "floating point", torch.tensor([1, 2])),
)


def channel_samples(make: Make, shapes: tuple[tuple[int, ...], ...]) -> Iterator[Sample]:
    """Yields inputs of each shape; the first has the shape (N, C, ...)."""
    first = shapes[0]
    for p in (0.5, 0.1, 0.0, 1.0):
        yield Sample((make.normal(*first), p, True))
    yield Sample((make.normal(*first),), {"training": False})
    for shape in shapes:
        yield Sample((make.normal(*shape), 0.3), {"training": True})
    yield Sample((leaf(make.normal(*reversed(first)).permute(*reversed(range(len(first))))), 0.3, True))
    yield Sample((leaf(make.normal(1, *first[1:]).expand(*first)), 0.3, True))
    yield Sample((make.normal(0, *first[1:]), 0.3, True))
    if len(first) == 4:
        yield Sample((leaf(make.normal(*first).detach().to(memory_format=torch.channels_last)), 0.3, True))
    extremes = make.values(INFINITY, -INFINITY, NAN, 0.0, -0.0, 1e30, INFINITY, NAN).detach()
    odd = extremes.view(*(1,) * (len(first) - 2), 4, 2)
    for p in (0.5, 1.0):
        yield Sample((leaf(odd), p, True), smooth=False)


INTEGERS = bad(RuntimeError, "floating point", torch.ones(2, 3, 4, dtype=torch.int64), training=True)
NO_PROBABILITY = (
    bad(ValueError, "between 0 and 1, got 1.5", torch.zeros(2, 3, 4), p=1.5),
    bad(TypeError, "expected p to be a number, got str", torch.zeros(2, 3, 4), p="half"),
)
NO_CHANNELS = bad(RuntimeError, "shape (N, C, ...)", torch.zeros(3), training=True)


def record(
    custom: Any, builtin: Any, modules: tuple[Any, Any], function: Any, shapes: Any, *errors: BadInput
) -> Record:
    return Record(
        name=custom.__name__,
        custom=custom,
        builtin=builtin,
        samples=partial(channel_samples, shapes=shapes),
        functions=(function,),
        errors=(*NO_PROBABILITY, INTEGERS, *errors),
        builtin_lacks=frozenset({"vmap"}),
        modules=tuple(
            (partial(modules[0], *arguments), partial(modules[1], *arguments)) for arguments in ((), (0.3, True))
        ),
    )


LINES, IMAGES, VOLUMES = (2, 3, 4), (2, 3, 2, 2), (2, 3, 2, 1, 2)
NO_LINES = bad(RuntimeError, "expected input of shape (N, C, L)", torch.zeros(IMAGES))

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
    record(dropout1d, F.dropout1d, (Dropout1d, nn.Dropout1d), DropoutFunction, (LINES, (3, 4)), NO_LINES),
    record(dropout2d, F.dropout2d, (Dropout2d, nn.Dropout2d), DropoutFunction, (IMAGES, LINES), NO_CHANNELS),
    record(dropout3d, F.dropout3d, (Dropout3d, nn.Dropout3d), DropoutFunction, (VOLUMES, IMAGES)),
    record(
        alpha_dropout, F.alpha_dropout, (AlphaDropout, nn.AlphaDropout), AlphaDropoutFunction, (IMAGES, (), (3,))
    ),
    record(
        feature_alpha_dropout,
        F.feature_alpha_dropout,
        (FeatureAlphaDropout, nn.FeatureAlphaDropout),
        AlphaDropoutFunction,
        (IMAGES, (3, 4), VOLUMES),
        NO_CHANNELS,
    ),
)
