"""Edges at which a built-in has no value to compare with, or contradicts itself."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from scratchnet import functional as S


def test_a_variance_below_the_floor_gets_the_gradient_at_the_floor():
    # Forward mode of the built-in takes that gradient for 0, so the catalog leaves such variances out.
    given = [torch.randn(4, dtype=torch.float64), torch.randn(4, dtype=torch.float64)]
    variance = torch.tensor([0.0, 0.05, 0.1, 1.0], dtype=torch.float64, requires_grad=True)
    first, second = [], []
    for loss in (S.gaussian_nll_loss, F.gaussian_nll_loss):
        (grad,) = torch.autograd.grad(
            loss(*given, variance, eps=0.1, reduction="sum"), variance, create_graph=True
        )
        first.append(grad.detach())
        second.append(torch.autograd.grad(grad.square().sum(), variance)[0])
    torch.testing.assert_close(*first)
    torch.testing.assert_close(*second)
    assert first[0][0] != 0
    ours = torch.func.jvp(
        lambda v: S.gaussian_nll_loss(*given, v, eps=0.1), (variance,), (torch.ones(4).double(),)
    )
    torch.testing.assert_close(4 * ours[1], first[0].sum())


def test_a_confident_mistake_of_the_soft_margin_neither_overflows_nor_stops_learning():
    x = torch.tensor([1000.0, -1000.0, 90.0], requires_grad=True)
    losses = S.soft_margin_loss(x, -torch.ones(3), reduction="none")
    assert losses.tolist() == [1000.0, 0.0, 90.0]
    (grad,) = torch.autograd.grad(losses.sum(), x, create_graph=True)
    assert grad.tolist() == [1.0, 0.0, 1.0]
    assert torch.autograd.grad(grad.sum(), x)[0].isfinite().all()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_no_samples_cost_nothing(reduction):
    # The built-in returns memory that nobody wrote.
    target = torch.zeros(0, 4, dtype=torch.int64)
    assert S.multilabel_margin_loss(torch.zeros(0, 4), target, reduction=reduction) == 0


@pytest.mark.parametrize("other", [torch.float16, torch.bfloat16, torch.float64, torch.int32, torch.bool])
def test_lengths_of_integers_are_of_the_default_dtype(other):
    vectors = torch.tensor([[1, 2], [0, 1]]), torch.tensor([[1, 0], [1, 1]]).to(other)
    ours, theirs = (f(*vectors, torch.tensor([1, -1])) for f in (S.cosine_embedding_loss, F.cosine_embedding_loss))
    torch.testing.assert_close(ours, theirs)


def test_one_hot_targets_have_a_divergence_and_a_tangent():
    x, target = torch.randn(3), torch.tensor([0.0, 1.0, 0.0])
    loss, tangent = torch.func.jvp(lambda x: S.kl_div(x, target, reduction="sum"), (x,), (torch.ones(3),))
    assert loss == -x[1]
    assert tangent == -1


def test_distances_of_equal_vectors_have_slope_zero():
    x = torch.ones(2, 3, requires_grad=True)
    S.triplet_margin_loss(x, x.detach(), x.detach() + 1, margin=9.0, eps=0.0).backward()
    assert x.grad.isfinite().all()


def test_negative_rates_are_refused_only_where_values_may_be_read():
    rates, counts = torch.tensor([-1.0, 2.0]), torch.ones(2)

    def loss(x, t):
        return S.poisson_nll_loss(x, t, log_input=False, reduction="sum")

    with pytest.raises(ValueError, match="poisson_nll_loss: expected rates of at least 0, got -1"):
        loss(rates, counts)
    # As the built-in has it: NaN for one rate, not an error for all.
    expected = torch.stack(
        [F.poisson_nll_loss(*pair, False, reduction="sum") for pair in zip(rates, counts, strict=True)]
    )
    torch.testing.assert_close(torch.func.vmap(loss)(rates, counts), expected, equal_nan=True)
    assert make_fx(loss)(rates, counts)(rates, counts).isnan()
    with FakeTensorMode() as mode:
        assert loss(mode.from_tensor(rates), mode.from_tensor(counts)).shape == ()
    assert loss(torch.tensor([-1e-9, 2.0]), counts).isfinite()  # what eps makes up for
