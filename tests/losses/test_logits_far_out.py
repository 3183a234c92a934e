"""Losses of logits keep their digits under a common offset, and the slopes of sure logits keep theirs."""

from __future__ import annotations

import pytest
import torch

from scratchnet import functional as S

F = torch.nn.functional
EPS = torch.finfo(torch.float32).eps
SCORES = torch.randn(16, 10, generator=torch.Generator().manual_seed(0)) * 3
LABELS = torch.arange(16) % 10
SHARES = torch.softmax(SCORES.flip(0), 1)
WEIGHT = torch.linspace(0.5, 2, 10)


def ours_and_builtin(name, x, dtype, *arguments, **options):
    """Value and gradient in float64, of both sides in a dtype."""
    found = []
    for module in (S, F):
        leaf = x.to(dtype).requires_grad_()
        given = [a.to(dtype) if a.is_floating_point() else a for a in arguments]
        named = {k: v.to(dtype) if isinstance(v, torch.Tensor) else v for k, v in options.items()}
        y = getattr(module, name)(leaf, *given, **named)
        found.append((y.detach().double(), torch.autograd.grad(y.sum(), leaf)[0].double()))
    return found


@pytest.mark.parametrize("offset", [1e2, 1e4, 1e6, 1e8])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("target", [LABELS, SHARES], ids=["labels", "shares"])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["equal", "weighted"])
def test_a_common_offset_costs_no_digits_of_cross_entropy(offset, reduction, smoothing, target, weight):
    x = SCORES + offset
    options = {"reduction": reduction, "label_smoothing": smoothing, "weight": weight}
    got, builtin = ours_and_builtin("cross_entropy", x, torch.float32, target, **options)
    truth = ours_and_builtin("cross_entropy", x, torch.float64, target, **options)[1]
    for mine, other, true in zip(got, builtin, truth, strict=True):
        allowed = 2 * (other - true).abs().max() + EPS * true.abs().max()
        assert (mine - true).abs().max() <= allowed


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_binary_cross_entropy_of_sure_logits_keeps_its_digits_on_both_sides(label):
    size = torch.logspace(-3, 1.9, 50)
    x = torch.cat([-size, size])
    arguments = (torch.full_like(x, label),)
    got = ours_and_builtin("binary_cross_entropy_with_logits", x, torch.float32, *arguments, reduction="none")[0]
    wide, sign = x.double(), 1 - 2 * label  # the closed form loses digits in float64 too
    truth = torch.log1p(torch.exp(sign * wide)), sign / (1 + torch.exp(-sign * wide))
    for mine, true in zip(got, truth, strict=True):
        assert ((mine - true) / true).abs().max() <= 8 * EPS


@pytest.mark.parametrize(("name", "sign"), [("logsigmoid", -1), ("softplus", 1), ("soft_margin_loss", -1)])
def test_second_derivatives_keep_their_digits_in_both_tails(name, sign):
    x = torch.tensor([-80.0, -30.0, -17.0, -1.0, 1.0, 12.0, 17.0, 19.0], requires_grad=True)
    labels = (torch.ones(8),) if name == "soft_margin_loss" else ()
    options = {"reduction": "sum"} if labels else {}
    (slope,) = torch.autograd.grad(getattr(S, name)(x, *labels, **options).sum(), x, create_graph=True)
    second = torch.autograd.grad(slope.sum(), x)[0].double().abs()
    e = torch.exp(-x.detach().double().abs())
    truth = e / (1 + e) ** 2
    assert ((second - truth) / truth).abs().max() <= 16 * EPS
