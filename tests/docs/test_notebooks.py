"""Each chapter is a notebook too, which runs."""

from __future__ import annotations

import re
from pathlib import Path

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CHAPTERS = [
    path.relative_to(DOCS).with_suffix("").as_posix()
    for folder in ("course", "zh/course")
    for path in sorted((DOCS / folder).glob("*.md"))
    if path.stem != "index"
]
COMMAND = re.compile(r"^```(?:sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)]*)\)")


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_notebook_has_the_commands_and_pictures_of_its_page(chapter: str, site: Path) -> None:
    file = site / f"{chapter}.ipynb"
    assert f'<a href="{file.name}" download>' in (site / f"{chapter}.html").read_text()
    notebook = nbformat.read(file, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    code = "\n".join(re.sub("^!", "", cell.source, flags=re.MULTILINE) for cell in notebook.cells)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    page = (DOCS / f"{chapter}.md").read_text()
    assert COMMAND.findall(page)
    assert all(command.rstrip() in code for command in COMMAND.findall(page))
    attached = {f"attachment:{name}" for cell in notebook.cells for name in cell.get("attachments", ())}
    assert set(PICTURE.findall(text)) == attached
    assert len(attached) == len(set(PICTURE.findall(page)))
    assert "{literalinclude}" not in text
    assert not re.search(r"\]\((?!https?:|build/docs/|attachment:)", text)


@pytest.mark.parametrize("chapter", ["course/backpropagation", "zh/course/neuron"])
def test_the_notebook_runs_in_a_checkout(chapter: str, site: Path, tmp_path: Path) -> None:
    for package in ("experiments", "reference", "scratchnet"):
        (tmp_path / package).symlink_to(ROOT / package)
    (tmp_path / "exercises.py").write_text((ROOT / "tests" / "docs" / "solutions.py").read_text())
    notebook = nbformat.read(site / f"{chapter}.ipynb", as_version=4)
    cells = []
    for cell in notebook.cells:
        cell.source = cell.source.replace("--preset full", "--preset quick")
        cells.append(cell)
        if cell.source.startswith("!"):
            cells.append(nbformat.v4.new_code_cell("assert _exit_code == 0"))
    notebook.cells = cells
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / "runs").is_dir()
