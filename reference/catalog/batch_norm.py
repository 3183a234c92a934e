"""Batch and instance normalization."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference.catalog.record import Make, Record, Sample, bad, leaf
from scratchnet.nn import BatchNorm1d, BatchNorm2d, BatchNorm3d, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from scratchnet.normalization.batch_norm import BatchNormFunction, FixedNormFunction, batch_norm
from scratchnet.normalization.group_norm import GroupNormFunction
from scratchnet.normalization.instance_norm import instance_norm

__all__ = ["RECORDS"]

INFINITY, NAN = float("inf"), float("nan")


def batch_norm_samples(make: Make) -> Iterator[Sample]:

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
    # Rows expanded from one give every channel variance 0.
    yield Sample((leaf(make.normal(1, 3).expand(4, 3)), None, None, *parameters(3)), {"training": True})
    yield Sample((make.normal(1, 3), *statistics(3), *parameters(3)))
    extremes = make.values(INFINITY, 0.0, -INFINITY, 1.0, NAN, 2.0).detach().view(2, 3)
    for training, running in ((True, (None, None)), (False, statistics(3))):
        yield Sample((leaf(extremes), *running, *parameters(3)), {"training": training}, smooth=False)


def ones(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.ones(shape, dtype=dtype)


TWO, THREE = ones(2), ones(3)
BATCH_NORM_ERRORS = (
    bad(TypeError, "expected input to be a tensor, got list", [1.0], THREE, THREE),
    bad(TypeError, "expected momentum to be a number", ones(4, 3), THREE, THREE, momentum=None),
    bad(NotImplementedError, "floating point", ones(4, 3, dtype=torch.int64), THREE, THREE),
    bad(RuntimeError, "shape (N, C, ...)", THREE, THREE, THREE),
    bad(RuntimeError, "expected running_mean of shape (2,)", ones(4, 2), THREE, THREE),
    bad(RuntimeError, "expected running_var of shape (3,)", ones(4, 3), THREE, TWO),
    bad(RuntimeError, "expected weight of shape (3,)", ones(4, 3), THREE, THREE, TWO),
    bad(RuntimeError, "expected bias of shape (3,)", ones(4, 3), THREE, THREE, THREE, TWO),
    bad(RuntimeError, "got neither", ones(4, 3), None, None),
    bad(RuntimeError, "only one", ones(4, 3), THREE, None),
    bad(ValueError, "only one", ones(4, 3), THREE, None, training=True),
    bad(ValueError, "more than 1 value per channel", ones(1, 3), None, None, training=True),
    bad(ValueError, "more than 1 value per channel", ones(1, 3, 1), None, None, training=True),
    bad(ValueError, "eps > 0 in training", ones(4, 3), None, None, training=True, eps=0.0),
    bad(ValueError, "eps >= 0 in evaluation", ones(4, 3), THREE, THREE, eps=-1.0),
    bad(RuntimeError, "dtype of the input", ones(4, 3, dtype=torch.float64), THREE, THREE),
    bad(RuntimeError, "dtype of the input", ones(4, 3), THREE, THREE, ones(3, dtype=torch.bfloat16)),
)


def instance_norm_samples(make: Make) -> Iterator[Sample]:

    def statistics() -> tuple[Tensor, Tensor]:
        return make.normal(3, grad=False), make.uniform(3, low=0.5, high=2.0, grad=False)

    weight, bias = make.normal(3), make.normal(3)
    for shape in ((2, 3, 4), (2, 3, 2, 2), (1, 3, 1, 2, 2)):
        yield Sample((make.normal(*shape), None, None, weight, bias))
        yield Sample((make.normal(*shape), *statistics(), weight, bias), {"use_input_stats": False})
    yield Sample((make.normal(2, 3, 4),))
    yield Sample((make.normal(2, 3, 4), *statistics(), weight), {"momentum": 0.3, "eps": 0.1})
    yield Sample((make.normal(2, 3, 4, grad=False), *statistics(), weight, bias))
    yield Sample((make.normal(2, 3, 4), None, None, None, bias))
    yield Sample((make.normal(2, 3), *statistics(), weight, bias), {"use_input_stats": False})
    image = make.normal(2, 3, 2, 2).detach()
    yield Sample((leaf(image.to(memory_format=torch.channels_last)), *statistics(), weight, bias))
    yield Sample((leaf(make.normal(2, 4, 3).transpose(1, 2)), None, None, weight, bias))
    yield Sample((leaf(make.normal(1, 3, 4).expand(2, 3, 4)), None, None, weight, bias))
    yield Sample((make.normal(0, 3, 2),))
    extremes = make.values(INFINITY, 0.0, -INFINITY, 1.0, NAN, 2.0).detach().view(1, 3, 2)
    yield Sample((leaf(extremes), *statistics(), weight, bias), smooth=False)


INSTANCE_NORM_ERRORS = (
    bad(TypeError, "expected momentum to be a number", ones(2, 3, 2), momentum=None),
    bad(NotImplementedError, "floating point", ones(2, 3, 2, dtype=torch.int64)),
    bad(ValueError, "more than 1 value per channel of a sample", ones(2, 3)),
    bad(ValueError, "more than 1 value per channel of a sample", ones(2, 3, 1)),
    bad(RuntimeError, "got neither", ones(2, 3, 2), use_input_stats=False),
    bad(ValueError, "only one", ones(2, 3, 2), THREE, None),
    bad(RuntimeError, "expected weight of shape (3,)", ones(2, 3, 2), None, None, TWO),
    bad(RuntimeError, "expected running_mean of shape (3,)", ones(2, 3, 2), TWO, TWO),
    bad(RuntimeError, "dtype of the input", ones(2, 3, 2), None, None, ones(3, dtype=torch.float64)),
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
        name="batch_norm",
        custom=batch_norm,
        builtin=F.batch_norm,
        samples=batch_norm_samples,
        functions=(BatchNormFunction, FixedNormFunction),
        errors=BATCH_NORM_ERRORS,
        builtin_lacks=frozenset({"double backward"}),  # with a bias but no weight
        modules=tuple(
            (partial(custom, 3, **options), partial(builtin, 3, **options))
            for custom, builtin in (
                (BatchNorm1d, nn.BatchNorm1d),
                (BatchNorm2d, nn.BatchNorm2d),
                (BatchNorm3d, nn.BatchNorm3d),
            )
            for options in BATCH_NORM_OPTIONS
        ),
    ),
    Record(
        name="instance_norm",
        custom=instance_norm,
        builtin=F.instance_norm,
        samples=instance_norm_samples,
        functions=(GroupNormFunction, FixedNormFunction),
        errors=INSTANCE_NORM_ERRORS,
        # Double backward with a bias but no weight; vmap with running statistics that are not mapped over.
        builtin_lacks=frozenset({"double backward", "vmap"}),
        modules=tuple(
            (partial(custom, 3, **options), partial(builtin, 3, **options))
            for custom, builtin in (
                (InstanceNorm1d, nn.InstanceNorm1d),
                (InstanceNorm2d, nn.InstanceNorm2d),
                (InstanceNorm3d, nn.InstanceNorm3d),
            )
            for options in ({}, {"affine": True, "track_running_stats": True}, *BATCH_NORM_OPTIONS)
        ),
    ),
)
