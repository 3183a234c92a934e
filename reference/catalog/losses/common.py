"""What the records of all losses use."""

from __future__ import annotations

from reference.catalog.record import BadInput

__all__ = ["REDUCTIONS", "bad"]

REDUCTIONS = ("none", "mean", "sum")


def bad(error: type[Exception], says: str, *inputs: object, **options: object) -> BadInput:
    """A call that must fail."""
    return BadInput(lambda: (inputs, options), error, says)
