"""What CTC does where the built-in does something else, or nothing to compare with."""

from __future__ import annotations

import itertools

import pytest
import torch

from scratchnet.functional import ctc_loss, log_softmax

LABELS = torch.tensor([[1, 1, 2]])


def collapsed(path):
    merged = [k for k, _ in itertools.groupby(path)]
    return [k for k in merged if k != 0]


def test_the_loss_is_the_sum_over_all_paths():
    x = log_softmax(torch.randn(4, 1, 3, dtype=torch.float64), dim=-1)
    paths = [p for p in itertools.product(range(3), repeat=4) if collapsed(p) == [1, 2]]
    total = sum(torch.exp(sum(x[t, 0, k] for t, k in enumerate(path))) for path in paths)
    loss = ctc_loss(x, torch.tensor([[1, 2]]), (4,), (2,), reduction="sum")
    torch.testing.assert_close(loss, -torch.log(total))


def test_too_few_frames_cost_infinitely_much_or_nothing():
    x = log_softmax(torch.randn(3, 1, 4), dim=-1).requires_grad_()
    loss = ctc_loss(x, LABELS, (3,), (3,))
    assert loss == float("inf")
    assert torch.autograd.grad(loss, x)[0].isnan().all()
    loss = ctc_loss(x, LABELS, (3,), (3,), zero_infinity=True)
    assert loss == 0
    assert not torch.autograd.grad(loss, x)[0].any()


def test_the_second_derivative_survives_classes_of_probability_zero():
    x = log_softmax(torch.randn(4, 1, 3, dtype=torch.float64), dim=-1)
    x[0, 0, 2] = float("-inf")
    x.requires_grad_()
    loss = ctc_loss(x, torch.tensor([[1, 2]]), (4,), (2,))
    (grad,) = torch.autograd.grad(loss, x, create_graph=True)
    assert grad.isfinite().all()
    assert torch.autograd.grad(grad.square().sum(), x)[0].isfinite().all()


@pytest.mark.parametrize("label", [-1, 4])
def test_a_label_that_is_no_class_is_refused(label):
    # The built-in reads whatever lies behind its memory.
    with pytest.raises(RuntimeError, match="expected labels from 0 to 3"):
        ctc_loss(torch.zeros(5, 1, 4), torch.tensor([[1, label]]), (5,), (2,))


def test_padding_may_hold_anything():
    x = log_softmax(torch.randn(5, 2, 4), dim=-1)
    zeros = ctc_loss(x, torch.tensor([[1, 2], [3, 0]]), (5, 5), (2, 1))
    wild = ctc_loss(x, torch.tensor([[1, 2], [3, -7]]), (5, 5), (2, 1))
    assert zeros == wild
