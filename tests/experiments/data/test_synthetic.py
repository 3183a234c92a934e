"""The data that chapters make up."""

from __future__ import annotations

import pytest
import torch

from experiments.data.outliers import OFFSET, SLOPE, line_with_outliers
from experiments.data.plane import GATES, logic_gate, two_moons
from experiments.data.synthetic import SURFACES


@pytest.mark.parametrize("gate", GATES)
def test_gates(gate):
    truth = {"AND": lambda a, b: a and b, "OR": lambda a, b: a or b, "XOR": lambda a, b: a != b}[gate]
    x, y = logic_gate(gate)
    assert [bool(each) for each in y] == [bool(truth(*map(bool, row))) for row in x]


def test_moons_are_half_circles():
    x, y = two_moons(400, noise=0, seed=3)
    assert y.sum() == 200
    centres = torch.tensor([[0.0, 0.0], [1.0, 0.5]])
    torch.testing.assert_close((x - centres[y]).norm(dim=1), torch.ones(400))
    assert (x[y == 0, 1] >= 0).all()
    assert (x[y == 1, 1] <= 0.5).all()
    again, _ = two_moons(400, noise=0, seed=3)
    assert torch.equal(again, x)


def test_outliers_are_the_share_that_was_asked_for_and_far_off():
    x, y, odd = line_with_outliers(200, share=0.15, seed=0)
    assert odd.sum() == 30
    away = (y - SLOPE * x - OFFSET).abs().flatten()
    assert away[odd].min() > 7
    assert away[~odd].max() < 1


@pytest.mark.parametrize("name", SURFACES)
def test_the_lowest_point_of_a_surface_is_its_lowest(name):
    surface = SURFACES[name]
    left, right, bottom, top = surface.span
    grid = torch.cartesian_prod(torch.linspace(left, right, 300), torch.linspace(bottom, top, 300)).double()
    lowest = torch.tensor(surface.lowest, dtype=torch.float64)
    assert surface.height(lowest) <= surface.height(grid).min() + 1e-3
    assert left < surface.start[0] < right
    assert bottom < surface.start[1] < top
