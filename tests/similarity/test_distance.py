"""Distances and shuffles where the built-in has no answer: equal vectors differentiated twice, and no rows at all."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from scratchnet.functional import (
    cdist,
    cosine_similarity,
    pairwise_distance,
    pdist,
    pixel_shuffle,
    pixel_unshuffle,
)
from scratchnet.similarity import distance_tiles
from scratchnet.similarity.cdist import CDistFunction
from scratchnet.similarity.pdist import PDistFunction


@pytest.mark.parametrize("p", [2.0, 1.5, 3.0])
def test_equal_vectors_have_finite_derivatives(p):
    x = torch.randn(2, 3, dtype=torch.float64)
    grads = []
    for function in (pairwise_distance, F.pairwise_distance):
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        grads.append(torch.autograd.grad(function(a, b, p, 0.0).sum(), (a, b), create_graph=True))
    torch.testing.assert_close(grads[0], grads[1])
    again = torch.autograd.grad(sum(g.sum() for g in grads[0]), (a, b), allow_unused=True)
    assert all(g is None or g.isfinite().all() for g in again)


@pytest.mark.parametrize("p", [float("inf"), -float("inf")])
def test_the_slope_of_the_largest_difference_is_that_of_nan(p):
    x = torch.tensor([[1.0, float("nan"), 3.0], [4.0, 5.0, 6.0]], requires_grad=True)
    grads = [
        torch.autograd.grad(f(x, torch.zeros(2, 3), p).sum(), x) for f in (pairwise_distance, F.pairwise_distance)
    ]
    torch.testing.assert_close(*grads, equal_nan=True)


def test_no_rows_have_no_distances_and_an_empty_gradient():
    # The built-in's backward ends the process here.
    x = torch.zeros(0, 3, requires_grad=True)
    pdist(x).sum().backward()
    assert x.grad.shape == (0, 3)


FUNCTIONS = {
    "pdist": lambda a, b, p: (PDistFunction, (a,), (len(a) * (len(a) - 1) // 2,)),
    "cdist": lambda a, b, p: (CDistFunction, (a, b), (len(a), len(b))),
}


def distances(op, a, b, p):
    """Returns distances and gradients from their fast forms, and from their plain ones."""
    function, inputs, shape = FUNCTIONS[op](a, b, p)
    upstream, needs = torch.randn(shape, dtype=torch.float64).to(a.dtype), (True,) * len(inputs)

    def both(inputs, upstream):
        grads = function.backward(upstream, inputs, needs, p=p)
        return [function.forward(*inputs, p=p)[0], *(grads if isinstance(grads, tuple) else [grads])]

    with torch.no_grad():
        fast = both(inputs, upstream)
    return fast, both(inputs, upstream), both([x.double() for x in inputs], upstream.double())


every_norm = pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, float("inf")])
every_op = pytest.mark.parametrize("op", list(FUNCTIONS))


@every_op
@every_norm
@pytest.mark.parametrize("pairs", [1, 7, 20, 1000])
def test_distances_in_tiles_are_those_of_all_pairs_at_once(monkeypatch, op, p, pairs):
    for name, value in {"FEW": 0, "TILE": pairs, "CACHED": 2 * pairs, "NARROW": 2}.items():
        monkeypatch.setattr(distance_tiles, name, value)
    x = torch.randn(7, 3, dtype=torch.float64)
    x[4] = x[2]
    for infinite in (False, True):
        x[5, 1] = float("inf") if infinite else x[5, 1]
        fast, plain, _ = distances(op, x, x[1:] + 0.1, p)
        torch.testing.assert_close(fast, plain, rtol=1e-10, atol=1e-12, equal_nan=True)


POINTS = {
    "apart": lambda x: x,
    "near each other": lambda x: torch.cat([x[:20], x[:20] + 1e-6 * x[20:]]),
    "equal": lambda x: torch.cat([x[:20], x[:20]]),
    "one": lambda x: x[:1].expand(40, -1),
    "far from zero": lambda x: x + 1e4,
    "very far from zero": lambda x: 100 * x + 1e8,
    "beside one far away": lambda x: torch.cat([x[1:], 1e6 * x[:1]]),
    "of large squares": lambda x: 1e25 * x,
    "of small squares": lambda x: 1e-30 * x,
}


@every_op
@every_norm
@pytest.mark.parametrize("points", list(POINTS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_fast_distances_keep_the_digits_of_plain_ones(monkeypatch, op, p, points, dtype):
    monkeypatch.setattr(distance_tiles, "FEW", 0)
    torch.manual_seed(0)
    for features in (2, 16):
        x = POINTS[points](torch.randn(40, features, dtype=torch.float64)).to(dtype)
        for fast, plain, exact in zip(*distances(op, x, x[:30].flip(0).clone(), p), strict=True):
            assert fast.dtype is dtype
            if dtype is torch.float64:
                torch.testing.assert_close(fast, plain, rtol=1e-12, atol=1e-12 * float(plain.abs().max()))
                continue
            unit = torch.finfo(dtype).eps * float(exact.abs().max())
            assert float((fast - exact).abs().max()) <= 2 * float((plain - exact).abs().max()) + unit


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("features", [0, 3])
def test_one_row_or_none_takes_the_plain_form(monkeypatch, count, features):
    monkeypatch.setattr(distance_tiles, "FEW", 0)
    a, b = torch.randn(count, features, requires_grad=True), torch.randn(4, features, requires_grad=True)
    (pdist(a).sum() + cdist(a, b).sum() + cdist(b, a).sum()).backward()
    assert a.grad.shape == a.shape
    assert b.grad.shape == b.shape


@pytest.mark.parametrize("length", [1e-3, 0.0])
def test_the_cosine_of_short_vectors_has_the_gradient_of_the_built_in(length):
    # In forward mode the built-in contradicts its own backward here, and its second derivative at zero is NaN.
    x, y = length * torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    grads = []
    for function in (cosine_similarity, F.cosine_similarity):
        a, b = x.clone().requires_grad_(), y.clone().requires_grad_()
        grads.append(torch.autograd.grad(function(a, b, dim=0, eps=0.1), (a, b)))
    torch.testing.assert_close(grads[0], grads[1])


def test_an_empty_batch_is_shuffled_too():
    # The built-in unshuffles it into its old shape, and its shuffle has no backward for it.
    x = torch.zeros(0, 4, 2, 2, requires_grad=True)
    pixel_shuffle(x, 2).sum().backward()
    assert x.grad.shape == x.shape
    assert pixel_unshuffle(torch.zeros(0, 2, 4, 2), 2).shape == (0, 8, 2, 1)
