"""That the logits are never held whole, and that chunks change nothing."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear
from torch.utils._python_dispatch import TorchDispatchMode

from scratchnet.functional import linear_cross_entropy
from scratchnet.testing.saved_memory import saving

ROWS, FEATURES, CLASSES = 64, 8, 4096


class Largest(TorchDispatchMode):
    """Notes the largest memory that any tensor takes."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.untyped_storage().nbytes() // tensor.element_size())
        return result


class Products(TorchDispatchMode):
    """Counts matrix products."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.addmm_)
        return func(*args, **(kwargs or {}))


def step(function):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, FEATURES, generator=generator).requires_grad_()
    weight = torch.randn(CLASSES, FEATURES, generator=generator).requires_grad_()
    target = torch.randint(CLASSES, (ROWS,), generator=generator)
    with Largest() as seen:
        loss = function(x, weight, target)
        gradients = torch.autograd.grad(loss, (x, weight))
    return loss, gradients, seen.elements


@pytest.mark.parametrize("rows", [1, 3, 16, 64, 1000])
def test_chunks_of_any_size_agree_with_all_logits_at_once(rows):
    options = SimpleNamespace(batch_chunk_size=rows)
    loss, gradients, _ = step(lambda x, w, y: linear_cross_entropy(x, w, y, options=options))
    expected, expected_gradients, _ = step(lambda x, w, y: cross_entropy(linear(x, w), y))
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradients, expected_gradients)


@pytest.mark.parametrize(
    ("reduction", "frozen", "forward", "backward"),
    [("mean", False, 3, 0), ("mean", True, 2, 0), ("none", False, 1, 3), ("none", True, 1, 2)],
)
def test_each_chunk_is_multiplied_as_often_as_it_must_and_nothing_is_used_up(reduction, frozen, forward, backward):
    options = SimpleNamespace(batch_chunk_size=ROWS // 4)
    x, weight = torch.randn(ROWS, FEATURES).requires_grad_(), torch.randn(CLASSES, FEATURES)
    leaves = [x] if frozen else [x, weight.requires_grad_()]
    with Products() as seen:
        loss = linear_cross_entropy(x, weight, torch.arange(ROWS), reduction=reduction, options=options)
    assert seen.count == 4 * forward
    upstream = torch.randn_like(loss)
    with Products() as seen:
        first = torch.autograd.grad(loss, leaves, upstream, retain_graph=True)
    assert seen.count == 4 * backward
    torch.testing.assert_close(torch.autograd.grad(loss, leaves, upstream), first, rtol=0, atol=0)


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_no_more_is_kept_than_the_gradients(reduction):
    x, weight = torch.randn(ROWS, FEATURES, requires_grad=True), torch.randn(CLASSES, FEATURES, requires_grad=True)
    target = torch.arange(ROWS)
    with saving() as kept:
        linear_cross_entropy(x, weight, target, reduction=reduction)
    gradients, two_of_each_row = x.numel() + weight.numel(), 2 * ROWS
    assert kept.beyond([x, weight, target]) == 4 * (two_of_each_row if reduction == "none" else gradients)


def test_without_a_gradient_to_be_asked_for_the_forward_makes_none():
    x, weight = torch.randn(ROWS, FEATURES, requires_grad=True), torch.randn(CLASSES, FEATURES)
    with torch.no_grad(), Products() as seen:
        linear_cross_entropy(x, weight, torch.arange(ROWS))
    assert seen.count == 1


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_no_tensor_is_as_large_as_the_logits(monkeypatch, reduction):
    monkeypatch.setattr(sys.modules["scratchnet.losses.linear_cross_entropy"], "CHUNK_ELEMENTS", 8 * CLASSES)
    _, _, elements = step(lambda x, w, y: linear_cross_entropy(x, w, y, reduction=reduction).sum())
    assert elements == FEATURES * CLASSES == ROWS * CLASSES // 8
    _, _, elements = step(lambda x, w, y: cross_entropy(linear(x, w), y, reduction=reduction).sum())
    assert elements == ROWS * CLASSES


def test_a_sum_of_gradients_beyond_float16_has_a_mean():
    x, target = torch.full((4096, 1), 64.0), torch.zeros(4096, dtype=torch.int64)

    def gradient(dtype):
        weight = torch.zeros(3, 1, dtype=dtype, requires_grad=True)
        linear_cross_entropy(x.to(dtype), weight, target).backward()
        return weight.grad.float()

    # Two roundings to the 11 digits of float16 at most.
    torch.testing.assert_close(gradient(torch.float16), gradient(torch.float32), rtol=2e-3, atol=0)


def test_a_sum_of_exponentials_beyond_float16_is_no_matter():
    x = torch.zeros(1, 2, dtype=torch.float16, requires_grad=True)
    weight = torch.ones(100_000, 2, dtype=torch.float16)
    linear_cross_entropy(x, weight, torch.tensor([0])).backward()
    assert x.grad.isfinite().all()
