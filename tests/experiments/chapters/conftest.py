from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items):
    """Runs all tests of a chapter in one process, because they share a run."""
    for item in items:
        if item.path.parent.name == "chapters":
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
