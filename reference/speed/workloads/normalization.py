"""Normalization over batches, rows, groups and channels."""

from __future__ import annotations

from typing import Any

from reference.catalog import Make, Sample
from reference.speed.workload import op_workload
from reference.speed.workloads.sized import sized

__all__ = ["EMBEDDED", "PIXELS", "WORKLOADS"]

PIXELS, EMBEDDED = (128, 64, 24, 24), (32, 128, 768)
IMAGES = ((2, 4, 3, 3), (128, 32, 26, 26), PIXELS)
ROWS = ((2, 4), (128, 128), (8192, 512))


def by_batch(make: Make, *shape: int) -> tuple[Any, ...]:
    channels = shape[1]
    running = make.normal(channels, grad=False), make.uniform(channels, low=0.5, grad=False)
    return make.normal(*shape), *running, make.normal(channels), make.normal(channels)


def by_instance(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.normal(*shape), None, None, make.normal(shape[1]), make.normal(shape[1])


def by_row(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.normal(*shape), shape[-1:], make.normal(shape[-1]), make.normal(shape[-1])


def by_square(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.normal(*shape), shape[-1:], make.normal(shape[-1])


def by_group(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.normal(*shape), 4, make.normal(shape[1]), make.normal(shape[1])


def by_weight(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.normal(*shape), make.normal(shape[0], 1)


def neighboring_channels(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.normal(*shape), 5


WORKLOADS = (
    *sized("batch_norm", IMAGES, by_batch, layouts=True, training=True),
    *sized("batch_norm", ROWS[1:2], by_batch, training=True),
    *sized("instance_norm", IMAGES[:2], by_instance),
    *sized("layer_norm", (*ROWS, EMBEDDED), by_row),
    *sized("rms_norm", (*ROWS, EMBEDDED), by_square),
    *sized("group_norm", IMAGES, by_group, layouts=True),
    *sized("local_response_norm", IMAGES[:2], neighboring_channels),
    # One channel: with more the built-in's gradients are wrong.
    op_workload(
        "CrossMapLRN2d", "(2,1,3,3)", lambda make: Sample((make.normal(2, 1, 3, 3),), arguments={"size": 5})
    ),
    *sized("normalize", ROWS),
    *sized("weight_norm", ROWS, by_weight),
)
