"""Linear layers, in every layout and number of dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from reference.catalog.record import BadInput, Make, Record, Sample, leaf
from scratchnet.linear.linear import LinearFunction, linear
from scratchnet.nn import Linear

__all__ = ["RECORDS"]

INFINITY, NAN = float("inf"), float("nan")


def linear_samples(make: Make) -> Iterator[Sample]:
    """Every number of leading dimensions, layouts, shapes of weight and bias, empty sizes."""
    weight, bias = make.normal(2, 3), make.normal(2)
    yield Sample((make.normal(4, 3), weight, bias))
    yield Sample((make.normal(4, 3), weight))
    for shape in ((3,), (2, 2, 3), (2, 1, 2, 3)):
        yield Sample((make.normal(*shape), weight, bias))
        yield Sample((make.normal(*shape), weight))
    yield Sample((leaf(make.normal(3, 4).t()), leaf(make.normal(3, 2).t()), bias))
    yield Sample((leaf(make.normal(2, 3, 2).transpose(1, 2)), weight, bias))
    yield Sample((leaf(make.normal(4, 6)[:, ::2]), weight, leaf(make.normal(4)[::2])))
    yield Sample((leaf(make.normal(1, 3).expand(4, 3)), weight, leaf(make.normal(1).expand(2))))
    yield Sample((make.normal(4, 3), make.normal(1, 3), make.normal(1)))
    yield Sample((make.normal(4, 3), weight, make.normal(1)))
    yield Sample((make.normal(4, 3), weight, make.normal()))
    yield Sample((make.normal(4, 3), make.normal(3)))
    yield Sample((make.normal(3), make.normal(3)))
    yield Sample((make.normal(4, 3), make.normal(2, 3, grad=False), bias))
    yield Sample((make.normal(4, 3, grad=False), weight, bias))
    for rows in ((0, 3), (2, 0, 3)):
        yield Sample((make.normal(*rows), weight, bias))
    yield Sample((make.normal(4, 0), make.normal(2, 0), bias))
    yield Sample((make.normal(4, 3), make.normal(0, 3), make.normal(0)))
    yield Sample((make.values(INFINITY, 0.0, NAN), weight, bias), smooth=False)


def bad_linear(error: type[Exception], says: str, *shapes: Any, **dtypes: torch.dtype) -> BadInput:
    """Tensors of the shapes given, in the dtypes given by position; anything else as it comes."""

    def call() -> tuple[tuple[Any, ...], dict[str, Any]]:
        kinds = [dtypes.get(name) for name in ("input", "weight", "bias")]
        given = [
            torch.zeros(shape, dtype=kind) if isinstance(shape, tuple) else shape
            for shape, kind in zip(shapes, kinds, strict=False)
        ]
        return tuple(given), {}

    return BadInput(call, error, says)


LINEAR_ERRORS = (
    bad_linear(TypeError, "expected input to be a tensor, got list", [1.0, 2.0, 3.0], (2, 3)),
    bad_linear(TypeError, "expected weight to be a tensor, got None", (4, 3), None),
    bad_linear(TypeError, "expected bias to be a tensor", (4, 3), (2, 3), [1.0]),
    bad_linear(RuntimeError, "expected input of shape (*, 3)", (4, 2), (2, 3), (2,)),
    bad_linear(RuntimeError, "expected input of shape (*, 3)", (3, 4), (3,)),
    bad_linear(RuntimeError, "expected input of shape (*, 3)", (), (2, 3)),
    bad_linear(RuntimeError, "(out_features, in_features)", (4, 3), (2, 2, 3)),
    bad_linear(RuntimeError, "(out_features, in_features)", (4, 3), ()),
    bad_linear(RuntimeError, "expected bias of shape (2,)", (4, 3), (2, 3), (3,)),
    bad_linear(RuntimeError, "of one dtype", (4, 3), (2, 3), weight=torch.float64),
    bad_linear(RuntimeError, "of one dtype", (4, 3), (2, 3), (2,), bias=torch.float64),
    bad_linear(RuntimeError, "of one dtype", (4, 3), (2, 3), (2,), input=torch.bfloat16),
    bad_linear(RuntimeError, "of one dtype", (4, 3), (2, 3), input=torch.int64),
)


RECORDS = (
    Record(
        name="linear",
        custom=linear,
        builtin=F.linear,
        samples=linear_samples,
        functions=(LinearFunction,),
        errors=LINEAR_ERRORS,
        modules=tuple(
            (partial(Linear, *arguments, **options), partial(nn.Linear, *arguments, **options))
            for arguments, options in (
                ((5, 3), {}),
                ((1, 1), {}),
                ((5, 3), {"bias": False}),
                ((5, 3), {"dtype": torch.float64}),
            )
        ),
    ),
)
