"""Columns, cells and accuracy, which every report format shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from reference.check import OpCheck, Summary, summarize

__all__ = [
    "ACCURACY",
    "COLUMNS",
    "VALUES",
    "Accuracy",
    "accuracy",
    "accuracy_of_all",
    "cells",
    "dtype_name",
    "in_words",
]

COLUMNS = {
    "output": ("output", "buffer"),
    "gradients": ("gradient",),
    "second derivatives": ("double backward",),
    "forward mode": ("forward mode",),
    "vmap": ("vmap",),
    "compile": ("compiled",),
    "left unchanged": ("inputs",),
}


VALUES = ("output", "gradient")


def cells(result: OpCheck) -> list[Summary]:
    return [summarize(result, *kinds) for kinds in COLUMNS.values()]


def in_words(found: Summary) -> str:
    """Formats a cell: exact, the largest difference, the number that differ, or not offered."""
    if not found.compared:
        return "not offered" if found.missing else "-"
    if found.failed:
        return f"{found.failed} of {found.compared} differ"
    return "exact" if found.exact == found.compared else f"{found.largest:.1e}"


def dtype_name(dtype: torch.dtype) -> str:
    """Returns the name of a dtype without ``torch.``."""
    return str(dtype).removeprefix("torch.")


@dataclass(frozen=True)
class Accuracy:
    """Largest error of output and gradients over all samples in a short dtype, relative to float64.

    Attributes:
        ours: Our error, in units in the last place of the largest element, or of 1.
        builtin: The built-in's error.
    """

    ours: float
    builtin: float

    @property
    def ratio(self) -> float:
        """Our error over the built-in's; 1 if both are zero."""
        if self.builtin:
            return self.ours / self.builtin
        return 1.0 if not self.ours else float("inf")

    def __str__(self) -> str:
        return f"{self.ours:.2f} / {self.builtin:.2f} = {self.ratio:.2f}"


ACCURACY = "error / built-in's"


def accuracy(result: OpCheck, *kinds: str) -> Accuracy | None:
    """Returns the accuracy of the rows whose quantity starts with one of the words; None in float64."""
    if result.dtype is torch.float64:
        return None
    rows = [row for c in result.comparisons for row in c.rows if row.quantity.startswith(kinds)]
    return Accuracy(
        max((row.error for row in rows), default=0.0), max((row.builtin_error for row in rows), default=0.0)
    )


def accuracy_of_all(results: Sequence[OpCheck]) -> str:
    """Counts the ops that err less than the built-in, as much, and more; empty if all are in float64."""
    found = [a for r in results if (a := accuracy(r, *VALUES)) is not None]
    if not found:
        return ""
    less = sum(a.ratio < 1 for a in found)
    more = sum(a.ratio > 1 for a in found)
    return (
        f"largest error relative to float64, over {len(found)} pairs of op and short dtype: below the built-in's in "
        f"{less}, equal in {len(found) - less - more}, above in {more}"
    )
