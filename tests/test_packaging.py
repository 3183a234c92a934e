"""The distribution: name, version, and messages about missing extras."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import scratchnet

ROOT = Path(__file__).parents[1]


def test_the_version_has_one_source():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert settings["project"]["name"] == "torch-scratchnet"
    assert settings["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "scratchnet.__version__"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", scratchnet.__version__)


def test_nothing_says_to_install_the_unrelated_package_scratchnet():
    suffixes = {".py", ".md", ".toml", ".yml", ".txt"}
    folders = ("scratchnet", "reference", "experiments", "tests", "docs", ".github")
    for path in [*ROOT.glob("*"), *(path for folder in folders for path in (ROOT / folder).rglob("*"))]:
        if path.suffix in suffixes:
            assert not re.search(r"pip install\b.*[ '\"]scratchnet\b", path.read_text()), path


@pytest.mark.parametrize(
    ("package", "missing", "status"),
    [("reference", "rich", 2), ("reference", "torch", 2), ("experiments", "tyro", 1)],
)
def test_missing_extra_is_named_in_one_line(package, missing, status):
    source = (
        f"import runpy, sys; sys.modules[{missing!r}] = None; runpy.run_module({package!r}, run_name='__main__')"
    )
    words = ["mnist"] if package == "experiments" else []
    run = subprocess.run(
        [sys.executable, "-c", source, *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert run.returncode == status
    assert len(run.stderr.splitlines()) == 1
    assert missing in run.stderr
    assert "pip install -e '.[experiments]'" in run.stderr
