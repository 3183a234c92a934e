"""One page that needs nothing else, with a table that sorts and filters, and plots, in light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

__all__ = ["Cell", "table_row", "write_page"]

PAGE = Path(__file__).with_name("page.html")


class Cell(NamedTuple):
    """A cell's text, what it is sorted by, and its class of style."""

    text: str
    key: str
    style: str = ""


def table_row(cells: Iterable[Cell]) -> str:
    """One row of the table."""
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
        path: the file.
        title: in plain text.
        introduction: what stands above the table, as HTML.
        headings: of the table's columns.
        rows: made by `table_row`; the first cell names what the row is about.
        below: what stands between the table and the plots, as HTML.
        plots: sections, each with a ``data-op`` that a row's first cell names.
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
