"""Losses, grouped by what they compare."""

from reference.catalog.losses import binary, classes, likelihood, margin, pairs, regression, sequences

__all__ = ["RECORDS"]

RECORDS = tuple(
    record
    for part in (regression, likelihood, binary, classes, margin, pairs, sequences)
    for record in part.RECORDS
)
