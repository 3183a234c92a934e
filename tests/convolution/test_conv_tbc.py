"""Convolution in time-batch-channel order returns what PyTorch's does also without channels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from scratchnet.functional import conv_tbc


def graded(function, inputs: list[Tensor], pad: int) -> list[Tensor]:
    y = function(*inputs, pad)
    return [y, *torch.autograd.grad(y.sum(), inputs, materialize_grads=True, allow_unused=True)]


@pytest.mark.parametrize("pad", [0, 1])
def test_no_channels_leave_the_bias(pad):
    inputs = [torch.ones(shape, requires_grad=True) for shape in ((5, 2, 0), (3, 0, 4), (4,))]
    for ours, theirs in zip(graded(conv_tbc, inputs, pad), graded(torch.conv_tbc, inputs, pad), strict=True):
        torch.testing.assert_close(ours, theirs)
