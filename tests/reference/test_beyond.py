"""Calls for which only ours has the mathematical result, and the page that lists them."""

from __future__ import annotations

import pytest
import torch

from reference.catalog import RECORDS
from reference.conventions import CONVENTIONS, answer, conventions

CASES = [
    pytest.param(record, beyond, id=f"{name}-{beyond.when}")
    for name, record in RECORDS.items()
    for beyond in record.beyond
]


def is_expected(found, beyond, dtype):
    if beyond.says:
        return found.output is None and beyond.says in found.error
    if found.output is None or len(found.gradients) != len(beyond.gradients):
        return False
    pairs = zip((found.output, *found.gradients), (beyond.output, *beyond.gradients), strict=True)
    tolerance = 1e-12 if dtype is torch.float64 else 1e-6
    return all(
        torch.allclose(got.to(dtype), torch.tensor(wanted, dtype=dtype), rtol=tolerance, atol=0)
        for got, wanted in pairs
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(("record", "beyond"), CASES)
def test_only_ours_has_the_expected_result(record, beyond, dtype):
    ours, builtin = (answer(record, beyond, side, dtype) for side in (0, 1))
    assert is_expected(ours, beyond, dtype), ours
    assert not is_expected(builtin, beyond, dtype), "the built-in has the same result: make this a sample"


def test_the_page_is_up_to_date():
    assert CONVENTIONS.read_text(encoding="utf-8") == conventions(), "run python -m reference --conventions"
