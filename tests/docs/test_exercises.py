"""The judge passes the solutions of the course's exercises, and refuses typical mistakes."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from types import ModuleType

import mistakes
import pytest
import solutions

from reference.__main__ import main

COURSE = Path(__file__).parents[2] / "docs" / "course"
COMMAND = re.compile(r"^python -m reference (--custom exercises:(\w+) .*)$", re.MULTILINE)
PAGES = [page for page in sorted(COURSE.glob("*.md")) if page.stem != "index"]
EXERCISES = {name: shlex.split(words) for page in PAGES for words, name in COMMAND.findall(page.read_text())}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_chapter_has_three_exercises(page: Path) -> None:
    assert len(COMMAND.findall(page.read_text())) == 3


@pytest.mark.parametrize("name", EXERCISES)
def test_each_exercise_has_a_solution_and_a_mistake(name: str) -> None:
    assert name in vars(solutions)
    assert name in vars(mistakes)


@pytest.mark.slow
@pytest.mark.parametrize(("answers", "status"), [(solutions, 0), (mistakes, 1)], ids=["right", "wrong"])
@pytest.mark.parametrize("name", EXERCISES)
def test_the_judge_tells_right_from_wrong(
    name: str, answers: ModuleType, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "exercises", answers)
    assert main(EXERCISES[name]) == status
