"""Distances and shuffles where the built-in has no answer: equal vectors differentiated twice, and no rows at all."""

from __future__ import annotations

import sys

import pytest
import torch
import torch.nn.functional as F

from scratchnet.functional import cosine_similarity, pairwise_distance, pdist, pixel_shuffle, pixel_unshuffle
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


def test_no_rows_have_no_distances_and_an_empty_gradient():
    # The built-in's backward ends the process here.
    x = torch.zeros(0, 3, requires_grad=True)
    pdist(x).sum().backward()
    assert x.grad.shape == (0, 3)


@pytest.mark.parametrize("elements", [1, 7, 20, 50, 1000])
@pytest.mark.parametrize("p", [0.0, 1.0, 1.5, 2.0, float("inf")])
def test_distances_in_chunks_are_those_of_all_pairs_at_once(monkeypatch, p, elements):
    x = torch.randn(7, 3, dtype=torch.float64)
    x[4] = x[2]
    x[5, 1] = float("inf")
    upstream = torch.randn(21, dtype=torch.float64)
    monkeypatch.setattr(sys.modules["scratchnet.function.chunked"], "CACHED", elements)
    plain = PDistFunction.forward(x, p=p)[0], PDistFunction.backward(upstream, (x,), (True,), p=p)
    with torch.no_grad():
        in_chunks = PDistFunction.forward(x, p=p)[0], PDistFunction.backward(upstream, (x,), (True,), p=p)
    torch.testing.assert_close(in_chunks, plain, equal_nan=True)


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
