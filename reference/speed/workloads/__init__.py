"""The workloads; every op of the catalog has at least one."""

from reference.speed.workload import Workload
from reference.speed.workloads import (
    activations,
    convolution,
    layers,
    losses,
    models,
    normalization,
    penalties,
    pooling,
    recurrent,
    steps,
    transformers,
)

__all__ = ["WORKLOADS"]

PARTS = (
    steps,
    models,
    activations,
    losses,
    convolution,
    pooling,
    normalization,
    penalties,
    recurrent,
    layers,
    transformers,
)
WORKLOADS: tuple[Workload, ...] = tuple(workload for part in PARTS for workload in part.WORKLOADS)
