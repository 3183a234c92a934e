"""Writes the gallery: a page for each op, from its source, its record in the catalog and the measured tables.

The pages are reStructuredText, as the docstrings are, in ``docs/gallery``, which git ignores.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring

import scratchnet.functional
from reference.catalog import RECORDS, Record
from reference.check import check
from reference.report.plots import activation_plot, curves
from reference.report.summary import accuracy

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
PAGES = DOCS / "gallery"
SOURCES = re.compile(r"\n\n(?=(?:Sources?|References?|After)\b)")
VERDICTS = {"works": "works", "**alone**": "works here alone", "-": "not compared"}
SPEED = ("size", "mode", "pass", "ours", "built-in", "ratio", "saved", "peak")

FILTER = """
.. raw:: html

   <p><input id="filter" type="search" placeholder="filter: softmax, losses, vmap" aria-label="filter the ops"></p>
   <script>
   document.querySelector("#filter").addEventListener("input", event => {
     const words = event.target.value.toLowerCase().split(/\\s+/);
     for (const row of document.querySelectorAll("table.gallery tbody tr"))
       row.hidden = !words.every(word => row.textContent.toLowerCase().includes(word));
   });
   </script>
"""


def setup(app: Sphinx) -> dict[str, bool]:
    """Writes the pages before Sphinx looks for files."""
    app.connect("builder-inited", lambda app: write_pages())
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_pages() -> None:
    """Writes a page for each record that has Functions, or is a functional form, and the index."""
    records = [r for r in RECORDS.values() if r.functions or r.name in scratchnet.functional.__all__]
    texts = {f"{record.name}.rst": page(record) for record in records}
    texts["index.rst"] = index(records)
    PAGES.mkdir(exist_ok=True)
    for path in PAGES.glob("*.rst"):
        if path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        path = PAGES / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:  # Sphinx reads again what is newer
            path.write_text(text, encoding="utf-8")


def index(records: Sequence[Record]) -> str:
    """Returns the page that lists all ops and filters them."""
    rows = [(f":doc:`{r.name}`", family(r), sentence(r), shown(found_alone(r))) for r in records]
    names = "\n".join(f"   {record.name}" for record in sorted(records, key=lambda r: r.name.lower()))
    tree = f".. toctree::\n   :hidden:\n\n{names}\n"
    what = (
        "Every op of scratchnet: its equation and derivative, its source, what it can do, how precise and how fast it "
        "is. The last column names what works here where PyTorch's op raises an error."
    )
    table = list_table(("op", "package", "what it computes", "works here alone"), rows, style="gallery")
    return f"{heading('The gallery', '=')}{what}\n{FILTER}\n{table}\n{tree}"


def page(record: Record) -> str:
    """Returns the page of an op."""
    modules = modules_of(record)
    docs = [SOURCES.split(inspect.cleandoc(module.__doc__ or ""), maxsplit=1) for module in modules]
    papers = [text for _, *rest in docs for text in rest]
    parts = [
        heading(record.name.replace("_", r"\_"), "="),
        usage(record),
        heading("Mathematics", "-"),
        *(f"{text}\n\n" for text, *_ in docs),
        plot(record),
        heading("Source", "-"),
        *(source(record, module) for module in modules),
        heading("What it can do", "-"),
        capabilities(record),
        heading("Precision", "-"),
        precision(record),
        heading("Speed", "-"),
        speed(record),
        conventions(record),
        *([heading("Papers", "-"), *(f"{text}\n\n" for text in papers)] if papers else []),
    ]
    return "".join(parts)


def function_of(record: Record) -> Callable[..., Any]:
    """Returns the functional form, not what the catalog wraps it in; or the class of modules."""
    return inspect.unwrap(getattr(scratchnet.functional, record.name, record.custom))


def modules_of(record: Record) -> list[ModuleType]:
    """Returns the modules that define the functional form and its Functions, each once."""
    names = [f.__module__ for f in ([] if record.of_modules else [function_of(record)])]
    return [sys.modules[name] for name in dict.fromkeys([*names, *(f.__module__ for f in record.functions)])]


def family(record: Record) -> str:
    """Returns the package that an op belongs to."""
    return modules_of(record)[0].__name__.split(".")[1]


def sentence(record: Record) -> str:
    """Returns the first sentence about an op."""
    documented = modules_of(record)[0] if record.of_modules else function_of(record)
    return inspect.cleandoc(documented.__doc__ or "").partition("\n\n")[0].replace("\n", " ")


def usage(record: Record) -> str:
    """Returns the signature and the docstring; those of modules are torch's."""
    if record.of_modules:
        return f"A module, ``scratchnet.nn.{record.name}``, with the arguments of ``torch.nn.{record.name}``.\n\n"
    function = function_of(record)
    signature = f"{record.name}{inspect.signature(function)}".replace("'", "")
    docs = str(GoogleDocstring(inspect.cleandoc(function.__doc__ or ""), Config(), what="function"))
    # A description of a function, of which one page each is enough for Sphinx's index.
    body = textwrap.indent(f"{docs}\n", "   ")
    return f".. py:function:: {signature}\n   :module: scratchnet.functional\n\n{body}\n"


def plot(record: Record) -> str:
    """Returns value, slope and error as SVG, for ops that act elementwise on one tensor."""
    found = curves(record)
    return raw(activation_plot(found)) if found else ""


def source(record: Record, module: ModuleType) -> str:
    """Includes an op's Functions and the helpers of the same file that they call."""
    path = Path(module.__file__ or "").relative_to(ROOT)
    classes = [f.__name__ for f in record.functions if f.__module__ == module.__name__]
    return "".join(
        f".. literalinclude:: ../../{path}\n   :pyobject: {name}\n   :caption: {path}\n   :lineno-match:\n\n"
        for name in called(path, classes or [record.name])
    )


@cache
def definitions(path: Path) -> dict[str, set[str]]:
    """Returns the functions and classes of a file, each with the names that it uses."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {
        node.name: {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


def called(path: Path, names: Sequence[str]) -> list[str]:
    """Returns the definitions of a file that some of them need, these included, in the file's order."""
    uses, needed = definitions(path), set[str]()
    waiting = list(names)
    while waiting:
        if (name := waiting.pop()) in uses and name not in needed:
            needed.add(name)
            waiting += uses[name]
    return [name for name in uses if name in needed]


def capabilities(record: Record) -> str:
    """Returns the op's row of the table of capabilities, as a column."""
    (found,) = rows_of("capabilities.md", record.name)
    lines = [
        (meaning, shown([what for what, verdict in found.items() if verdict == word]))
        for word, meaning in VERDICTS.items()
    ]
    return list_table((), lines) + "See :doc:`/capabilities`.\n\n"


def found_alone(record: Record) -> list[str]:
    """Returns what works where the built-in raises an error."""
    return [what for row in rows_of("capabilities.md", record.name) for what, v in row.items() if v == "**alone**"]


def precision(record: Record) -> str:
    """Compares the errors of float32 relative to float64, over the samples of the catalog."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = check(record, torch.float32)
    rows = [
        (kind, f"{a.ours:.2f}", f"{a.builtin:.2f}")
        for kind in ("output", "gradient")
        if (a := accuracy(found, kind)) is not None
    ]
    what = (
        f"The largest errors of float32 against float64 over the {len(found.comparisons)} samples of the catalog, in "
        f"units in the last place of the largest element. ``python -m reference {record.name}`` compares again.\n\n"
    )
    return what + list_table(("", "ours", "built-in"), rows)


def speed(record: Record) -> str:
    """Returns the op's rows of the table of times."""
    rows = [tuple(row[name] for name in SPEED) for row in rows_of("performance_table.md", record.name)]
    if not rows:
        return f"Not among the measured workloads; ``python -m reference speed {record.name}`` times it.\n\n"
    return list_table(SPEED, rows) + "See :doc:`/performance` for the columns.\n\n"


def conventions(record: Record) -> str:
    """Returns where the results differ from the built-in's."""
    rows = [tuple(row.values()) for row in rows_of("conventions.md", record.name)]
    if not rows:
        return ""
    return heading("Where it differs from the built-in", "-") + list_table(
        ("when", "built-in", "scratchnet"), rows
    )


@cache
def tables(file: str) -> Mapping[str, list[dict[str, str]]]:
    """Reads the tables of a Markdown file: under each first cell, its rows by their headings."""
    found: dict[str, list[dict[str, str]]] = {}
    head: list[str] = []
    for line in (DOCS / file).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split(" | ")]
        if not line.startswith("|"):
            head = []
        elif not head:
            head = cells
        elif not set(line) <= set("|- "):
            found.setdefault(cells[0].strip("`"), []).append(dict(zip(head[1:], cells[1:], strict=False)))
    return found


def rows_of(file: str, name: str) -> list[dict[str, str]]:
    """Returns the rows of an op in a Markdown file."""
    return tables(file).get(name, [])


def shown(words: Sequence[str]) -> str:
    """Returns the words with semicolons, or none."""
    return "; ".join(words) or "none"


def heading(text: str, line: str) -> str:
    """Returns a heading of reStructuredText."""
    return f"{text}\n{line * len(text)}\n\n"


def raw(html: str) -> str:
    """Returns HTML as a directive."""
    return f".. raw:: html\n\n   {html}\n\n"


def list_table(head: Sequence[str], rows: Sequence[Sequence[str]], style: str = "") -> str:
    """Returns a table of reStructuredText."""
    lines = [".. list-table::", "   :widths: auto"]
    if head:
        lines.append("   :header-rows: 1")
        rows = [head, *rows]
    if style:
        lines.append(f"   :class: {style}")
    cells = [f"   {'  ' if i else '* '}- {cell}".rstrip() for row in rows for i, cell in enumerate(row)]
    return "\n".join([*lines, "", *cells]) + "\n\n"
