"""Checks in several processes give the same results as in one."""

from __future__ import annotations

import pytest
import torch

from reference import check
from reference.catalog import RECORDS


@pytest.mark.slow
def test_parallel_checks_equal_serial_checks(monkeypatch):
    jobs = [(RECORDS[name], dtype) for name in ("relu", "linear") for dtype in (torch.float32, torch.float16)]
    alone = list(check.check_all(jobs))
    monkeypatch.setattr(check, "FEWEST_FOR_PROCESSES", 1)
    together = list(check.check_all(jobs))
    assert [r.to_dict() for r in together] == [r.to_dict() for r in alone]
