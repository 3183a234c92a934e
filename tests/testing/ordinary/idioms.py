"""Right functions without a Function of their own, in idioms that torch's transforms refuse."""

from __future__ import annotations

import torch

from .entry import equals


def times_its_own_constant(function):
    """The input times a function of it that is taken for a constant on purpose."""
    return lambda x: x * function(x.detach())


@equals(torch.sin)
def buffer_in_place(x):
    y = torch.zeros(x.shape, dtype=x.dtype)
    y += x.sin()
    return y


@equals(torch.sin)
def buffer_by_rows(x):
    y = torch.empty(x.shape, dtype=x.dtype)
    for i in range(len(x)):
        y[i] = x[i].sin()
    return y


@equals(torch.relu)
def mask_assigned(x):
    y = torch.zeros_like(x)
    positive = ~(x <= 0)
    y[positive] = x[positive]
    return y


@equals(torch.relu)
def nonzero_assigned(x):
    y = torch.zeros_like(x)
    rows, columns = (~(x <= 0)).nonzero(as_tuple=True)
    y[rows, columns] = x[rows, columns]
    return y


@equals(lambda x: x.flip(0))
def buffer_index_add(x):
    return torch.zeros(x.shape, dtype=x.dtype).index_add_(0, torch.arange(len(x)).flip(0), x)


@equals(torch.sin)
def gradient_retained(x):
    y = x.sin()
    if y.requires_grad:
        y.retain_grad()
    return y


@equals(times_its_own_constant(torch.cos), gradient_of=times_its_own_constant(torch.cos))
def gradient_as_constant(x):
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(leaf.sin().sum(), leaf)
    return x * slope


@equals(times_its_own_constant(torch.sin), gradient_of=times_its_own_constant(torch.sin))
def constant_by_out(x):
    with torch.no_grad():
        weight = torch.sin(x, out=torch.empty_like(x))
    return x * weight


@equals(torch.sin)
def checked_by_assert(x):
    torch.testing.assert_close(x, x, equal_nan=True)
    return x.sin()
