"""What the catalog cannot say of the rectifiers: slopes at the kink, and working in place."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import forward_ad

from scratchnet.activations import elu, leaky_relu, learned_elu, prelu, relu


@pytest.mark.parametrize(
    ("function", "slope"),
    [
        (relu, 0.0),
        (lambda x: leaky_relu(x, 0.1), 0.1),
        (lambda x: prelu(x, torch.tensor([0.25])), 0.25),
        (lambda x: elu(x, 0.5), 0.5),
        (lambda x: learned_elu(x, torch.tensor([0.5])), 0.5),
    ],
)
def test_at_the_kink_the_slope_is_the_left_one_in_both_modes(function, slope):
    x = torch.zeros(1, requires_grad=True)
    (grad,) = torch.autograd.grad(function(x), x)
    assert grad.item() == pytest.approx(slope)
    with forward_ad.dual_level():
        y = function(forward_ad.make_dual(x.detach(), torch.ones(1)))
        assert forward_ad.unpack_dual(y).tangent.item() == pytest.approx(slope)


@pytest.mark.parametrize(("ours", "theirs"), [(relu, F.relu), (leaky_relu, F.leaky_relu), (elu, F.elu)])
def test_in_place_overwrites_the_input_and_keeps_its_gradient(ours, theirs):
    results = []
    for function in (ours, theirs):
        leaf = torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64, requires_grad=True)
        x = leaf * 3
        y = function(x, inplace=True)
        assert y.data_ptr() == x.data_ptr()
        (grad,) = torch.autograd.grad(y, leaf, torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
        results.append((x.detach(), grad))
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("function", [relu, leaky_relu, elu])
def test_in_place_on_a_leaf_is_refused(function):
    leaf = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="in-place"):
        function(leaf, inplace=True)


def test_relu_sends_nothing_through_a_dead_unit_even_from_an_infinite_upstream():
    x = torch.tensor([-1.0, 1.0], requires_grad=True)
    (grad,) = torch.autograd.grad(relu(x), x, torch.tensor([float("inf"), 1.0]))
    assert grad.tolist() == [0.0, 1.0]


def test_relu_keeps_integers():
    assert relu(torch.tensor([-1, 2])).tolist() == [0, 2]
