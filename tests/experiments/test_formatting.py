"""How a figure is printed."""

from __future__ import annotations

import doctest

from experiments import formatting


def test_examples():
    results = doctest.testmod(formatting)
    assert results.attempted == 2
    assert results.failed == 0
