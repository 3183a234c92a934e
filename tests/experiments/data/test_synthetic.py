"""Synthetic data: gates, moons, lines with outliers, and surfaces."""

from __future__ import annotations

import pytest
import torch

from experiments.data.synthetic import (
    GATES,
    OFFSET,
    SLOPE,
    SURFACES,
    line_with_outliers,
    logic_gate,
    two_moons,
)


@pytest.mark.parametrize("gate", GATES)
def test_gates(gate):
    truth = {"AND": lambda a, b: a and b, "OR": lambda a, b: a or b, "XOR": lambda a, b: a != b}[gate]
    x, y = logic_gate(gate)
    assert [bool(each) for each in y] == [bool(truth(*map(bool, row))) for row in x]


def test_moons_are_half_circles():
    x, y = two_moons(400, noise=0, seed=3)
    assert y.sum() == 200
    centers = torch.tensor([[0.0, 0.0], [1.0, 0.5]])
    torch.testing.assert_close((x - centers[y]).norm(dim=1), torch.ones(400))
    assert (x[y == 0, 1] >= 0).all()
    assert (x[y == 1, 1] <= 0.5).all()
    again, _ = two_moons(400, noise=0, seed=3)
    assert torch.equal(again, x)


def test_outliers_have_the_requested_share_and_are_far_from_the_line():
    x, y, outliers = line_with_outliers(200, share=0.15, seed=0)
    assert outliers.sum() == 30
    away = (y - SLOPE * x - OFFSET).abs().flatten()
    assert away[outliers].min() > 7
    assert away[~outliers].max() < 1


@pytest.mark.parametrize("name", SURFACES)
def test_lowest_is_the_minimum_of_the_surface(name):
    surface = SURFACES[name]
    left, right, bottom, top = surface.span
    grid = torch.cartesian_prod(torch.linspace(left, right, 300), torch.linspace(bottom, top, 300)).double()
    lowest = torch.tensor(surface.lowest, dtype=torch.float64)
    assert surface.height(lowest) <= surface.height(grid).min() + 1e-3
    assert left < surface.start[0] < right
    assert bottom < surface.start[1] < top
