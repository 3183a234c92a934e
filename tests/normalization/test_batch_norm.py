"""Batch normalization where its statistics are at the edge of what numbers hold."""

from __future__ import annotations

import pytest
import torch

from scratchnet.functional import batch_norm
from scratchnet.normalization.channelwise import FEW, moments


def test_an_infinite_running_variance_leaves_the_weight_without_gradient():
    x, weight = torch.randn(3, 2, 4), torch.ones(2, requires_grad=True)
    batch_norm(x, torch.zeros(2), torch.full((2,), float("inf")), weight).sum().backward()
    torch.testing.assert_close(weight.grad, torch.zeros(2))


@pytest.mark.parametrize("mean", [0, 1, 300, 1e4, 1e6])
def test_the_variance_keeps_its_digits_beside_any_mean(mean):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 16, 256, generator=generator) + mean * torch.linspace(-2, 2, 16).unsqueeze(1)
    assert x.numel() > FEW  # fewer are added up in float64
    _, var = moments(x, 64 * 256)
    exact = x.double().var((0, 2), unbiased=False)
    torch.testing.assert_close(var.double(), exact, rtol=2 * torch.finfo(torch.float32).eps, atol=0)
