"""The course, the guides and the README are in English and Chinese, and both show the same code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CHINESE = DOCS / "zh"
BLOCK = re.compile(r"^```(?P<language>\S+) *(?P<argument>.*)\n(?P<body>(?:.*\n)*?)```$", re.MULTILINE)
COMMENT = re.compile(" *# (?!exit status).*")

ENGLISH_PAGES = {
    path.relative_to(DOCS).as_posix()
    for name in ("index.md", "course/*.md", "guides/*.md")
    for path in DOCS.glob(name)
}
CHINESE_PAGES = {path.relative_to(CHINESE).as_posix() for path in CHINESE.rglob("*.md")}
TWINS = [(ROOT / "README.md", ROOT / "README.zh.md")]
TWINS += [(DOCS / name, CHINESE / name) for name in sorted(ENGLISH_PAGES & CHINESE_PAGES)]


def code(page: Path) -> list[tuple[str, str, str]]:
    """Returns the language of each block, the file that it includes, and its text or options without comments."""
    return [
        (
            found["language"],
            found["argument"] and str(page.parent.joinpath(found["argument"]).resolve()),
            COMMENT.sub("", found["body"]),
        )
        for found in BLOCK.finditer(page.read_text(encoding="utf-8"))
        if found["language"] != "{toctree}"
    ]


def test_each_page_is_in_both_languages() -> None:
    assert sorted(ENGLISH_PAGES) == sorted(CHINESE_PAGES)


@pytest.mark.parametrize(("english", "chinese"), TWINS, ids=lambda page: page.stem)
def test_twins_show_the_same_code(english: Path, chinese: Path) -> None:
    assert code(english) == code(chinese)


def test_readmes_link_to_each_other_at_the_top() -> None:
    for page, other in (("README.md", "README.zh.md"), ("README.zh.md", "README.md")):
        assert f"]({other})" in (ROOT / page).read_text(encoding="utf-8").splitlines()[0]
