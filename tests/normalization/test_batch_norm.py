"""Batch normalization where its statistics are at the edge of what numbers hold."""

from __future__ import annotations

import torch

from scratchnet.functional import batch_norm


def test_an_infinite_running_variance_leaves_the_weight_without_gradient():
    x, weight = torch.randn(3, 2, 4), torch.ones(2, requires_grad=True)
    batch_norm(x, torch.zeros(2), torch.full((2,), float("inf")), weight).sum().backward()
    torch.testing.assert_close(weight.grad, torch.zeros(2))
