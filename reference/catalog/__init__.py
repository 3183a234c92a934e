"""The catalog: one record per op, which drives the tests and the report."""

from reference.catalog import (
    activations,
    adaptive_pooling,
    batch_norm,
    convolution,
    dropout,
    linear,
    losses,
    normalization,
    other_pooling,
    pooling,
)
from reference.catalog.record import DTYPES, BadInput, Make, Record, Sample

__all__ = ["DTYPES", "RECORDS", "BadInput", "Make", "Record", "Sample"]

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
