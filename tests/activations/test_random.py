"""The activations that draw: the numbers are PyTorch's, and what they mean is right."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import forward_ad

from scratchnet.activations.gumbel import gumbel_softmax
from scratchnet.activations.rrelu import rrelu
from scratchnet.nn import RReLU


def drawn(function, x):
    torch.manual_seed(7)
    y = function(x)
    return y, torch.get_rng_state()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layout", [lambda x: x, lambda x: x.t(), lambda x: x[::2], lambda x: x[:0]])
def test_rrelu_draws_what_pytorch_draws_and_leaves_the_generator_where_it_leaves_it(dtype, layout):
    x = layout(torch.randn(20, 30, generator=torch.Generator().manual_seed(0)).to(dtype))
    (ours, after), (theirs, expected) = (drawn(lambda x, f=f: f(x, training=True), x) for f in (rrelu, F.rrelu))
    assert torch.equal(ours, theirs)
    assert torch.equal(after, expected)


def test_rrelu_draws_a_slope_between_the_bounds_for_each_negative_element():
    x = torch.cat([-torch.ones(10000), torch.ones(10)]).requires_grad_()
    y, _ = drawn(lambda x: rrelu(x, 0.1, 0.3, training=True), x)
    (slopes,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(slopes * x, y)
    assert slopes[10000:].eq(1).all()
    slopes = slopes[:10000]
    assert slopes.min() >= 0.1
    assert slopes.max() <= 0.3
    assert slopes.mean().item() == pytest.approx(0.2, abs=0.002)
    assert slopes.std().item() == pytest.approx(0.2 / 12**0.5, abs=0.002)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_rrelu_draws_the_same_slopes_compiled_and_in_forward_mode(dtype):
    x = torch.randn(5, 6, dtype=dtype, generator=torch.Generator().manual_seed(0))
    eager, _ = drawn(lambda x: rrelu(x, training=True), x)
    compiled = torch.compile(lambda x: rrelu(x, training=True), fullgraph=True, backend="aot_eager")
    assert torch.equal(drawn(compiled, x)[0], eager)
    with forward_ad.dual_level():
        y, _ = drawn(lambda x: rrelu(x, training=True), forward_ad.make_dual(x, torch.ones_like(x)))
        y = forward_ad.unpack_dual(y)
    assert torch.equal(y.primal, eager)
    torch.testing.assert_close(y.tangent * x, eager)


def test_rrelu_under_vmap_draws_for_each_row():
    rows = -torch.ones(2, 100)
    y = torch.func.vmap(lambda x: rrelu(x, training=True), randomness="different")(rows)
    assert not torch.equal(y[0], y[1])
    same = torch.func.vmap(lambda x: rrelu(x, training=True), randomness="same")(rows)
    assert torch.equal(same[0], same[1])


def test_rrelu_is_leaky_and_draws_nothing_at_evaluation():
    module = RReLU(0.1, 0.3).eval()
    before = torch.get_rng_state()
    torch.testing.assert_close(module(torch.tensor([-1.0, 2.0])), torch.tensor([-0.2, 2.0]))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("hard", [False, True])
def test_gumbel_softmax_draws_what_pytorch_draws(hard):
    x = torch.randn(20, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (ours, after), (theirs, expected) = (
        drawn(lambda x, f=f: f(x, tau=0.7, hard=hard), x) for f in (gumbel_softmax, F.gumbel_softmax)
    )
    torch.testing.assert_close(ours, theirs)
    assert torch.equal(after, expected)


def test_gumbel_softmax_samples_from_the_softmax():
    logits = torch.tensor([0.0, 1.0, 2.0])
    samples, _ = drawn(lambda x: gumbel_softmax(x, hard=True), logits.expand(20000, 3))
    torch.testing.assert_close(samples.mean(0), logits.softmax(0), atol=0.01, rtol=0)
    assert samples.amax(1).sub(1).abs().max() < 1e-6


def test_the_hard_gumbel_softmax_has_the_gradient_of_the_soft_one():
    x = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(4, 5, dtype=torch.float64)
    soft, hard = (
        torch.autograd.grad(drawn(lambda x, h=h: gumbel_softmax(x, hard=h), x)[0], x, upstream)[0]
        for h in (False, True)
    )
    torch.testing.assert_close(hard, soft)


def test_gumbel_softmax_says_that_eps_is_no_more():
    with pytest.warns(UserWarning, match="eps has no effect"):
        gumbel_softmax(torch.zeros(3), eps=1e-5)
