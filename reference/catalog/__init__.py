"""The catalog: one record per op, which drives the tests and the report."""

from reference.catalog import (
    activations,
    adaptive_pooling,
    batch_norm,
    convolution,
    dropout,
    layers,
    linear,
    losses,
    normalization,
    optimizers,
    other_pooling,
    padding,
    pooling,
    rectifiers,
    recurrent,
    unfolding,
)
from reference.catalog.record import DTYPES, BadInput, Make, Record, Sample

__all__ = ["DTYPES", "RECORDS", "BadInput", "Make", "Record", "Sample"]

RECORDS: dict[str, Record] = {
    record.name: record
    for part in (activations, layers, convolution, pooling, losses, optimizers)
    for part in (activations, layers, convolution, unfolding, padding, pooling, losses)
    for part in (activations, layers, convolution, pooling, losses, recurrent)
    for record in part.RECORDS
}
PARTS = (activations, rectifiers, layers, convolution, pooling, losses)
PARTS = (
    activations,
    linear,
    dropout,
    batch_norm,
    normalization,
    convolution,
    pooling,
    adaptive_pooling,
    other_pooling,
    losses,
)
RECORDS: dict[str, Record] = {record.name: record for part in PARTS for record in part.RECORDS}
