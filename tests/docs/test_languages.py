"""Every page and the README are in English and Chinese, and both show the same code and figures."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CHINESE = DOCS / "zh"
BLOCK = re.compile(r"^```(?P<language>\S+) *(?P<argument>.*)\n(?P<body>(?:.*\n)*?)```$", re.MULTILINE)
INCLUDED = re.compile(r"^```\{include\} (?P<file>.*)\n:start-after: \"?(?P<start>.*?)\"?\n```$", re.MULTILINE)
COMMENT = re.compile(" *# (?!exit status).*")
FIGURE = re.compile(r"\d+(?:[.,]\d+)+|\d+(?= ?%)")

ENGLISH_PAGES = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if CHINESE not in path.parents}
CHINESE_PAGES = {path.relative_to(CHINESE).as_posix() for path in CHINESE.rglob("*.md")}
TWINS = [(ROOT / "README.md", ROOT / "README.zh.md")]
TWINS += [(DOCS / name, CHINESE / name) for name in sorted(ENGLISH_PAGES & CHINESE_PAGES)]


def text(page: Path) -> str:
    """Returns a page with the tables that it includes."""
    return INCLUDED.sub(
        lambda found: (page.parent / found["file"]).read_text(encoding="utf-8").partition(found["start"])[2],
        page.read_text(encoding="utf-8"),
    )


def code(page: Path) -> list[tuple[str, str, str]]:
    """Returns the language of each block, the file that it includes, and its text or options without comments."""
    return [
        (
            found["language"],
            found["argument"] and str(page.parent.joinpath(found["argument"]).resolve()),
            COMMENT.sub("", found["body"]),
        )
        for found in BLOCK.finditer(text(page))
        if found["language"] != "{toctree}"
    ]


def figures(page: Path) -> list[str]:
    """Returns the decimal fractions, percentages and large numbers of a page, each once."""
    return sorted(set(FIGURE.findall(BLOCK.sub("", text(page)))))


def test_each_page_is_in_both_languages() -> None:
    assert sorted(ENGLISH_PAGES) == sorted(CHINESE_PAGES)


@pytest.mark.parametrize(("english", "chinese"), TWINS, ids=lambda page: page.stem)
def test_twins_show_the_same_code(english: Path, chinese: Path) -> None:
    assert code(english) == code(chinese)


@pytest.mark.parametrize(("english", "chinese"), TWINS, ids=lambda page: page.stem)
def test_twins_tell_the_same_figures(english: Path, chinese: Path) -> None:
    assert figures(english) == figures(chinese)


def test_the_gallery_has_a_chinese_sentence_for_each_op(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS)
    from extensions.chinese import OPS
    from extensions.gallery import records

    assert sorted(OPS) == sorted(record.name for record in records())


def test_the_tables_of_times_are_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS)
    from extensions.languages import NUMBER, TRANSLATIONS

    lines = (DOCS / "performance_table.md").read_text(encoding="utf-8").splitlines()
    words = {line for line in lines if line.endswith(".")}
    column = None  # whose texts are words
    for line, following in pairwise(lines):
        cells = line.strip("| ").split(" | ")
        if following.startswith("| ---"):
            column = {"work": 0, "grows": 1}.get(next((cell for cell in cells if cell in ("work", "grows")), ""))
            words |= set(cells)
        elif line.startswith("|") and not line.startswith("| ---") and column is not None:
            words.add(cells[column])
    assert len(words) > 50
    assert sorted(word for word in words if NUMBER.sub("{}", word) not in TRANSLATIONS) == []


def test_readmes_link_to_each_other_at_the_top() -> None:
    for page, other in (("README.md", "README.zh.md"), ("README.zh.md", "README.md")):
        assert f"]({other})" in (ROOT / page).read_text(encoding="utf-8").splitlines()[0]
