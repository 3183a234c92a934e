"""Gradients by layer, slopes of activations, and their errors in float32."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import scratchnet.nn
from experiments.metrics.gradients import flat_and_dead, float32_errors, gradient_by_layer, slope


def test_norms_match_derivatives_by_hand():
    """For y = a b x and the loss (y - t)² the derivatives are 2 (y - t) b x for a, and 2 (y - t) a x for b."""
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)).double()
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), (2.0, 0.0, -3.0, 0.0), strict=True):
            parameter.fill_(value)
    x, t = torch.tensor([[0.5]], dtype=torch.float64), torch.tensor([[1.0]], dtype=torch.float64)
    found = gradient_by_layer(model, nn.MSELoss(), x, t)  # y - t = -3 - 1
    assert found == [2 * 4 * 3 * 0.5, 2 * 4 * 2 * 0.5]
    assert all(parameter.grad is None for parameter in model.parameters())


def test_slopes():
    z = torch.tensor([[-20.0, 0.5, 3.0]])
    torch.testing.assert_close(slope(nn.ReLU(), z), torch.tensor([[0.0, 1.0, 1.0]]))
    torch.testing.assert_close(slope(scratchnet.nn.Sigmoid(), torch.zeros(1, 1)), torch.tensor([[0.25]]))
    assert slope(scratchnet.nn.Maxout(3), torch.randn(4, 6)).tolist() == [[1, 1]] * 4


def test_a_unit_is_dead_if_it_is_flat_for_all_inputs():
    inputs = torch.tensor([[-1.0, -1.0, 1.0], [-1.0, 1.0, 1.0]])
    for relu, flat, dead in ((nn.ReLU(), 0.5, 1 / 3), (nn.LeakyReLU(0.01), 0, 0)):
        model = nn.Sequential(nn.Identity(), relu)
        assert flat_and_dead(model, [relu], inputs) == (flat, dead)
        assert not relu._forward_hooks


class Rough(nn.Module):
    """The cube, 0.1 % too large."""

    def forward(self, x):
        return 1.001 * x**3


class Cube(nn.Module):
    def forward(self, x):
        return x**3


def test_errors_are_relative_to_the_exact_values():
    z = torch.tensor([-2.0, 0.5, 3.0])
    values, slopes = float32_errors(Rough(), Cube(), z)
    assert values.tolist() == pytest.approx([0.001] * 3, rel=1e-3)
    assert slopes.tolist() == pytest.approx([0.001] * 3, rel=1e-3)
    values, slopes = float32_errors(nn.Tanh(), nn.Tanh(), torch.tensor([0.0, 12.0]))
    assert values.tolist() == [0, pytest.approx(0, abs=1e-7)]
    assert slopes.tolist() == [0, 1]  # 1 - tanh² is 0 in float32
