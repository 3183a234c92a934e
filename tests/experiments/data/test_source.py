"""The text of the standard library: its characters, and the held-out files."""

from __future__ import annotations

import doctest
import sysconfig

import pytest
import torch

from experiments.data import source
from experiments.data.source import CHARACTERS, decode, encode, standard_library
from experiments.errors import ExperimentError


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A library of 41 modules, plus two that are ignored."""
    for number in range(41):
        (tmp_path / f"module{number:02}.py").write_text(f"x = {number}\n")
    for folder in ("test", "site-packages"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "other.py").write_text("!" * 100)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    standard_library.cache_clear()
    yield tmp_path
    standard_library.cache_clear()


def test_doctests():
    assert doctest.testmod(source) == (0, 2)


def test_printable_characters_round_trip():
    text = "".join(map(chr, range(32, 127))) + "\n"
    assert decode(encode(text)) == text
    assert sorted(encode(text).tolist()) == list(range(len(CHARACTERS)))


def test_other_characters_become_question_marks_and_tabs_spaces():
    assert decode(encode("\tα = 1 # é")) == "        ? = 1 # ?"


def test_every_twentieth_file_is_held_out(library):
    found = standard_library()
    assert found.files == 41
    assert decode(found.test) == "x = 0\nx = 20\nx = 40\n"
    assert decode(found.train).count("\n") == 38
    assert "x = 20\n" not in decode(found.train)
    assert "!" not in decode(found.train)


def test_a_library_without_source_is_an_error(library):
    for path in library.glob("*.py"):
        path.unlink()
    with pytest.raises(ExperimentError, match=r"source of Python's standard library in .*, found 0 files"):
        standard_library()


def test_reads_the_library_of_this_python():
    found = standard_library()
    assert len(found.train) > 10 * len(found.test) > 1_000_000
    assert found.train.dtype is torch.uint8
    assert "def " in decode(found.test[:20_000])
