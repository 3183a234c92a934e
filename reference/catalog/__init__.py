"""The catalog: one record per op, which drives the tests and the report."""

from reference.catalog import (
    activations,
    attention,
    convolution,
    embedding,
    kernel_machine,
    layers,
    losses,
    pooling,
    resampling,
    similarity,
    transformer,
)
from reference.catalog.record import DTYPES, BadInput, Make, Record, Sample

__all__ = ["DTYPES", "RECORDS", "BadInput", "Make", "Record", "Sample"]

RECORDS: dict[str, Record] = {
    record.name: record
    for part in (
        activations,
        layers,
        convolution,
        pooling,
        losses,
        embedding,
        similarity,
        attention,
        transformer,
        resampling,
        kernel_machine,
    )
    for record in part.RECORDS
}
