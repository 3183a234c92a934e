"""Finds out what each op can do by trying it; nothing is declared.

Each op is checked on its first sample. A cell says ``works`` if ours agrees with the built-in, ``works alone`` if the
built-in raises an error and ours does not, and otherwise what happened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from pathlib import Path

import torch
from rich.table import Table
from rich.text import Text

from reference.catalog import RECORDS, Make
from reference.tracers import TRACERS, traced
from scratchnet.testing import Comparison, Row, compare

__all__ = ["COLUMNS", "capabilities", "errors", "markdown", "table", "write"]

WORKS, ALONE, NONE = "works", "works alone", "-"


def _by_check(*checks: str) -> Callable[[Row], bool]:
    return lambda row: row.check in checks


def _by_dtype(name: str) -> Callable[[Row], bool]:
    return lambda row: row.check == "dtypes" and row.quantity.startswith(name)


CAPABILITIES: dict[str, Callable[[Row], bool]] = {
    "gradient": _by_check("output", "gradients"),
    "double backward": _by_check("double_backward"),
    "forward mode": _by_check("forward_mode"),
    "vmap": _by_check("vmap"),
    "compile": _by_check("compile"),
    "autocast": _by_check("autocast"),
    "float64": _by_check("output"),
    "float32": _by_dtype("float32"),
    "bfloat16": _by_dtype("bfloat16"),
    "float16": _by_dtype("float16"),
    "strided": _by_check("strided"),
    "empty": _by_check("empty"),
}
COLUMNS = (*CAPABILITIES, *TRACERS)


def capabilities(name: str) -> dict[str, str]:
    """Returns a cell for each capability of an op: a word, or the error."""
    record = RECORDS[name]
    sample = next(iter(record.samples(Make(torch.float64))))
    custom, builtin = record.sides(sample)
    examine = partial(
        compare,
        custom,
        double_backward=record.double_backward,
        forward_mode=True,
        vmap=True,
        compile="aot_eager",
        autocast=True,
        dtypes=True,
        strided=True,
        roundings=record.roundings,
    )
    found = examine(builtin, *sample.inputs, empty=record.empty, **sample.options)
    # Lazy: for most ops every capability could be compared.
    alone = cache(lambda: examine(custom, *sample.inputs, empty=True, **sample.options))
    checked = {
        name: _compared(_rows(found, belongs)) or _alone(_rows(alone(), belongs))
        for name, belongs in CAPABILITIES.items()
    }
    return checked | {tracer: traced(record, attempts) for tracer, attempts in TRACERS.items()}


def _rows(comparison: Comparison, belongs: Callable[[Row], bool]) -> list[Row]:
    return [row for row in comparison.rows if belongs(row)]


def _compared(rows: Sequence[Row]) -> str:
    """Returns the cell for the rows of one capability; empty if none could be compared."""
    failed = next((row for row in rows if row.fails), None)
    if failed is not None:
        return failed.note if failed.verdict == "raises" else f"differs: {failed.quantity}"
    return WORKS if any(row.verdict in ("exact", "close") for row in rows) else ""


def _alone(alone: Sequence[Row]) -> str:
    """Returns the cell for an op compared with itself, which raises only its own errors."""
    blocked = next((row for row in alone if row.verdict in ("not compared", "not offered")), None)
    if blocked is not None:
        return blocked.lacks or NONE
    return ALONE if alone else NONE


def table(found: dict[str, dict[str, str]]) -> Table:
    """Returns the table for a terminal, which shows only the type of an error."""
    shown = Table(title="what each op can do, as found by trying", title_justify="left")
    for heading in ("op", *COLUMNS):
        shown.add_column(heading, no_wrap=True)
    for name, cells in found.items():
        shown.add_row(name, *(_colored(cells[capability]) for capability in COLUMNS))
    return shown


def _colored(cell: str) -> Text:
    styles = {WORKS: "green", ALONE: "bold green", NONE: "dim"}
    return Text(cell if cell in styles else cell.partition(":")[0], style=styles.get(cell, "bold red"))


def markdown(found: dict[str, dict[str, str]]) -> str:
    """Returns the table as a Markdown page."""
    headings = ("op", *COLUMNS)
    lines = [
        "# What each op can do",
        "",
        "`python -m reference --capabilities` writes this page from the results of the checks; nothing is declared.",
        "`works`: agrees with PyTorch's. **`alone`**: works where PyTorch's raises an error. `-`: PyTorch's takes no",
        "such call, its second derivative is not exact, or random numbers leave nothing to compare.",
        "Traced graphs are also run at sizes other than the traced ones. The column ONNX needs the extra `onnx`.",
        "",
        f"| {' | '.join(headings)} |",
        f"|{'---|' * len(headings)}",
    ]
    short = {WORKS: "works", ALONE: "**alone**"}
    lines += [
        f"| `{name}` | {' | '.join(short.get(cells[c], cells[c]).replace('|', ' ') for c in COLUMNS)} |"
        for name, cells in found.items()
    ]
    counted = [cell for cells in found.values() for cell in cells.values()]
    works, beyond, absent = (counted.count(kind) for kind in (WORKS, ALONE, NONE))
    failed = len(counted) - works - beyond - absent
    lines += ["", f"{works} work as PyTorch's do, {beyond} work where PyTorch's do not, {failed} do not work.", ""]
    return "\n".join(lines)


def write(path: Path, found: dict[str, dict[str, str]]) -> None:
    """Writes the page and creates its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(markdown(found))


def errors(found: dict[str, dict[str, str]]) -> Iterable[str]:
    """Yields a line for each cell that is an error."""
    for name, cells in found.items():
        for capability, cell in cells.items():
            if cell not in (WORKS, ALONE, NONE):
                yield f"{name}, {capability}: {cell}"
