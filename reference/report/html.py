"""The comparison as one page that needs nothing else: sortable, filterable, in light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import torch

from reference.catalog import RECORDS
from reference.check import OpCheck, Summary
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

PAGE = Path(__file__).with_name("page.html")


def write_html(path: Path, results: Sequence[OpCheck], complaints: Sequence[str]) -> None:
    """Writes the page: the table, what disagrees, and the plots of each op."""
    heads = ["op", "dtype", "samples", *COLUMNS, ACCURACY, "verdict"]
    said = "".join(f"<pre>{escape(text)}</pre>" for text in [*failures(results), *complaints])
    parts = {
        "version": escape(torch.__version__),
        "agreeing": str(sum(r.ok for r in results)),
        "count": str(len(results)),
        "accuracy": escape(accuracy_of_all(results)),
        "heads": "".join(f'<th scope="col" tabindex="0" aria-sort="none">{head}</th>' for head in heads),
        "rows": "\n".join(map(_row, results)),
        "failures": f"<h2>What disagrees</h2>{said}" if said else "",
        "plots": "\n".join(_plots(name, results) for name in dict.fromkeys(r.name for r in results)),
    }
    page = PAGE.read_text()
    for name, content in parts.items():
        page = page.replace(f"<!-- {name} -->", content)
    path.write_text(page)


def _row(result: OpCheck) -> str:
    verdict = "agrees" if result.ok else "DIFFERS"
    plain = [(result.name, result.name), (dtype_name(result.dtype),) * 2, (str(len(result.comparisons)),) * 2]
    found = accuracy(result, *VALUES)
    errors = ("-", "-1") if found is None else (str(found), f"{found.ratio:.6e}")
    shown = [*plain, *((in_words(c), f"{_order(c):.6e}") for c in cells(result)), errors, (verdict, verdict)]
    classes = ["", "", "", *(_class(c) for c in cells(result)), "", "" if result.ok else "bad"]
    columns = (
        f'<td class="{kind}" data-key="{escape(key)}">{escape(text)}</td>'
        for (text, key), kind in zip(shown, classes, strict=True)
    )
    return f"<tr>{''.join(columns)}</tr>"


def _order(found: Summary) -> float:
    """What a cell is sorted by: not compared, exact, close, different."""
    return -1.0 if not found.compared else 1e9 + found.failed if found.failed else found.largest


def _class(found: Summary) -> str:
    return "none" if not found.compared else "bad" if found.failed else "exact" if found.largest == 0 else "close"


def _plots(name: str, results: Sequence[OpCheck]) -> str:
    mine = [r for r in results if r.name == name]
    found = curves(RECORDS[name]) if name in RECORDS else None
    drawn = (activation_plot(found) if found else "") + dtype_plot(mine)
    return f'<section data-op="{escape(name)}"><h3>{escape(name)}</h3>{drawn}</section>'
