"""The relative difference of two networks."""

from __future__ import annotations

import pytest
import torch

from experiments.training.drift import relative_difference


@pytest.mark.parametrize(
    ("custom", "builtin", "expected"),
    [([3.0, 4.0], [3.0, 4.0], 0.0), ([3.0, 5.5], [3.0, 4.0], 0.3), ([0.0], [0.0], 0.0), ([1.0], [2.0], 0.5)],
)
def test_difference_is_relative_to_the_built_in(custom, builtin, expected):
    tensors = (torch.tensor(values, dtype=torch.float64) for values in (custom, builtin))
    assert relative_difference(*tensors) == pytest.approx(expected)


def test_difference_from_zero_is_large():
    assert relative_difference(torch.tensor([1e-3]), torch.tensor([0.0])) > 1e30
