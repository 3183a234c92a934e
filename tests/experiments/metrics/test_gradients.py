"""The norm of the gradient by layer."""

from __future__ import annotations

import torch
from torch import nn

from experiments.metrics.gradients import gradient_by_layer


def test_the_norms_are_those_of_a_gradient_worked_out_by_hand():
    """Of y = a b x and the loss (y - t)² the slopes are 2 (y - t) b x along a, and 2 (y - t) a x along b."""
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)).double()
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), (2.0, 0.0, -3.0, 0.0), strict=True):
            parameter.fill_(value)
    x, t = torch.tensor([[0.5]], dtype=torch.float64), torch.tensor([[1.0]], dtype=torch.float64)
    found = gradient_by_layer(model, nn.MSELoss(), x, t)  # y - t = -3 - 1
    assert found == [2 * 4 * 3 * 0.5, 2 * 4 * 2 * 0.5]
    assert all(parameter.grad is None for parameter in model.parameters())
