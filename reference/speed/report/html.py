"""Writes a run as one HTML page: targets, a sortable table and plots."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from reference.report.page import Cell, table_row, write_page
from reference.speed.measure import Measurement
from reference.speed.report.plots import ratio_plot, time_plot
from reference.speed.report.results import (
    GROWTH_HEADINGS,
    HEADINGS,
    TARGET_HEADINGS,
    Line,
    Results,
    about,
    growth_cells,
    lines,
    target_cells,
)
from reference.speed.scaling import Growth
from reference.speed.targets import Verdict

__all__ = ["write_html"]

LEGEND = (
    "<h2>Times</h2>\n<p>Blue: ours. Orange: the built-in. Each dot is a median with its 20th to 80th percentile; "
    "green, the floor that this machine sets.</p>"
)


def write_html(path: Path, results: Results) -> None:
    timed = list(lines(results.measurements))
    refused = "".join(f"<pre>{escape(text)}</pre>" for text in results.refusals)
    ops = dict.fromkeys(m.op for m in results.measurements)
    write_page(
        path,
        title="speed: ours against the built-in",
        introduction="\n".join(f"<p>{escape(sentence)}</p>" for sentence in about(results.machine))
        + _targets(results.verdicts)
        + _growth(results.growth),
        headings=HEADINGS,
        rows=map(_row, timed),
        below=(f"<h2>Refused</h2>{refused}" if refused else "") + LEGEND + ratio_plot(timed),
        plots=(_section(op, results.measurements) for op in ops),
    )


def _row(line: Line) -> str:
    words = line.cells()
    numbers = (
        line.ours.middle,
        line.theirs.middle,
        line.ratio.middle,
        line.floor,
        line.floor / line.ours.middle,
        -1.0 if line.saved is None else line.saved,
        -1.0 if line.peak is None else line.peak,
    )
    keys = [*words[:4], *(f"{number:.9e}" for number in numbers)]
    styles = ["close" if i == 6 and line.ratio.middle <= 1 else "bad" if i == 6 else "" for i in range(len(words))]
    return table_row(map(Cell, words, keys, styles))


def _targets(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return ""
    rows = [(target_cells(v), ["", "", "", "close" if v.met else "bad", ""]) for v in verdicts]
    return _small_table(TARGET_HEADINGS, rows)


def _growth(growth: Sequence[Growth]) -> str:
    if not growth:
        return ""
    rows = [(growth_cells(g), ["", "", "", "", "bad" if g.worse else "close", ""]) for g in growth]
    return _small_table(GROWTH_HEADINGS, rows)


def _small_table(headings: Sequence[str], rows: Iterable[tuple[Sequence[str], Sequence[str]]]) -> str:
    heads = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join(table_row(map(Cell, cells, cells, styles)) for cells, styles in rows)
    return f'\n<div class="scroll"><table class="targets"><tr>{heads}</tr>{body}</table></div>'


def _section(op: str, found: Sequence[Measurement]) -> str:
    drawn = "".join(time_plot(m) for m in found if m.op == op)
    return f'<section data-op="{escape(op)}"><h3>{escape(op)}</h3>{drawn}</section>'
