"""Slabs keep one dimension whole, and what is computed on them is what is computed at once."""

from __future__ import annotations

import pytest
import torch

from scratchnet import functional
from scratchnet.tiling import along

LAYOUTS = {
    "dense": lambda x: x,
    "transposed": lambda x: x.permute(2, 1, 0),
    "sliced": lambda x: x[:, ::2],
    "one row": lambda x: x[:1],
    "vector": lambda x: x[0, :, 0],
    "expanded": lambda x: x[:1].expand(6, 7, 5),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("per_thread", [1, 40, 1000])
def test_slabs_cover_the_tensors_and_keep_the_dimension_whole(layout, per_thread, monkeypatch):
    monkeypatch.setattr(along, "PER_THREAD", per_thread)
    x = LAYOUTS[layout](torch.arange(210.0).reshape(6, 7, 5))
    for dim in range(-x.dim(), x.dim()):
        total, seen = torch.empty_like(x), torch.zeros(x.shape)
        parts = list(along.slabs((x, x.sum(dim, keepdim=True), total, seen), dim))
        assert len(parts) > 1 or per_thread == 1000 or x.dim() == 1 or x.shape[0] == 1
        for slab, sums, out, counted in parts:
            torch.testing.assert_close(slab.sum(dim, keepdim=True), sums, rtol=0, atol=0)
            out.copy_(slab)
            counted.add_(1)
        assert torch.equal(total, x)
        assert bool((seen == 1).all())


def softmax(x):
    return functional.softmax(x, 1)


def log_softmax(x):
    return functional.log_softmax(x, 1)


def cross_entropy(x):
    target = torch.arange(x.shape[0] * x.shape[2]).view(x.shape[0], x.shape[2]) % 7
    return functional.cross_entropy(x, target, reduction="none")


def ignoring(x):
    target = torch.arange(x.shape[0] * x.shape[2]).view(x.shape[0], x.shape[2]) % 7
    weight = torch.linspace(0.5, 2, 7, dtype=x.dtype)
    return functional.cross_entropy(x, target, weight, ignore_index=2, label_smoothing=0.1)


def outputs_and_gradient(function, x):
    leaf = x.detach().requires_grad_()
    y = function(leaf)
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(0), dtype=y.dtype)
    return [y, *torch.autograd.grad(y, leaf, grad)]


@pytest.mark.parametrize("function", [softmax, log_softmax, cross_entropy, ignoring])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_ops_along_a_dimension_are_the_same_in_slabs(function, dtype, monkeypatch):
    dense = torch.randn(6, 7, 5, generator=torch.Generator().manual_seed(1), dtype=dtype)
    for x in (dense, dense.permute(2, 1, 0), dense[::2], dense[:1], dense[:1].expand(6, 7, 5)):
        monkeypatch.setattr(along, "PER_THREAD", 2**20)
        at_once = outputs_and_gradient(function, x)
        monkeypatch.setattr(along, "PER_THREAD", 8)
        for a, b in zip(outputs_and_gradient(function, x), at_once, strict=True):
            torch.testing.assert_close(a, b)


def test_a_lost_slab_is_caught(monkeypatch):
    whole = along.slabs
    monkeypatch.setattr(along, "slabs", lambda tensors, dim: list(whole(tensors, dim))[:-1])
    with pytest.raises(AssertionError):
        test_slabs_cover_the_tensors_and_keep_the_dimension_whole("dense", 40, monkeypatch)
