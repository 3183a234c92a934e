"""The site builds without warnings, and needs nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import scratchnet.functional

DOCS = Path(__file__).parents[2] / "docs"
# What a browser loads, unlike the links that a reader follows.
LOADED = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"([^\"]*)\"|<link\b[^>]*\bhref=\"([^\"]*)\"")


@pytest.mark.slow
def test_the_site_is_complete_and_loads_only_itself(tmp_path: Path) -> None:
    site = tmp_path / "site"
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet"]
    built = subprocess.run(
        [*command, "-d", tmp_path / "doctrees", DOCS, site], capture_output=True, text=True, timeout=600
    )
    assert built.returncode == 0, built.stdout + built.stderr
    assert {path.stem for path in (site / "gallery").glob("*.html")} >= set(scratchnet.functional.__all__)
    for page in site.rglob("*.html"):
        text = page.read_text()
        for found in LOADED.finditer(text):
            address = found[1] or found[2] or ""
            assert not re.match("(?:https?:)?//", address), f"{page.name} loads {address}"
    assert "<math" in (site / "course" / "activations.html").read_text()
