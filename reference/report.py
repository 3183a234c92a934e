"""The comparison of the whole catalog as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reference.check import OpCheck, Summary, summarise

__all__ = ["console", "failures", "table"]

COLUMNS = {
    "output": ("output", "buffer"),
    "gradients": ("gradient",),
    "second derivatives": ("double backward",),
    "forward mode": ("forward mode",),
    "vmap": ("vmap",),
    "compile": ("compiled",),
    "left unchanged": ("inputs",),
}
UNLIMITED = 240


def console() -> Console:
    """A console as wide as the terminal, or wide enough for every column where output is piped."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=UNLIMITED)


def table(results: Sequence[OpCheck]) -> Table:
    """One row for each op and dtype: how far custom and built-in are apart in each kind of quantity."""
    shown = Table(title="custom against built-in: exact, or the largest difference", title_justify="left")
    for heading in ("op", "dtype", "samples", *COLUMNS, "verdict"):
        shown.add_column(heading, justify="right" if heading == "samples" else "left", no_wrap=True)
    for result in results:
        cells = [_cell(summarise(result, *kinds)) for kinds in COLUMNS.values()]
        verdict = Text("agrees", style="green") if result.ok else Text("DIFFERS", style="bold red")
        dtype = str(result.dtype).removeprefix("torch.")
        shown.add_row(result.name, dtype, str(len(result.comparisons)), *cells, verdict)
    return shown


def failures(results: Sequence[OpCheck]) -> list[str]:
    """The full tables of the samples that disagree."""
    return [str(c) for result in results for c in result.comparisons if not c.ok]


def _cell(found: Summary) -> Text:
    if not found.compared:
        return Text("-", style="dim")
    if found.failed:
        return Text(f"{found.failed} of {found.compared} differ", style="bold red")
    if found.exact == found.compared:
        return Text("exact", style="green")
    return Text(f"{found.largest:.1e}", style="green")
