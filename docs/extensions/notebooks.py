"""Writes each chapter of the course as a notebook beside its page, and links to it.

Python and shell commands become cells to run, shown source and everything else text. Pictures are inside the notebook.
"""

from __future__ import annotations

import posixpath
import re
from base64 import b64encode
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from sphinx.application import Sphinx
from sphinx.directives.code import LiteralIncludeReader

ROOT = Path(__file__).parents[2]
CHAPTER = re.compile(r"(?:zh/)?course/(?!index$)\w+")
BLOCK = re.compile(
    r"^```(?P<language>\S+) *(?P<argument>.*)\n(?P<body>(?:.*\n)*?)```$|(?P<text>(?:^(?!```).*(?:\n|\Z))+)",
    re.MULTILINE,
)
LINK = re.compile(r"(?P<head>(?P<picture>!?)\[[^\]]*\]\()(?P<target>[^)\s#]+)")
OPTION = re.compile(r"^:([\w-]+): *(.*)$", re.MULTILINE)
LINE = re.compile("^(?=.)", re.MULTILINE)
EXERCISE = re.compile(r"--custom exercises:(\w+)")

LABELS = {"en": "Notebook", "zh": "笔记本"}
INSTALL, START = "`.venv/bin/python -m pip install jupyterlab`", "`.venv/bin/jupyter lab`"
INTRODUCTIONS = {
    "en": "Save this notebook at the root of a checkout of scratchnet, and open it in Jupyter with the environment "
    f"that `make train` creates: {INSTALL}, then {START}. Links lead to the pages that `make docs` builds.",
    "zh": "请把这个笔记本保存在检出的 scratchnet 代码仓库的根目录下，并在 `make train` 创建的环境中用 Jupyter 打开："
    f"先运行 {INSTALL}，再运行 {START}。链接指向 `make docs` 生成的网页。",
}
# The commands below run this notebook's Python.
SETUP = """\
import os
import sys

assert os.path.isdir("experiments"), "save this notebook at the root of the checkout"
os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]"""
ANSWER = "%%writefile -a exercises.py\nimport torch\nfrom torch.autograd import Function\n\n# {}\n"
ANSWERS = {
    "en": ANSWER.format("Write {name} here. If you run this cell again, its last version counts."),
    "zh": ANSWER.format("在这里写出 {name}。再次运行这个单元格时，以最后一版为准。"),
}
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the writer."""
    app.connect("html-page-context", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _write(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    if not CHAPTER.fullmatch(page):
        return
    language = "zh" if page.startswith("zh/") else "en"
    file = Path(app.outdir, f"{page}.ipynb")
    file.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook(app, page, language), file)
    link = f'<a href="{file.name}" download>{LABELS[language]}</a>'
    context["body"] = f'<p class="language">{link}</p>{context["body"]}'


def notebook(app: Sphinx, page: str, language: str) -> nbformat.NotebookNode:
    """Returns a page as a notebook."""
    source = Path(app.env.doc2path(page))
    found = new_notebook(metadata={"kernelspec": KERNEL})
    found.cells = [new_markdown_cell(INTRODUCTIONS[language]), new_code_cell(SETUP)]
    text = ""  # not in a cell yet
    for block in BLOCK.finditer(source.read_text(encoding="utf-8")):
        if block["text"]:
            text += block["text"]
        elif block["language"] == "{literalinclude}":
            text += _included(app, source.parent / block["argument"], block["body"])
        elif block["language"] in ("python", "sh"):
            found.cells.append(_text(app, page, text))
            text = ""
            for name in EXERCISE.findall(block["body"]):
                found.cells.append(new_code_cell(ANSWERS[language].format(name=name)))
            code = block["body"].rstrip()
            found.cells.append(new_code_cell(code if block["language"] == "python" else LINE.sub("!", code)))
        else:
            text += block[0]
    found.cells.append(_text(app, page, text))
    for number, cell in enumerate(found.cells):
        cell.id = f"cell-{number}"  # random otherwise
    nbformat.validate(found)
    return found


def _included(app: Sphinx, file: Path, body: str) -> str:
    file = file.resolve()
    source, _ = LiteralIncludeReader(str(file), dict(OPTION.findall(body)), app.config).read()
    return f"`{file.relative_to(ROOT)}`\n\n```python\n{source}```\n"


def _text(app: Sphinx, page: str, text: str) -> nbformat.NotebookNode:
    """Returns a cell of text: pictures attached, links from the root of the checkout."""
    attachments: dict[str, dict[str, str]] = {}

    def link(found: re.Match[str]) -> str:
        target = found["target"]
        if re.match("https?:", target):
            return found[0]
        if found["picture"]:
            file = Path(app.env.doc2path(page)).parent / target
            attachments[file.name] = {"image/png": b64encode(file.read_bytes()).decode()}
            return f"{found['head']}attachment:{file.name}"
        label = app.env.domains.standard_domain.anonlabels.get(target)
        name = f"{label[0]}.html#{label[1]}" if label else posixpath.join(posixpath.dirname(page), target)
        return f"{found['head']}build/docs/{re.sub(r'[.](md|rst)$', '.html', posixpath.normpath(name))}"

    cell = new_markdown_cell(LINK.sub(link, text.strip()))
    if attachments:
        cell.attachments = attachments
    return cell
