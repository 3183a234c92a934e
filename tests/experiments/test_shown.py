"""How a figure is printed."""

from __future__ import annotations

import doctest

from experiments import shown


def test_examples():
    results = doctest.testmod(shown)
    assert results.attempted == 2
    assert results.failed == 0
