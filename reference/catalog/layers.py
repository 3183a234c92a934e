"""Layers: linear, dropout and batch normalization, in every layout, option and dimension that they take."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference.catalog.record import BadInput, Make, Record, Sample
from scratchnet.layers.batch_norm import BatchNorm1d, BatchNorm2d
from scratchnet.layers.dropout import Dropout, DropoutFunction, dropout
from scratchnet.layers.linear import Linear, LinearFunction, linear
from scratchnet.layers.normalization import BatchNormFunction, FixedNormFunction, batch_norm

__all__ = ["RECORDS"]

INFINITY, NAN = float("inf"), float("nan")


def leaf(x: Tensor) -> Tensor:
    """A view of detached memory as a leaf of its own, strides and all."""
    return x.detach().requires_grad_()


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
    bad_linear(RuntimeError, "floating point", (4, 3), (2, 3), input=torch.int64),
)


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


def batch_norm_samples(make: Make) -> Iterator[Sample]:
    """Training and evaluation, all dimensions and layouts, with and without parameters, empty batches."""

    def statistics(channels: int) -> tuple[Tensor, Tensor]:
        return make.normal(channels, grad=False), make.uniform(channels, low=0.5, high=2.0, grad=False)

    def parameters(channels: int) -> tuple[Tensor, Tensor]:
        return make.normal(channels), make.normal(channels)

    for training, running in ((True, (None, None)), (False, statistics(3))):
        options = {"training": training}
        for shape in ((4, 3), (4, 3, 2), (2, 3, 2, 2), (2, 3, 1, 2, 2), (1, 3, 4)):
            yield Sample((make.normal(*shape), *running, *parameters(3)), options)
        weight, bias = parameters(3)
        yield Sample((make.normal(4, 3), *running), options)
        yield Sample((make.normal(4, 3, 2), *running, weight), options)
        yield Sample((make.normal(4, 3), *running, None, bias), options)
        yield Sample((make.normal(4, 3, grad=False), *running, weight, bias), options)
        yield Sample((make.normal(4, 3), *running, weight.detach(), bias.detach()), options)
        yield Sample((make.normal(4, 3), *running, weight, bias), {**options, "eps": 0.1})
        image = make.normal(2, 3, 2, 2).detach()
        yield Sample((leaf(image.to(memory_format=torch.channels_last)), *running, weight, bias), options)
        volume = make.normal(2, 3, 1, 2, 2).detach()
        yield Sample((leaf(volume.to(memory_format=torch.channels_last_3d)), *running, weight, bias), options)
        yield Sample((leaf(make.normal(3, 4).t()), *running, weight, bias), options)
        yield Sample((leaf(make.normal(2, 4, 3).transpose(1, 2)), *running, weight, bias), options)
        yield Sample((leaf(make.normal(4, 6)[:, ::2]), *running, leaf(make.normal(6)[::2]), bias), options)
        for shape in ((0, 3), (2, 3, 0)):
            yield Sample((make.normal(*shape), *running, weight, bias), options)
    # Expanded from a single row, every channel has variance 0.
    yield Sample((leaf(make.normal(1, 3).expand(4, 3)), None, None, *parameters(3)), {"training": True})
    yield Sample((make.normal(1, 3), *statistics(3), *parameters(3)))
    extremes = make.values(INFINITY, 0.0, -INFINITY, 1.0, NAN, 2.0).detach().view(2, 3)
    for training, running in ((True, (None, None)), (False, statistics(3))):
        yield Sample((leaf(extremes), *running, *parameters(3)), {"training": training}, smooth=False)


def bad_batch_norm(error: type[Exception], says: str, *shapes: Any, **options: Any) -> BadInput:
    """Tensors of the shapes given, in the dtypes where options name them; anything else as it comes."""
    dtypes = options.pop("dtypes", {})

    def call() -> tuple[tuple[Any, ...], dict[str, Any]]:
        given = [
            torch.ones(shape, dtype=dtypes.get(i)) if isinstance(shape, tuple) else shape
            for i, shape in enumerate(shapes)
        ]
        return tuple(given), options

    return BadInput(call, error, says)


BATCH_NORM_ERRORS = (
    bad_batch_norm(TypeError, "expected input to be a tensor, got list", [1.0], (3,), (3,)),
    bad_batch_norm(TypeError, "expected momentum to be a number", (4, 3), (3,), (3,), momentum=None),
    bad_batch_norm(NotImplementedError, "floating point", (4, 3), (3,), (3,), dtypes={0: torch.int64}),
    bad_batch_norm(RuntimeError, "shape (N, C, ...)", (3,), (3,), (3,)),
    bad_batch_norm(RuntimeError, "expected running_mean of shape (2,)", (4, 2), (3,), (3,)),
    bad_batch_norm(RuntimeError, "expected running_var of shape (3,)", (4, 3), (3,), (2,)),
    bad_batch_norm(RuntimeError, "expected weight of shape (3,)", (4, 3), (3,), (3,), (2,)),
    bad_batch_norm(RuntimeError, "expected bias of shape (3,)", (4, 3), (3,), (3,), (3,), (2,)),
    bad_batch_norm(RuntimeError, "got neither", (4, 3), None, None),
    bad_batch_norm(RuntimeError, "only one", (4, 3), (3,), None),
    bad_batch_norm(ValueError, "only one", (4, 3), (3,), None, training=True),
    bad_batch_norm(ValueError, "more than 1 value per channel", (1, 3), None, None, training=True),
    bad_batch_norm(ValueError, "more than 1 value per channel", (1, 3, 1), None, None, training=True),
    bad_batch_norm(ValueError, "eps > 0 in training", (4, 3), None, None, training=True, eps=0.0),
    bad_batch_norm(ValueError, "eps >= 0 in evaluation", (4, 3), (3,), (3,), eps=-1.0),
    bad_batch_norm(RuntimeError, "dtype of the input", (4, 3), (3,), (3,), dtypes={0: torch.float64}),
    bad_batch_norm(RuntimeError, "dtype of the input", (4, 3), (3,), (3,), (3,), dtypes={3: torch.bfloat16}),
)

BATCH_NORM_OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"eps": 0.1, "momentum": 0.3},
    {"momentum": None},
    {"affine": False},
    {"bias": False},
    {"track_running_stats": False},
    {"affine": False, "track_running_stats": False},
    {"dtype": torch.float64},
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
    Record(
        name="batch_norm",
        custom=batch_norm,
        builtin=F.batch_norm,
        samples=batch_norm_samples,
        functions=(BatchNormFunction, FixedNormFunction),
        errors=BATCH_NORM_ERRORS,
        builtin_lacks=frozenset({"double backward"}),  # with a bias but no weight
        modules=tuple(
            (partial(custom, 3, **options), partial(builtin, 3, **options))
            for custom, builtin in ((BatchNorm1d, nn.BatchNorm1d), (BatchNorm2d, nn.BatchNorm2d))
            for options in BATCH_NORM_OPTIONS
        ),
    ),
)
