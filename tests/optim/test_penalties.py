"""Penalties and limits on weights."""

from __future__ import annotations

import doctest

import pytest
import torch

from scratchnet.optim import l1_penalty, l2_penalty, max_norm_, penalties


def test_the_examples_hold():
    results = doctest.testmod(penalties, extraglobs={"torch": torch})
    assert results.attempted == 3
    assert results.failed == 0


def test_slopes_are_the_sign_and_the_weight():
    weights = [
        torch.tensor([[0.5, -2.0], [0.0, 3.0]], requires_grad=True),
        torch.tensor([-1.0], requires_grad=True),
    ]
    for penalty, slope in ((l1_penalty, torch.sign), (l2_penalty, lambda w: w)):
        for weight, found in zip(weights, torch.autograd.grad(penalty(weights), weights), strict=True):
            torch.testing.assert_close(found, slope(weight.detach()))


@pytest.mark.parametrize("shape", [(6, 4), (6, 3, 2, 2), (1, 1)])
def test_the_limit_is_that_of_renorm(shape):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    expected = weight.detach().renorm(2, 0, 1.2)
    found = max_norm_(weight, 1.2)
    assert found is weight
    torch.testing.assert_close(found.detach(), expected, rtol=1e-5, atol=0)  # renorm divides by the norm + 1e-7


def test_units_without_weight_stay():
    assert max_norm_(torch.zeros(2, 3), 1.0).tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: l1_penalty([]), "l1_penalty: expected at least one parameter, got none"),
        (lambda: l2_penalty([]), "l2_penalty: expected at least one parameter, got none"),
        (lambda: max_norm_(torch.ones(3), 1.0), r"max_norm_: expected weights of shape \(units, …\)"),
        (lambda: max_norm_(torch.ones(3, 3), 0.0), "max_norm_: expected a limit above 0, got 0.0"),
    ],
)
def test_misuse_is_said(call, message):
    with pytest.raises(ValueError, match=message):
        call()
