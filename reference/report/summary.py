"""What every format shows of a comparison: the columns, a cell in words, and the error by dtype."""

from __future__ import annotations

import math

import torch

from reference.check import OpCheck, Summary, summarise

__all__ = ["COLUMNS", "cells", "dtype_name", "error_in_units", "in_words"]

COLUMNS = {
    "output": ("output", "buffer"),
    "gradients": ("gradient",),
    "second derivatives": ("double backward",),
    "forward mode": ("forward mode",),
    "vmap": ("vmap",),
    "compile": ("compiled",),
    "left unchanged": ("inputs",),
}


def cells(result: OpCheck) -> list[Summary]:
    """The summary of each column."""
    return [summarise(result, *kinds) for kinds in COLUMNS.values()]


def in_words(found: Summary) -> str:
    """A cell: exact, the largest difference, or how many differ."""
    if not found.compared:
        return "-"
    if found.failed:
        return f"{found.failed} of {found.compared} differ"
    return "exact" if found.exact == found.compared else f"{found.largest:.1e}"


def dtype_name(dtype: torch.dtype) -> str:
    """A dtype without ``torch.``."""
    return str(dtype).removeprefix("torch.")


def error_in_units(result: OpCheck, *kinds: str) -> float:
    """The largest error of the rows of some kinds, in units in the last place of the expected value, or of 1.

    Against float64; 0 where every row is equal to the built-in's, bit for bit.
    """
    rows = [row for c in result.comparisons for row in c.rows if row.quantity.startswith(kinds)]
    eps = torch.finfo(result.dtype).eps
    errors = [row.largest / (eps * max(1.0, abs(row.expected))) for row in rows if math.isfinite(row.largest)]
    return max(filter(math.isfinite, errors), default=0.0)
