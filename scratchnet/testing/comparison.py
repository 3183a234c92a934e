"""The result of a comparison: rows, a verdict, and a table to read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, NamedTuple

from torch import Tensor

__all__ = ["SEVERITY", "Comparison", "Evidence", "Finding", "Row", "Verdict"]

Verdict = Literal["exact", "close", "convention", "differs", "raises", "not offered", "not compared"]
COMPARED: tuple[Verdict, ...] = ("exact", "close", "differs", "raises")
AGREEING: tuple[Verdict, ...] = ("exact", "close")
COUNTED = ("output", "buffer", "gradient", "opcheck")
FAILURES: tuple[Verdict, ...] = ("differs", "raises")
BESIDE: dict[Verdict, str] = {
    "not offered": "not offered",
    "not compared": "not compared",
    "convention": "by another convention",
}
SEVERITY: tuple[Verdict, ...] = (
    "not compared",
    "not offered",
    "exact",
    "close",
    "convention",
    "differs",
    "raises",
)


class Finding(NamedTuple):
    """One tensor of both sides, and under which kind of upstream it came up."""

    kind: str
    got: Tensor | None
    expected: Tensor | None
    truth: Tensor | None
    check: str = ""
    moved: Callable[..., Tensor | None] = lambda *how: None  # the truth on inputs as `Examination.moved` has them


@dataclass(frozen=True)
class Evidence:
    """The tensors behind a row that disagrees, and the worst of them."""

    findings: Sequence[Finding]
    worst: int
    examination: Any  # an `Examination`, whose file builds on this one


@dataclass(frozen=True)
class Row:
    """The worst that was found for one quantity over all upstreams.

    Attributes:
        quantity: what was compared, such as ``output`` or ``gradient of weight``.
        verdict: ``exact`` (bit for bit), ``close`` (within the tolerance), ``convention`` (differs, but only as is a
            matter of taste at NaN, infinities, kinks and ties), ``differs``, ``raises`` (an error where the built-in
            has none), ``not offered`` (the function lacks what forward mode, vmap, a second
            derivative or the compiler asks for) or ``not compared`` (the built-in cannot do it either).
        largest: the largest difference from what was expected.
        index: where it is.
        got: the custom value there.
        expected: the expected value there.
        tolerance: the difference that was allowed there.
        note: the upstream under which it was found, or what went wrong.
        lacks: the built-in's error, where it cannot do this.
        relative: the difference there, relative to what was expected.
        ulps: the difference there, in units in the last place of what was expected.
        error: in a short dtype, the largest error against float64 under any upstream, in units in the last place
            of the largest element, or of 1 where that is larger.
        builtin_error: the built-in's, in the same units.
        check: the keyword of `compare` that asked for it.
        evidence: the tensors, of a row that disagrees.
    """

    quantity: str
    verdict: Verdict
    largest: float = 0.0
    index: tuple[int, ...] | None = None
    got: float = 0.0
    expected: float = 0.0
    tolerance: float = 0.0
    note: str = ""
    lacks: str = ""
    relative: float = 0.0
    ulps: float = 0.0
    error: float = 0.0
    builtin_error: float = 0.0
    check: str = ""
    evidence: Evidence | None = field(default=None, repr=False, compare=False)

    @property
    def fails(self) -> bool:
        """Whether it disagrees."""
        return self.verdict in FAILURES

    @property
    def is_side_effect(self) -> bool:
        """Whether it is about what stays as it was, and not about a value."""
        return self.quantity.endswith("unchanged")

    @property
    def is_state(self) -> bool:
        """Whether it is about what a call left in its inputs."""
        return self.is_side_effect or (self.quantity.startswith("input ") and self.quantity.endswith("afterwards"))


def _of(row: Row) -> str:
    """Names what a row belongs to: an output, a gradient, or the check that made it."""
    if "forward mode" in row.quantity:
        return "forward mode"
    if row.check == "opcheck" and row.verdict == "not offered":
        return row.quantity
    if row.check in ("", "output", "gradients"):
        if row.quantity.startswith("buffer "):
            return "buffer"
        return "gradient" if row.check == "gradients" else "output"
    return row.check.replace("_", " ")


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`: a row for each quantity, and whether all of them agree.

    Attributes:
        name: heads the table.
        rows: the worst of each quantity.
        saved: bytes kept for the backward pass by the custom function and by the built-in, where asked for.
    """

    name: str
    rows: tuple[Row, ...]
    saved: tuple[int, int] | None = None

    @property
    def failures(self) -> tuple[Row, ...]:
        """The rows that disagree."""
        return tuple(row for row in self.rows if row.fails)

    @property
    def ok(self) -> bool:
        """Whether something was compared, gradients if there are any and the built-in has them, and all agrees."""
        return not self.failures and not self._unseen

    @property
    def _unseen(self) -> str:
        """What all else rests on and was not looked at."""
        values = [row for row in self.rows if not row.is_state]
        gradients = [row for row in values if row.check == "gradients"]
        if not any(row.verdict in AGREEING for row in values):
            return "nothing could be compared"
        if gradients and not any(row.verdict in AGREEING or row.lacks for row in gradients):
            return "no gradient could be compared"
        return ""

    @property
    def headline(self) -> str:
        """Summary in one line: what is equal, what is not offered, and what was not compared."""
        if self.failures:
            compared = sum(row.verdict in COMPARED for row in self.rows)
            return f"{len(self.failures)} of {compared} quantities disagree, first: {self.failures[0].quantity}"
        skipped = [
            f"{said}: {', '.join(found)}"
            for verdict, said in BESIDE.items()
            if (found := dict.fromkeys(_of(row) for row in self.rows if row.verdict == verdict))
        ]
        counts = Counter(_of(row) for row in self.rows if row.verdict in COMPARED and not row.is_state)
        words = [f"{n} {what}s" if n > 1 and what in COUNTED else what for what, n in counts.items()]
        equal = f"equal: {', '.join(words)}" if words else ""
        return "; ".join(filter(None, [self._unseen, equal, *skipped]))

    def without_evidence(self) -> Comparison:
        """The findings alone, which can be pickled whatever was compared."""
        rows = tuple(replace(row, evidence=None) for row in self.rows)
        return replace(self, rows=rows)

    def to_dict(self) -> dict[str, Any]:
        """The result as plain Python values, for JSON."""
        columns = [f.name for f in fields(Row) if f.name != "evidence"]
        rows = [{key: _plain(getattr(row, key)) for key in columns} for row in self.rows]
        return {"name": self.name, "ok": self.ok, "rows": rows}

    def __str__(self) -> str:
        header = ("quantity", "verdict", "largest difference", "at", "got", "expected", "tolerance", "note")
        lines = [header, *map(_cells, self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
        table = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines]
        memory = []
        if self.saved is not None:
            memory = [f"kept for the backward pass: {self.saved[0]} bytes, by the built-in {self.saved[1]}"]
        return "\n".join([f"{self.name}: {self.headline}", *table, *memory])


def _plain(value: Any) -> Any:
    """JSON has no infinity and no NaN: they become words."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _cells(row: Row) -> tuple[str, ...]:
    if row.index is None:
        return (row.quantity, row.verdict, *[""] * 5, row.note)
    numbers = (f"{row.got:.6g}", f"{row.expected:.6g}", f"{row.tolerance:.1e}")
    return (row.quantity, row.verdict, f"{row.largest:.1e}", str(list(row.index)), *numbers, row.note)
