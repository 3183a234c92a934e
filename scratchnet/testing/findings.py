"""Collects what both sides computed, and judges each quantity."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from scratchnet.testing.comparison import SEVERITY, Evidence, Finding, Row, Verdict
from scratchnet.testing.conventions import is_convention
from scratchnet.testing.subject import as_real
from scratchnet.testing.tolerances import (
    UNITS,
    UNITS_OF_CHAINS,
    UNITS_OF_FEW,
    Agreement,
    Case,
    Tolerance,
    agreement,
)

__all__ = ["Findings", "in_words"]

FEW = ("autocast", "dtypes")
# Inputs moved by a rounding. Of causal attention in bfloat16, on special values of 20 seeds, 7 gradients were flagged
# with one draw, 3 with four, 1 with eight, none with sixteen.
DRAWS = 16
# Checks on inputs at which equal functions may differ by convention.
SPECIAL = ("special_values", "empty")
CHAINS = ("double backward", "third derivative", "forward mode", "forward over reverse")


def in_words(kind: str) -> str:
    """The upstream in words, if there is one."""
    return f"upstream: {kind}" if kind else ""


class Findings:
    """Collects what was found, and judges each quantity over all upstreams at once.

    Attributes:
        roundings: units in the last place that the op's own chain of roundings may add.
        checks: the keywords of all checks that are to run.
        required: those of them that the function must offer.
        check: the keyword of the check under way, which every finding is marked with.
        by_hand: tolerances by dtype that stand in place of the rules.
        kinds: of upstream gradients, where not all are tried.
        saved: bytes kept for the backward pass by either side, once measured.
    """

    def __init__(
        self,
        roundings: int = UNITS,
        checks: Sequence[str] = (),
        required: Collection[str] = (),
        by_hand: Mapping[torch.dtype, Tolerance] | None = None,
        kinds: Collection[str] = (),
    ) -> None:
        self.roundings, self.checks, self.required = roundings, checks, required
        self.by_hand, self.kinds = by_hand or {}, kinds
        self.check = ""
        self.saved: tuple[int, int] | None = None
        self.cases: dict[str, list[tuple[Finding, Any]]] = {}
        self.rows_by_quantity: dict[str, list[Row]] = {}

    def rows(self) -> tuple[Row, ...]:
        """The worst row of each quantity, in the order in which the quantities came up."""
        for name, found in self.cases.items():
            self.rows_by_quantity[name] += _judged(name, found, self)
        self.cases.clear()
        return tuple(max(rows, key=_badness) for rows in self.rows_by_quantity.values())

    def add(self, quantity: str, verdict: Verdict, *notes: str, lacks: str = "", examination: Any = None) -> None:
        """Adds a finding that needs no judging."""
        evidence = None if examination is None else Evidence((), 0, examination)
        note = f"built-in raises {lacks}" if lacks else ", ".join(filter(None, notes))
        row = Row(quantity, verdict, note=note, lacks=lacks, check=self.check, evidence=evidence)
        self.rows_by_quantity.setdefault(quantity, []).append(row)

    def take(self, name: str, finding: Finding, examination: Any) -> None:
        """Adds a tensor of both sides, to be judged with all others of its name."""
        got, expected, note = finding.got, finding.expected, in_words(finding.kind)
        if got is None or expected is None:
            present = got if expected is None else expected
            if present is None or not bool(present.any()):
                self.add(name, "exact")
            else:
                said = "the built-in has none" if expected is None else "missing"
                self.add(name, "differs", said, note, examination=examination)
        elif got.shape != expected.shape:
            said = f"shape {tuple(got.shape)}, expected {tuple(expected.shape)}"
            self.add(name, "differs", said, note, examination=examination)
        elif got.dtype is not expected.dtype and self.check == "autocast" and "autocast" not in self.required:
            said = (
                f"returns {got.dtype}, the built-in {expected.dtype}: decorate forward with torch.amp.custom_fwd"
            )
            self.add(name, "not offered", said)
        elif got.dtype is not expected.dtype:
            said = f"dtype {got.dtype}, expected {expected.dtype}"
            self.add(name, "differs", said, note, examination=examination)
        else:
            self.rows_by_quantity.setdefault(name, [])
            if got.is_complex():
                truth = None if finding.truth is None else as_real(finding.truth.detach())
                finding = finding._replace(
                    got=as_real(got.detach()), expected=as_real(expected.detach()), truth=truth
                )
            self.cases.setdefault(name, []).append((finding._replace(check=self.check), examination))


def _judged(name: str, found: list[tuple[Finding, Any]], findings: Findings) -> list[Row]:
    chained = any(word in name for word in CHAINS)
    units = UNITS_OF_CHAINS if chained else UNITS_OF_FEW if found[0][0].check in FEW else UNITS
    units = max(units, findings.roundings)
    # `take` lets in nothing that has no tensor on both sides.
    cases = [Case(n.got.detach(), n.expected.detach(), n.truth) for n, _ in found]  # type: ignore[union-attr]
    side = found[0][1].theirs
    numerical = not side.exact or "third derivative" in name or (found[0][1].numerical and chained)
    check = found[0][0].check
    special = check in SPECIAL and check not in findings.required
    rows = []
    by_hand = findings.by_hand.get(cases[0].got.dtype)
    judged = agreement(cases, units, numerical, found[0][0].check == "autocast", by_hand)
    if by_hand is None and any(not agreed.close for agreed in judged):
        cases = [
            case._replace(moved=[as_real(m) for seed in range(DRAWS) if (m := n.moved(seed)) is not None])
            for case, (n, _) in zip(cases, found, strict=True)
        ]
        judged = agreement(cases, units, numerical, found[0][0].check == "autocast")
    for i, (agreed, (finding, e)) in enumerate(zip(judged, found, strict=True)):
        if not agreed.close and special and is_convention(finding, e.call.leaves(), agreed.tolerance):
            said = f"a matter of convention: a failure with {check}=True"
            rows.append(replace(_row(name, agreed, finding), verdict="convention", note=said))
        else:
            evidence = None if agreed.close else Evidence([n for n, _ in found], i, e)
            rows.append(_row(name, agreed, finding, evidence))
    return rows


def _row(quantity: str, found: Agreement, finding: Finding, evidence: Evidence | None = None) -> Row:
    return Row(
        quantity,
        "exact" if found.exact else "close" if found.close else "differs",
        largest=found.largest,
        index=found.index,
        got=found.got,
        expected=found.expected,
        tolerance=found.tolerance,
        note="" if found.exact else in_words(finding.kind),
        relative=found.relative,
        ulps=found.ulps,
        error=found.error,
        builtin_error=found.builtin_error,
        check=finding.check,
        evidence=evidence,
    )


def _badness(row: Row) -> tuple[int, float]:
    return SEVERITY.index(row.verdict), row.largest / row.tolerance if row.tolerance else row.largest
