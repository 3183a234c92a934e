"""Writes a comparison as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import torch

from reference.catalog import RECORDS
from reference.check import OpCheck, Summary
from reference.report.page import Cell, table_row, write_page
from reference.report.plots import activation_plot, curves, dtype_plot
from reference.report.summary import (
    ACCURACY,
    COLUMNS,
    VALUES,
    accuracy,
    accuracy_of_all,
    cells,
    dtype_name,
    in_words,
)
from reference.report.terminal import failures

__all__ = ["write_html"]

HOW_TO_READ = (
    "A cell says exact, or the largest difference. Errors are relative to float64, in units in the last place of the "
    "largest element. Click a heading to sort."
)
PLOTS = "<h2>Curves and errors</h2>\n<p>Blue: value, output. Orange: slope, gradient.</p>"


def write_html(path: Path, results: Sequence[OpCheck], complaints: Sequence[str]) -> None:
    """Writes the page: the table, the disagreements, and plots of each op."""
    texts = "".join(f"<pre>{escape(text)}</pre>" for text in [*failures(results), *complaints])
    agreeing = f"{sum(r.ok for r in results)} of {len(results)} comparisons agree, with torch {torch.__version__}."
    write_page(
        path,
        title="custom against built-in",
        introduction=f"<p>{escape(agreeing)} {HOW_TO_READ}</p>\n<p>{escape(accuracy_of_all(results))}</p>",
        headings=["op", "dtype", "samples", *COLUMNS, ACCURACY, "verdict"],
        rows=map(_row, results),
        below=(f"<h2>Disagreements</h2>{texts}" if texts else "") + PLOTS,
        plots=(_plots(name, results) for name in dict.fromkeys(r.name for r in results)),
    )


def _row(result: OpCheck) -> str:
    verdict = "agrees" if result.ok else "DIFFERS"
    plain = [(result.name, result.name), (dtype_name(result.dtype),) * 2, (str(len(result.comparisons)),) * 2]
    found = accuracy(result, *VALUES)
    errors = ("-", "-1") if found is None else (str(found), f"{found.ratio:.6e}")
    shown = [*plain, *((in_words(c), f"{_order(c):.6e}") for c in cells(result)), errors, (verdict, verdict)]
    classes = ["", "", "", *(_class(c) for c in cells(result)), "", "" if result.ok else "bad"]
    return table_row(Cell(text, key, style) for (text, key), style in zip(shown, classes, strict=True))


def _order(found: Summary) -> float:
    """Returns the sorting key of a cell: not compared, exact, close, different."""
    return -1.0 if not found.compared else 1e9 + found.failed if found.failed else found.largest


def _class(found: Summary) -> str:
    return "none" if not found.compared else "bad" if found.failed else "exact" if found.largest == 0 else "close"


def _plots(name: str, results: Sequence[OpCheck]) -> str:
    mine = [r for r in results if r.name == name]
    found = curves(RECORDS[name]) if name in RECORDS else None
    drawn = (activation_plot(found) if found else "") + dtype_plot(mine)
    return f'<section data-op="{escape(name)}"><h3>{escape(name)}</h3>{drawn}</section>'
