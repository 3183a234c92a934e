"""Pages refer to pages, source, pictures, ops and experiments that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from experiments.chapters import CHAPTERS
from reference.catalog import RECORDS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
DIRECTIVE = re.compile(r"^```\{(?P<name>[\w-]+)\} *(?P<argument>.*)\n(?P<body>(?:.*\n)*?)```$", re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))


def directives(page: Path, name: str) -> list[re.Match[str]]:
    return [found for found in DIRECTIVE.finditer(page.read_text()) if found["name"] == name]


def listed(page: Path) -> list[Path]:
    """The pages in the tables of contents of a page."""
    names = [
        line
        for found in directives(page, "toctree")
        for line in found["body"].splitlines()
        if line and not line.startswith(":")
    ]
    return [page.parent / f"{name}.md" for name in names]


def generated(path: Path) -> bool:
    """Whether the build of the site writes a page of the gallery."""
    return path.parent in (DOCS / "gallery", DOCS / "zh" / "gallery") and path.stem in {"index", *RECORDS}


def defines(source: Path, name: str) -> bool:
    """Whether a file defines NAME or CLASS.NAME."""
    body: list[ast.stmt] = ast.parse(source.read_text()).body
    for part in name.split("."):
        found = [n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == part]
        if not found:
            return False
        body = found[0].body
    return True


def test_tables_of_contents_reach_every_page() -> None:
    waiting, reached = [DOCS / "index.md"], set[Path]()
    while waiting:
        page = waiting.pop().resolve()
        if not generated(page):
            assert page.exists(), f"{page} is in a table of contents"
            reached.add(page)
            waiting += listed(page)
    assert sorted(reached) == PAGES


@each_page
def test_included_source_exists(page: Path) -> None:
    for found in directives(page, "literalinclude"):
        source = page.parent / found["argument"]
        assert source.exists(), found["argument"]
        for name in re.findall(r"^:pyobject: (.*)$", found["body"], re.MULTILINE):
            assert defines(source, name), f"{found['argument']} has no {name}"


@each_page
def test_links_lead_to_pages_and_pictures(page: Path) -> None:
    labels = set(re.findall(r"^\((.*)\)=$", "".join(p.read_text() for p in PAGES), re.MULTILINE))
    for found in LINK.finditer(FENCE.sub("", page.read_text())):
        target = found["target"].partition("#")[0]
        if target and not re.match("https?:", target) and target not in labels:
            path = (page.parent / target).resolve()
            assert path.exists() or generated(path), f"{page.name} links to {target}"


@each_page
def test_commands_name_experiments(page: Path) -> None:
    names = re.findall(r"python -m experiments ([a-z]+)", page.read_text())
    assert set(names) <= {*CHAPTERS, "report"}


def test_one_command_draws_every_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS)
    from pictures import PICTURES

    drawn = {f"chapters/{name}" for each in PICTURES.values() for name in each.figures.values()}
    drawn |= {each.screenshot[0] for each in PICTURES.values() if each.screenshot is not None} | {"report"}
    images = DOCS / "images"
    assert drawn == {path.relative_to(images).with_suffix("").as_posix() for path in images.rglob("*.png")}
