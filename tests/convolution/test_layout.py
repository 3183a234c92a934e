"""Convolution returns PyTorch's memory formats: channels last if images or weight are."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import scratchnet.functional as ours
import scratchnet.nn


def strides(op, x, weight, **options):
    x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
    y = op(x, weight, **options)
    grad = torch.autograd.grad(y, x, torch.ones_like(y))[0]
    return y.stride(), grad.stride()


@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d"])
@pytest.mark.parametrize("channels", [1, 3, 32])
@pytest.mark.parametrize("channels_last_images", [False, True])
@pytest.mark.parametrize("channels_last_weight", [False, True])
def test_strides(name, channels, channels_last_images, channels_last_weight):
    shape = (32, channels, 3, 3) if name == "conv2d" else (channels, 32, 3, 3)
    x, weight = torch.randn(8, channels, 9, 10), torch.randn(shape)
    if channels_last_images:
        x = x.to(memory_format=torch.channels_last)
    if channels_last_weight:
        weight = torch.empty_like(weight, memory_format=torch.channels_last).copy_(weight)
    got, grad = strides(getattr(ours, name), x, weight)
    expected, expected_grad = strides(getattr(F, name), x, weight)
    assert got == expected
    if channels > 1:
        assert grad == expected_grad


def test_a_channels_last_module_returns_channels_last_for_one_channel():
    x = torch.randn(2, 1, 8, 8)
    for kind in (torch.nn.Conv2d, scratchnet.nn.Conv2d):
        layer = kind(1, 4, 3).to(memory_format=torch.channels_last)
        assert layer(x).is_contiguous(memory_format=torch.channels_last)
