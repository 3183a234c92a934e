from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items):
    """Keeps the tests of a chapter in one process, where they look at the same run."""
    for item in items:
        if item.path.parent.name == "chapters":
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
