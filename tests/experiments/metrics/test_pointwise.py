"""Costs and errors of elementwise functions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from experiments.metrics.pointwise import float32_errors, nanoseconds


class Rough(nn.Module):
    """The cube, a thousandth too large."""

    def forward(self, x):
        return 1.001 * x**3


class Cube(nn.Module):
    def forward(self, x):
        return x**3


def test_errors_are_relative_to_the_truth():
    z = torch.tensor([-2.0, 0.5, 3.0])
    values, slopes = float32_errors(Rough(), Cube(), z)
    assert values.tolist() == pytest.approx([0.001] * 3, rel=1e-3)
    assert slopes.tolist() == pytest.approx([0.001] * 3, rel=1e-3)
    values, slopes = float32_errors(nn.Tanh(), nn.Tanh(), torch.tensor([0.0, 12.0]))
    assert values.tolist() == [0, pytest.approx(0, abs=1e-7)]
    assert slopes.tolist() == [0, 1]  # 1 - tanh² is 0 in float32


def test_both_ways_take_longer_than_one():
    forward, both = nanoseconds(nn.Tanh())
    assert 0 < forward < both
