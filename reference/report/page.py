"""A self-contained HTML page: a sortable, filterable table and plots, in light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

__all__ = ["Cell", "table_row", "write_page"]

PAGE = Path(__file__).with_name("page.html")


class Cell(NamedTuple):
    """A cell's text, sorting key and CSS class."""

    text: str
    key: str
    style: str = ""


def table_row(cells: Iterable[Cell]) -> str:
    """Returns a row of the table."""
    columns = (f'<td class="{style}" data-key="{escape(key)}">{escape(text)}</td>' for text, key, style in cells)
    return f"<tr>{''.join(columns)}</tr>"


def write_page(
    path: Path,
    *,
    title: str,
    introduction: str,
    headings: Sequence[str],
    rows: Iterable[str],
    below: str,
    plots: Iterable[str],
) -> None:
    """Writes the page.

    Args:
        path: The file to write.
        title: The title, in plain text.
        introduction: HTML above the table.
        headings: Headings of the columns.
        rows: Rows made by `table_row`, whose first cell is the op.
        below: HTML between the table and the plots.
        plots: Sections, each with its op as ``data-op``.
    """
    heads = (f'<th scope="col" tabindex="0" aria-sort="none">{escape(head)}</th>' for head in headings)
    parts = {
        "title": escape(title),
        "introduction": introduction,
        "heads": "".join(heads),
        "rows": "\n".join(rows),
        "below": below,
        "plots": "\n".join(plots),
    }
    page = PAGE.read_text()
    for name, content in parts.items():
        page = page.replace(f"<!-- {name} -->", content)
    path.write_text(page)
