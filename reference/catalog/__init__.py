"""The catalog: one record per op, which drives the tests and the report."""

from reference.catalog import activations, clipped, convolution, layers, losses, pooling, rectifiers
from reference.catalog.record import DTYPES, BadInput, Make, Record, Sample

__all__ = ["DTYPES", "RECORDS", "BadInput", "Make", "Record", "Sample"]

PARTS = (activations, rectifiers, clipped, layers, convolution, pooling, losses)
RECORDS: dict[str, Record] = {record.name: record for part in PARTS for record in part.RECORDS}
