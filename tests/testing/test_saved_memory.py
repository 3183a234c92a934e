"""That what a graph keeps is counted once, wherever its Functions keep it."""

from __future__ import annotations

import pytest
import torch

from scratchnet.testing.saved_memory import saving


class Scaled(torch.autograd.Function):
    """2·x, which keeps what it is told to, and where."""

    @staticmethod
    def forward(ctx, x, keep):
        keep(ctx, x)
        return 2 * x

    @staticmethod
    def backward(ctx, grad):
        return 2 * grad, None


def saved(ctx, x):
    ctx.save_for_backward(x, x.clone())


def attribute(ctx, x):
    ctx.copy = x.clone()


def attribute_in_a_tuple(ctx, x):
    ctx.copies = x.view(-1), (x.clone(), "named")


@pytest.mark.parametrize("keep", [saved, attribute, attribute_in_a_tuple])
def test_each_way_of_keeping_a_copy_counts(keep):
    x = torch.randn(6, requires_grad=True)
    with saving() as kept:
        y = Scaled.apply(x, keep).sum()
    kept.add_attributes([y])
    assert kept.beyond([x]) == x.numel() * 4


def test_views_of_one_memory_count_once():
    x = torch.randn(6, requires_grad=True)
    with saving() as kept:
        y = x.exp()
        z = y[:3] * y[3:]
    kept.add_attributes([z])
    assert kept.beyond([]) == x.numel() * 4
    assert kept.beyond([y]) == 0
