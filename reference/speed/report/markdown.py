"""The run as Markdown; in a page that has a place for it, the rest of the page is left as it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from reference.speed.report.results import HEADINGS, TARGET_HEADINGS, Results, about, lines, target_cells

__all__ = ["BEGIN", "END", "markdown", "write_markdown"]

BEGIN, END = "<!-- measured -->", "<!-- end of what was measured -->"


def markdown(results: Results) -> str:
    """The targets, the table of all that was timed, and what was refused."""
    parts = [*(f"- {sentence}" for sentence in about(results.machine)), ""]
    if results.verdicts:
        short = sum(not v.met for v in results.verdicts)
        met = len(results.verdicts) - short
        parts += [f"{met} of {len(results.verdicts)} targets are met.", ""]
        rows = (_emphasised(target_cells(v), 3, v.word != "met") for v in results.verdicts)
        parts += [*_table(TARGET_HEADINGS, rows), ""]
    parts += [f"**refused**: {text}\n" for text in results.refusals]
    timed = list(lines(results.measurements))
    if timed:
        faster = sum(line.ratio.middle <= 1 for line in timed)
        parts += [f"Of {len(timed)} lines, ours is at most as slow as the built-in on {faster}.", ""]
        parts += [*_table(HEADINGS, (_emphasised(line.cells(), 6, line.ratio.middle > 1) for line in timed)), ""]
    return "\n".join(parts)


def _emphasised(cells: Sequence[str], column: int, loud: bool) -> list[str]:
    return [f"**{cell}**" if loud and i == column else cell for i, cell in enumerate(cells)]


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    written = [headings, ["---"] * len(headings), *rows]
    return [f"| {' | '.join(cells)} |" for cells in written]


def write_markdown(path: Path, results: Results) -> None:
    """Writes the page, or what lies between its two markers where there is one with markers."""
    found = markdown(results)
    page = path.read_text() if path.exists() else ""
    if BEGIN in page and END in page:
        before, after = page.partition(BEGIN)[0], page.partition(END)[2]
        path.write_text(f"{before}{BEGIN}\n\n{found}\n{END}{after}")
    else:
        path.write_text(f"# Speed: ours against the built-in\n\n{found}")
