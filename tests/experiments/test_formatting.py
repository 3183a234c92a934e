"""Formatting of metrics and tables."""

from __future__ import annotations

import doctest

from experiments import formatting


def test_examples():
    results = doctest.testmod(formatting)
    assert results.attempted == 4
    assert results.failed == 0
