"""The site has a page for every op, each page in two languages, and loads nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import scratchnet.functional

# What a browser loads, unlike the links that a reader follows.
LOADED = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"([^\"]*)\"|<link\b[^>]*\bhref=\"([^\"]*)\"")


def test_the_site_is_complete_and_loads_only_itself(site: Path) -> None:
    assert {path.stem for path in (site / "gallery").glob("*.html")} >= set(scratchnet.functional.__all__)
    for page in site.rglob("*.html"):
        text = page.read_text()
        for found in LOADED.finditer(text):
            address = found[1] or found[2] or ""
            assert not re.match("(?:https?:)?//", address), f"{page.name} loads {address}"
    pages = {path.relative_to(site).as_posix() for path in site.rglob("*.html")} - {"search.html", "genindex.html"}
    assert {name for name in pages if name.startswith("zh/")} == {
        f"zh/{n}" for n in pages if not n.startswith("zh/")
    }
    assert "<math" in (site / "course" / "activations.html").read_text()
