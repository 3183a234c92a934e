"""Writes the gallery: a page for each op, from its source, its record in the catalog and the measured tables.

The pages are reStructuredText, as the docstrings are, in ``docs/gallery`` and, with Chinese words around the English
docstrings, in ``docs/zh/gallery``; git ignores both.
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
from extensions.chinese import OPS, WORDS
from reference.catalog import RECORDS, Record
from reference.check import check
from reference.report.plots import activation_plot, curves
from reference.report.summary import accuracy

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
PAGES = {"en": DOCS / "gallery", "zh": DOCS / "zh" / "gallery"}
SOURCES = re.compile(r"\n\n(?=(?:Sources?|References?|After)\b)")
CAPTION = re.compile("(?<=<figcaption>)[^<]*")
VERDICTS = {"works": "works", "**alone**": "works here alone", "-": "not compared"}
TIMES = ("size", "mode", "pass", "ours", "built-in", "ratio", "saved", "peak")
GROWTH = ("grows", "sizes", "ratio at each", "exponent of ours", "of the built-in's")

WHAT = (
    "Every op of scratchnet: its equation and derivative, its source, what it can do, how precise and how fast it "
    "is. The last column names what works here where PyTorch's op raises an error."
)
OF_MODULES = "A module, ``scratchnet.nn.{0}``, with the arguments of ``torch.nn.{0}``."
PRECISION = (
    "The largest errors of float32 against float64 over the {} samples of the catalog, in units in the last place of "
    "the largest element. ``python -m reference {}`` compares again."
)
UNMEASURED = "Not among the measured workloads; ``python -m reference speed {}`` times it."
FILTER = """
.. raw:: html

   <p><input id="filter" type="search" placeholder="%s" aria-label="%s"></p>
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
    """Writes a page for each op, and the index, in both languages."""
    for language, folder in PAGES.items():
        texts = {f"{record.name}.rst": page(record, language) for record in records()}
        texts["index.rst"] = index(language)
        folder.mkdir(exist_ok=True)
        for path in folder.glob("*.rst"):
            if path.name not in texts:
                path.unlink()
        for name, text in texts.items():
            path = folder / name
            if not path.exists() or path.read_text(encoding="utf-8") != text:  # Sphinx reads again what is newer
                path.write_text(text, encoding="utf-8")


def records() -> list[Record]:
    """Returns the ops that have a page: those with Functions, and functional forms."""
    return [r for r in RECORDS.values() if r.functions or r.name in scratchnet.functional.__all__]


def say(text: str, language: str) -> str:
    """Returns words of the frame in a language. Those in tables are translated when they are read."""
    return text if language == "en" else WORDS[text]


def in_english(text: str, language: str) -> str:
    """Marks a docstring as English on a page in another language."""
    return text if language == "en" else f".. container:: language-en\n\n{textwrap.indent(text, '   ')}"


def index(language: str) -> str:
    """Returns the page that lists all ops and filters them."""
    what = sentence if language == "en" else lambda record: OPS[record.name]
    rows = [(f":doc:`{r.name}`", family(r), what(r), shown(found_alone(r))) for r in records()]
    names = "\n".join(f"   {record.name}" for record in sorted(records(), key=lambda r: r.name.lower()))
    tree = f".. toctree::\n   :hidden:\n\n{names}\n"
    table = list_table(("op", "package", "what it computes", "works here alone"), rows, style="gallery")
    search = FILTER % (say("filter: softmax, losses, vmap", language), say("filter the ops", language))
    return f"{heading(say('The gallery', language), '=')}{say(WHAT, language)}\n{search}\n{table}\n{tree}"


def page(record: Record, language: str) -> str:
    """Returns the page of an op."""
    modules = modules_of(record)
    docs = [SOURCES.split(inspect.cleandoc(module.__doc__ or ""), maxsplit=1) for module in modules]
    papers = [text for _, *rest in docs for text in rest]

    def section(title: str, *parts: str) -> str:
        return heading(say(title, language), "-") + "".join(parts) if any(parts) else ""

    return "".join(
        (
            heading(record.name.replace("_", r"\_"), "="),
            "" if language == "en" else f"{OPS[record.name]}\n\n",
            usage(record, language),
            section(
                "Mathematics", *(in_english(f"{text}\n\n", language) for text, *_ in docs), plot(record, language)
            ),
            section("Source", *(source(record, module) for module in modules)),
            section("What it can do", capabilities(record), say("See :doc:`/capabilities`.", language), "\n\n"),
            section("Precision", precision(record, language)),
            section("Speed", speed(record, language)),
            section("Where it differs from the built-in", conventions(record)),
            section("Papers", *(in_english(f"{text}\n\n", language) for text in papers)),
        )
    )


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


def usage(record: Record, language: str) -> str:
    """Returns the signature and the docstring; those of modules are torch's."""
    if record.of_modules:
        return say(OF_MODULES, language).format(record.name) + "\n\n"
    function = function_of(record)
    signature = f"{record.name}{inspect.signature(function)}".replace("'", "")
    docs = str(GoogleDocstring(inspect.cleandoc(function.__doc__ or ""), Config(), what="function"))
    body = textwrap.indent(f"{docs}\n", "   ")
    once = "" if language == "en" else "   :no-index:\n"  # a name leads to one page
    described = f".. py:function:: {signature}\n   :module: scratchnet.functional\n{once}\n{body}\n"
    return in_english(described, language)


def plot(record: Record, language: str) -> str:
    """Returns value, slope and error as SVG, for ops that act elementwise on one tensor."""
    if (found := curves(record)) is None:
        return ""
    return raw(re.sub(CAPTION, lambda caption: say(caption[0], language), activation_plot(found)))


def source(record: Record, module: ModuleType) -> str:
    """Includes an op's Functions and the helpers of the same file that they call."""
    path = Path(module.__file__ or "").relative_to(ROOT)
    classes = [f.__name__ for f in record.functions if f.__module__ == module.__name__]
    return "".join(
        f".. literalinclude:: /../{path}\n   :pyobject: {name}\n   :caption: {path}\n   :lineno-match:\n\n"
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
    if failures := [f"{what}: {verdict}" for what, verdict in found.items() if verdict not in VERDICTS]:
        lines.append(("does not work", shown(failures)))
    return list_table((), lines)


def found_alone(record: Record) -> list[str]:
    """Returns what works where the built-in raises an error."""
    return [what for row in rows_of("capabilities.md", record.name) for what, v in row.items() if v == "**alone**"]


@cache
def errors(name: str) -> tuple[int, Sequence[tuple[str, str, str]]]:
    """Returns how many samples the catalog has, and the largest errors of float32 relative to float64 over them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = check(RECORDS[name], torch.float32)
    rows = [
        (kind, f"{a.ours:.2f}", f"{a.builtin:.2f}")
        for kind in ("output", "gradient")
        if (a := accuracy(found, kind)) is not None
    ]
    return len(found.comparisons), rows


def precision(record: Record, language: str) -> str:
    """Returns the table of errors, and where it comes from."""
    samples, rows = errors(record.name)
    what = say(PRECISION, language).format(samples, record.name)
    return f"{what}\n\n{list_table(('', 'ours', 'built-in'), rows)}"


def speed(record: Record, language: str) -> str:
    """Returns the op's rows of the tables of times and of growth."""
    rows = rows_of("performance_table.md", record.name)
    found = [(head, [[row[name] for name in head] for row in rows if head[0] in row]) for head in (TIMES, GROWTH)]
    measured = "".join(list_table(head, cells) for head, cells in found if cells)
    if not measured:
        return say(UNMEASURED, language).format(record.name) + "\n\n"
    return measured + say("See :doc:`/performance` for the columns.", language) + "\n\n"


def conventions(record: Record) -> str:
    """Returns where the results differ from the built-in's."""
    rows = [tuple(row.values()) for row in rows_of("conventions.md", record.name)]
    return list_table(("when", "built-in", "scratchnet"), rows) if rows else ""


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
    return f"{text}\n{line * 2 * len(text)}\n\n"  # Chinese characters count twice


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
