from __future__ import annotations

import pytest
from experiment_runs import write_mnist


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A folder in torchvision's layout, with 96 training and 40 test digits."""
    root = tmp_path_factory.mktemp("tiny")
    write_mnist(root, train=96, test=40)
    return root


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
