"""Relative accuracy, from the smallest numbers there are to far into the tails, is that of the built-in or better."""

from __future__ import annotations

import pytest
import torch

from scratchnet import functional

OPS = {
    "elu": {},
    "celu": {},
    "selu": {},
    "hardsigmoid": {},
    "hardswish": {},
    "softplus": {},
    "logsigmoid": {},
    "softsign": {},
    "tanhshrink": {},
    "silu": {},
    "mish": {},
    "gelu": {},
    "gelu with tanh": {"approximate": "tanh"},
}
UNITS = 16


def value_and_slope(function, x, options):
    x = x.clone().requires_grad_()
    y = function(x, **options)
    return y.detach(), torch.autograd.grad(y, x, torch.ones_like(y))[0]


def largest_error(got, truth):
    """The largest error relative to the truth, in units of the dtype's epsilon."""
    info = torch.finfo(got.dtype)
    return ((got.double() - truth).abs() / truth.abs().clamp(min=info.smallest_normal)).max().item() / info.eps


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_no_digits_are_lost_that_the_built_in_keeps(name, dtype):
    size = torch.logspace(-44, 3, 4001, dtype=torch.float64)
    x = torch.cat([-size.flip(0), torch.tensor([-0.0, 0.0], dtype=torch.float64), size]).to(dtype)
    op = name.split()[0]
    ours, theirs = getattr(functional, op), getattr(torch.nn.functional, op)
    truth = value_and_slope(ours, x.double(), OPS[name])
    got, builtin = (value_and_slope(f, x, OPS[name]) for f in (ours, theirs))
    for mine, other, true in zip(got, builtin, truth, strict=True):
        assert largest_error(mine, true) <= 2 * largest_error(other, true) + UNITS


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_tanhshrink_near_zero_is_its_series(dtype):
    x = torch.logspace(-4, -3, 101, dtype=torch.float64).to(dtype)
    wide = x.double()
    series = wide**3 / 3 - 2 * wide**5 / 15 + 17 * wide**7 / 315
    assert largest_error(functional.tanhshrink(x), series) < 4


@pytest.mark.parametrize("name", [name for name in OPS if name not in ("hardsigmoid", "softplus", "logsigmoid")])
def test_the_sign_of_zero_survives(name):
    y = getattr(functional, name.split()[0])(torch.tensor([-0.0, 0.0]), **OPS[name])
    assert torch.signbit(y).tolist() == [True, False]


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_second_derivatives_are_finite_far_out(name, dtype):
    x = torch.tensor([-1e4, -1000.0, -100.0, 100.0, 1000.0, 1e4], dtype=dtype, requires_grad=True)
    y = getattr(functional, name.split()[0])(x, **OPS[name])
    (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    if slope.requires_grad:
        assert torch.autograd.grad(slope.sum(), x)[0].isfinite().all()
