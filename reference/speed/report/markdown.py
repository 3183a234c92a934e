"""Writes a run as a Markdown page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from reference.speed.report.results import (
    GROWTH_HEADINGS,
    HEADINGS,
    TARGET_HEADINGS,
    Results,
    about,
    growth_cells,
    lines,
    target_cells,
)

__all__ = ["markdown", "write_markdown"]


def markdown(results: Results) -> str:
    """Returns the page: the machine, the targets, growth, refusals and the table of times."""
    parts = [
        "# Speed: ours against the built-in",
        "",
        *(f"- {sentence}" for sentence in about(results.machine)),
        "",
    ]
    if results.verdicts:
        met = sum(v.met for v in results.verdicts)
        parts += [f"{met} of {len(results.verdicts)} targets are met.", ""]
        rows = (_emphasized(target_cells(v), 3, v.word != "met") for v in results.verdicts)
        parts += [*_table(TARGET_HEADINGS, rows), ""]
    if results.growth:
        worse = sum(g.worse for g in results.growth)
        parts += [f"Ours grows faster than the built-in on {worse} of {len(results.growth)} axes.", ""]
        rows = (_emphasized(growth_cells(g), 4, g.worse) for g in results.growth)
        parts += [*_table(GROWTH_HEADINGS, rows), ""]
    parts += [f"**refused**: {text}\n" for text in results.refusals]
    timed = list(lines(results.measurements))
    if timed:
        faster = sum(line.ratio.middle <= 1 for line in timed)
        parts += [f"Ours matches or beats the built-in on {faster} of {len(timed)} rows.", ""]
        parts += [*_table(HEADINGS, (_emphasized(line.cells(), 6, line.ratio.middle > 1) for line in timed)), ""]
    return "\n".join(parts)


def _emphasized(cells: Sequence[str], column: int, emphasize: bool) -> list[str]:
    return [f"**{cell}**" if emphasize and i == column else cell for i, cell in enumerate(cells)]


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    written = [headings, ["---"] * len(headings), *rows]
    return [f"| {' | '.join(cells)} |" for cells in written]


def write_markdown(path: Path, results: Results) -> None:
    """Writes the page to a file."""
    path.write_text(markdown(results))
