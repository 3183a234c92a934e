"""The catalog: one record per op, which drives the tests and the report."""

from reference.catalog import (
    activations,
    adaptive_pooling,
    attention,
    batch_norm,
    clipped,
    convolution,
    dropout,
    embedding,
    fused,
    kernels,
    linear,
    losses,
    normalization,
    optimizers,
    other_pooling,
    padding,
    penalties,
    pooling,
    rectifiers,
    recurrent,
    resampling,
    similarity,
    transformer,
    unfolding,
)
from reference.catalog.record import DTYPES, BadInput, Beyond, Make, Record, Sample

__all__ = ["DTYPES", "RECORDS", "BadInput", "Beyond", "Make", "Record", "Sample"]

PARTS = (
    activations,
    rectifiers,
    clipped,
    losses,
    convolution,
    fused,
    unfolding,
    padding,
    recurrent,
    linear,
    pooling,
    adaptive_pooling,
    other_pooling,
    batch_norm,
    normalization,
    dropout,
    embedding,
    attention,
    transformer,
    similarity,
    resampling,
    kernels,
    optimizers,
    penalties,
)
RECORDS: dict[str, Record] = {record.name: record for part in PARTS for record in part.RECORDS}
