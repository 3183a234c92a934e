"""Normalization of values that hardly differ, with a small eps: no factor leaves the range of float32 on the way."""

from __future__ import annotations

import pytest
import torch

from scratchnet import functional

OPS = {
    "batch_norm": lambda x: functional.batch_norm(x, None, None, training=True, eps=1e-30),
    "group_norm": lambda x: functional.group_norm(x, 2, eps=1e-30),
    "instance_norm": lambda x: functional.instance_norm(x, eps=1e-30),
    "layer_norm": lambda x: functional.layer_norm(x, x.shape[1:], eps=1e-30),
    "rms_norm": lambda x: functional.rms_norm(x, x.shape[1:], eps=1e-30),
}


@pytest.mark.parametrize("scale", [1e-6, 1e-12, 0.0])
@pytest.mark.parametrize("op", OPS)
def test_gradients_are_those_of_float64(op, scale):
    generator = torch.Generator().manual_seed(0)
    x, grad = torch.randn(2, 3, 4, 50, 60, generator=generator)
    found = []
    for dtype in (torch.float32, torch.float64):
        leaf = (x * scale).to(dtype).requires_grad_()
        found.append(torch.autograd.grad(OPS[op](leaf), leaf, grad.to(dtype))[0].double())
    single, exact = (g / found[1].abs().max() for g in found)
    torch.testing.assert_close(single, exact, rtol=0, atol=1e-6)  # eight roundings; out of range it is NaN
