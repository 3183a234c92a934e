"""Tensors of more than 2³¹ elements, whose places need more than 32 bits; each test takes minutes, and many GB.

``SCRATCHNET_LARGE=1 python -m pytest tests/test_large.py`` runs them, one after the other.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from scratchnet import functional as F

ROWS, FEATURES = 2**28 + 1, 8


def available() -> int:
    """Returns how many bytes of memory are free."""
    return int(re.search(r"MemAvailable: *(\d+)", Path("/proc/meminfo").read_text())[1]) << 10


def needs(gigabytes: int) -> pytest.MarkDecorator:
    """Skips a test unless it is asked for, and that much memory is free."""
    if "SCRATCHNET_LARGE" not in os.environ:
        return pytest.mark.skip(f"takes {gigabytes} GB; SCRATCHNET_LARGE=1 runs it")
    free = available() >> 30
    return pytest.mark.skipif(free < gigabytes, reason=f"takes {gigabytes} GB, of which {free} are free")


def table(dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """Returns more than 2³¹ elements, of which the last rows differ."""
    x = torch.zeros(ROWS, FEATURES, dtype=dtype)
    x[-3:] = torch.arange(-12, 12).view(3, FEATURES).to(dtype)
    return x


def check_last_rows(function, builtin, grad: bool = True) -> None:
    """Compares the last rows of a function of rows, and of its gradient, with those of the last rows alone."""
    x = table().requires_grad_(grad)
    y = function(x)
    few = x.detach()[-3:].clone().requires_grad_(grad)
    expected = builtin(few)
    torch.testing.assert_close(y[-3:], expected)
    if grad:
        y.backward(torch.ones((), dtype=y.dtype).expand(y.shape))
        expected.backward(torch.ones_like(expected))
        torch.testing.assert_close(x.grad[-3:], few.grad)


@needs(14)
def test_relu():
    check_last_rows(F.relu, torch.relu)


@needs(8)
def test_relu_of_bytes():
    y = F.relu(table(torch.int8))
    assert torch.equal(y[-3:], table(torch.int8)[-3:].clamp(min=0))


@needs(31)
def test_softmax():
    check_last_rows(lambda x: F.softmax(x, 1), lambda x: torch.softmax(x, 1))


@needs(24)
def test_dropout():
    x = torch.ones(ROWS, FEATURES, dtype=torch.bfloat16, requires_grad=True)
    y = F.dropout(x, 0.5)
    (grad,) = torch.autograd.grad(y, x, torch.ones((), dtype=y.dtype).expand(y.shape))
    assert torch.equal(y[-1000:], grad[-1000:])
    for part in (y[:1000], y[-1000:]):
        assert set(part.flatten().tolist()) == {0.0, 2.0}


@needs(34)
def test_cross_entropy():
    labels = torch.arange(ROWS) % FEATURES
    check_last_rows(
        lambda x: F.cross_entropy(x, labels, reduction="none"),
        lambda x: torch.nn.functional.cross_entropy(x, labels[-3:], reduction="none"),
    )


@needs(16)
def test_embedding():
    weight = table().requires_grad_()
    indices = torch.tensor([0, ROWS - 1, ROWS - 1])
    y = F.embedding(indices, weight)
    assert torch.equal(y[1:], weight.detach()[[-1, -1]])
    y.backward(torch.ones_like(y))
    assert weight.grad[-2:, 0].tolist() == [0, 2]


@pytest.mark.parametrize(
    "dtype", [pytest.param(torch.bfloat16, marks=needs(34)), pytest.param(torch.int8, marks=needs(14))]
)
def test_sum_of_losses(dtype):
    x = torch.ones(ROWS, FEATURES, dtype=dtype, requires_grad=dtype.is_floating_point)
    y = F.l1_loss(x, torch.zeros((), dtype=dtype).expand(x.shape), reduction="sum")
    assert y.item() == pytest.approx(ROWS * FEATURES, rel=2**-8)
    if dtype.is_floating_point:
        y.backward()
        assert x.grad[-1].tolist() == [1.0] * FEATURES
