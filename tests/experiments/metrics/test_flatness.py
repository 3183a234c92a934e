"""Units on the flat parts of their activations are counted."""

from __future__ import annotations

import torch
from torch import nn

import scratchnet.nn
from experiments.metrics.flatness import flat_and_dead, slope


def test_slopes():
    z = torch.tensor([[-20.0, 0.5, 3.0]])
    torch.testing.assert_close(slope(nn.ReLU(), z), torch.tensor([[0.0, 1.0, 1.0]]))
    torch.testing.assert_close(slope(scratchnet.nn.Sigmoid(), torch.zeros(1, 1)), torch.tensor([[0.25]]))
    assert slope(scratchnet.nn.Maxout(3), torch.randn(4, 6)).tolist() == [[1, 1]] * 4


def test_a_unit_is_dead_when_it_is_flat_for_all():
    inputs = torch.tensor([[-1.0, -1.0, 1.0], [-1.0, 1.0, 1.0]])
    for relu, flat, dead in ((nn.ReLU(), 0.5, 1 / 3), (nn.LeakyReLU(0.01), 0, 0)):
        model = nn.Sequential(nn.Identity(), relu)
        assert flat_and_dead(model, [relu], inputs) == (flat, dead)
        assert not relu._forward_hooks
