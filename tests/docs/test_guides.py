"""The guides' commands exit as they say."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from scratchnet.testing.commandline import main

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
COMMAND = re.compile(r"scratchnet-check (.*?) +# exit status (\d)$", re.MULTILINE)
COMMANDS = [found for page in sorted(GUIDES.glob("*.md")) for found in COMMAND.findall(page.read_text())]


@pytest.mark.slow
@pytest.mark.parametrize(("words", "status"), COMMANDS)
def test_the_checker_exits_as_the_guide_says(words: str, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GUIDES / "examples")
    monkeypatch.syspath_prepend(GUIDES / "examples")
    assert main(shlex.split(words)) == int(status)
