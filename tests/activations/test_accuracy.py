"""Signs of zero, and second derivatives far out; tests/test_tails.py counts the digits."""

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
