"""The tables of a run for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from reference.speed.report.results import HEADINGS, TARGET_HEADINGS, Results, lines, target_cells, time
from reference.speed.scaling import Growth
from reference.speed.targets import Verdict

__all__ = ["growth_table", "table", "target_table"]

STYLES = {"met": "green", "falls short": "bold red", "not measured": "yellow"}


def table(results: Results) -> Table:
    """Returns the table of times: green where ours is faster, red where it is slower."""
    shown = Table(
        title="time of ours over the built-in's, pair by pair: median (20 % to 80 %)", title_justify="left"
    )
    for heading in HEADINGS:
        shown.add_column(heading, justify="left" if heading in HEADINGS[:4] else "right", no_wrap=True)
    for line in lines(results.measurements):
        cells: list[str | Text] = list(line.cells())
        cells[6] = Text(str(cells[6]), style="green" if line.ratio.middle <= 1 else "red")
        shown.add_row(*cells)
    return shown


def growth_table(growth: Growth) -> Table:
    """Returns the times of one op at growing sizes, and the exponents."""
    ours, theirs = growth.exponents()
    shown = Table(title=f"{growth.axis.op}: exponents {ours:.2f}, {theirs:.2f}", title_justify="left")
    for heading in (growth.axis.name, "ours", "built-in", "ratio"):
        shown.add_column(heading, justify="right")
    for size, *row in zip(growth.axis.sizes, growth.ours, growth.theirs, growth.ratio, strict=True):
        shown.add_row(f"{size:,}", time(row[0].middle), time(row[1].middle), f"{row[2].middle:.2f}")
    return shown


def target_table(verdicts: Sequence[Verdict]) -> Table:
    """Returns the table of targets and their verdicts."""
    shown = Table(title="targets: ours over the built-in, median of pairs", title_justify="left")
    for heading in TARGET_HEADINGS:
        shown.add_column(heading, no_wrap=heading != "workloads", overflow="fold")
    for verdict in verdicts:
        what, limit, figure, word, note = target_cells(verdict)
        shown.add_row(what, limit, figure, Text(word, style=STYLES[word]), note)
    return shown
