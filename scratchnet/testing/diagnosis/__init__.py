"""The likely cause of a disagreement, where its pattern gives it away."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from scratchnet.testing.comparison import Row
from scratchnet.testing.diagnosis.messages import by_check, by_message
from scratchnet.testing.diagnosis.numbers import by_numbers
from scratchnet.testing.diagnosis.probes import by_state
from scratchnet.testing.diagnosis.upstreams import by_reach, by_upstreams
from scratchnet.testing.offers import names_what_lacks

__all__ = ["likely_cause"]


def likely_cause(row: Row) -> str:
    """Says what is probably wrong; empty where no pattern fits, or where the note says what is missing."""
    if row.verdict == "raises" and names_what_lacks(row.note):
        return ""
    return next((cause for look in LOOKS for cause in look(row) if cause), "")


def by_last_resort(row: Row) -> Iterator[str]:
    """Yields a cause for numbers that fit no pattern."""
    if row.evidence is not None and row.evidence.findings:
        what = "the gradient" if "gradient" in row.quantity else "the value"
        yield f"a term or factor of {what} is missing or wrong"


LOOKS: tuple[Callable[[Row], Iterator[str]], ...] = (
    by_message,
    by_state,
    by_check,
    by_upstreams,
    by_numbers,
    by_reach,
    by_last_resort,
)
