"""Collects what both sides computed, and judges each quantity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from scratchnet.testing.comparison import SEVERITY, Row, Verdict
from scratchnet.testing.quantities import Quantities
from scratchnet.testing.subject import Call, Subject
from scratchnet.testing.tolerances import UNITS, UNITS_OF_CHAINS, UNITS_OF_COMPOSITES, Agreement, Case, agreement

__all__ = ["Board"]


class Board:
    """Collects what was found, and judges each quantity over all upstreams at once."""

    def __init__(self, composite: bool = False) -> None:
        self.composite = composite
        self.cases: dict[str, list[tuple[str, Case]]] = {}
        self.findings: dict[str, list[Row]] = {}

    def rows(self) -> tuple[Row, ...]:
        """The worst row of each quantity, in the order in which the quantities came up."""
        for name, noted in self.cases.items():
            units = UNITS_OF_CHAINS if name.startswith(("double backward", "forward mode")) else UNITS
            units = UNITS_OF_COMPOSITES if self.composite else units
            judged = agreement([case for _, case in noted], units)
            self.findings[name] += [
                _row(name, found, note) for (note, _), found in zip(noted, judged, strict=True)
            ]
        return tuple(max(rows, key=_badness) for rows in self.findings.values())

    def add(self, quantity: str, verdict: Verdict, *notes: str) -> None:
        """Takes down a finding that needs no judging."""
        self.findings.setdefault(quantity, []).append(Row(quantity, verdict, note=" ".join(filter(None, notes))))

    def weigh(
        self,
        ours: Subject,
        theirs: Subject,
        make: Callable[[Subject, Call], Quantities],
        call: Call,
        truth: Call | None,
        what: str,
        under: str = "",
    ) -> bool:
        """Computes a quantity on both sides, and takes down every tensor in it; false if one side failed."""
        note = f"upstream: {under}" if under else ""
        expected = _attempt(lambda: make(theirs, call))
        got = _attempt(lambda: make(ours, call))
        if isinstance(expected, Exception):
            self.add(what, "not compared", f"built-in raises {_summary(expected)}")
            return False
        if isinstance(got, Exception):
            self.add(what, "raises", _summary(got), note)
            return False
        true = _attempt(lambda: make(theirs, truth)) if truth is not None else {}
        wide = {} if isinstance(true, Exception) else true
        for name in expected | got:
            self._take(name, got.get(name), expected.get(name), wide.get(name), note)
        return True

    def _take(
        self, name: str, got: Tensor | None, expected: Tensor | None, truth: Tensor | None, note: str
    ) -> None:
        if got is None or expected is None:
            present = got if expected is None else expected
            if present is None or not bool(present.any()):
                self.add(name, "exact")
            else:
                self.add(name, "differs", "the built-in has none" if expected is None else "missing", note)
        elif got.shape != expected.shape:
            self.add(name, "differs", f"shape {tuple(got.shape)}, expected {tuple(expected.shape)}", note)
        elif got.dtype is not expected.dtype:
            self.add(name, "differs", f"dtype {got.dtype}, expected {expected.dtype}", note)
        else:
            case = Case(got.detach(), expected.detach(), None if truth is None else truth.detach())
            self.findings.setdefault(name, [])
            self.cases.setdefault(name, []).append((note, case))

    def unchanged(self, what: str, watched: Sequence[Any], action: Callable[[], Any], under: str = "") -> None:
        """Takes down whether tensors keep their values while something runs."""
        tensors = [t for t in watched if isinstance(t, Tensor)]
        before = [t.detach().clone() for t in tensors]
        if isinstance(_attempt(action), Exception):
            return
        kept = all(agreement([Case(t.detach(), old)])[0].exact for t, old in zip(tensors, before, strict=True))
        note = f"upstream: {under}" if under else ""
        self.add(what, "exact" if kept else "differs", *(() if kept else ("overwritten", note)))


def _row(quantity: str, found: Agreement, note: str) -> Row:
    if found.exact:
        return Row(quantity, "exact")
    verdict: Verdict = "close" if found.close else "differs"
    numbers = (found.largest, found.index, found.got, found.expected, found.tolerance)
    return Row(quantity, verdict, *numbers, note)


def _badness(row: Row) -> tuple[int, float]:
    return SEVERITY.index(row.verdict), row.largest / row.tolerance if row.tolerance else row.largest


def _attempt(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except Exception as error:  # whatever a function raises is what there is to report
        return error


def _summary(error: Exception) -> str:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first}"[:160]
