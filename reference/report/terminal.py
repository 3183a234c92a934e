"""A comparison as a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from reference.check import OpCheck, Summary
from reference.report.summary import ACCURACY, COLUMNS, VALUES, accuracy, cells, dtype_name, in_words

__all__ = ["console", "failures", "gather", "table"]

T = TypeVar("T")

UNLIMITED = 240


def console() -> Console:
    """Returns a console as wide as the terminal, or wide enough for every column if output is piped."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=UNLIMITED)


def gather(screen: Console, results: Iterable[T], total: int, description: str) -> tuple[list[T], bool]:
    """Collects results beside a progress bar; after Ctrl-C, returns those that came before it, and True."""
    found: list[T] = []
    with Progress(console=screen, transient=True, disable=not screen.is_terminal) as progress:
        try:
            for result in progress.track(results, total=total, description=description):
                found.append(result)  # one by one: an interrupt keeps them
        except KeyboardInterrupt:
            screen.print(f"interrupted after {len(found)} of {total}", style="yellow", highlight=False)
            return found, True
    return found, False


def table(results: Sequence[OpCheck]) -> Table:
    """Returns the table, one row for each op and dtype."""
    shown = Table(title="custom against built-in: exact, or the largest difference", title_justify="left")
    for heading in ("op", "dtype", "samples", *COLUMNS, ACCURACY, "verdict"):
        shown.add_column(heading, justify="right" if heading == "samples" else "left", no_wrap=True)
    for result in results:
        verdict = Text("agrees", style="green") if result.ok else Text("DIFFERS", style="bold red")
        found = map(_cell, cells(result))
        errors = str(accuracy(result, *VALUES) or "-")
        shown.add_row(
            Text(result.name), dtype_name(result.dtype), str(len(result.comparisons)), *found, errors, verdict
        )
    return shown


def failures(results: Sequence[OpCheck]) -> list[str]:
    """Returns the full tables of the samples that disagree."""
    return [str(c) for result in results for c in result.comparisons if not c.ok]


def _cell(found: Summary) -> Text:
    style = "dim" if not found.compared else "bold red" if found.failed else "green"
    return Text(in_words(found), style=style)
