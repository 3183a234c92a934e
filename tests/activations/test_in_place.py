"""Activations that overwrite their input."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from scratchnet import functional
from scratchnet.testing.saved_memory import saving

OPS = {
    "relu": {},
    "leaky_relu": {},
    "rrelu": {},
    "elu": {"alpha": 0.5},
    "celu": {"alpha": 2.0},
    "selu": {},
    "threshold": {"threshold": 0.5, "value": 2.0},
    "hardtanh": {},
    "relu6": {},
    "hardsigmoid": {},
    "hardswish": {},
    "silu": {},
    "mish": {},
}
UNDERSCORED = ["relu_", "leaky_relu_", "rrelu_", "elu_", "celu_", "selu_", "threshold_", "hardtanh_"]
FORMS = [
    *(pytest.param(name, {**options, "inplace": True}, id=name) for name, options in OPS.items()),
    *(pytest.param(name, OPS[name.removesuffix("_")], id=name) for name in UNDERSCORED),
    pytest.param("rrelu", {"training": True, "inplace": True}, id="rrelu in training"),
]
every_form = pytest.mark.parametrize(("name", "options"), FORMS)


@every_form
def test_it_overwrites_the_input_and_keeps_its_gradient(name, options):
    results = []
    for module in (functional, F):
        leaf = torch.tensor([-1.0, 0.0, 0.5, 2.0], dtype=torch.float64, requires_grad=True)
        x = leaf * 3
        torch.manual_seed(0)
        y = getattr(module, name)(x, **options)
        assert y is x
        (grad,) = torch.autograd.grad(y, leaf, torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64))
        results.append((x.detach(), grad))
    torch.testing.assert_close(
        results[0], results[1], rtol=1e-7, atol=0
    )  # torch has hardsigmoid's sixth in float32


@every_form
def test_without_recording_it_overwrites_even_a_leaf(name, options):
    leaf = torch.tensor([-1.0, 2.0], requires_grad=True)
    expected = leaf.detach().clone()
    torch.manual_seed(0)
    getattr(F, name)(expected, **options)
    torch.manual_seed(0)
    with torch.no_grad():
        assert getattr(functional, name)(leaf, **options) is leaf
    torch.testing.assert_close(leaf.detach(), expected)
    assert leaf.is_leaf


@every_form
def test_a_leaf_that_records_is_refused(name, options):
    leaf = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="in-place"):
        getattr(functional, name)(leaf, **options)
    assert leaf.tolist() == [1.0, 1.0]


@every_form
def test_shared_memory_is_refused(name, options):
    with pytest.raises(RuntimeError, match="single memory location"):
        getattr(functional, name)(torch.ones(1).expand(3), **options)


@every_form
def test_a_tensor_that_another_op_still_needs_is_noticed(name, options):
    leaf = torch.ones(2, requires_grad=True)
    x = leaf * 1
    square = x * x
    getattr(functional, name)(x, **options)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        square.sum().backward()


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "celu", "selu", "rrelu"])
def test_what_the_output_tells_needs_no_copy_of_the_input(name):
    x = torch.randn(6, requires_grad=True) * 1
    with saving() as kept:
        y = getattr(functional, name)(x, inplace=True)
    assert kept.beyond([]) == y.numel() * 4
    assert kept.beyond([y]) == 0


@every_form
def test_part_of_a_tensor_is_overwritten_and_the_rest_keeps_its_gradient(name, options):
    results = []
    for module in (functional, F):
        leaf = torch.linspace(-2, 2, 6, dtype=torch.float64, requires_grad=True)
        x = leaf * 3
        torch.manual_seed(0)
        getattr(module, name)(x[2:], **options)
        results.append((x.detach(), *torch.autograd.grad(x, leaf, torch.arange(6.0, dtype=torch.float64))))
    torch.testing.assert_close(
        results[0], results[1], rtol=1e-7, atol=0
    )  # torch has hardsigmoid's sixth in float32


@pytest.mark.parametrize("name", ["relu", "relu6", "hardtanh", "threshold"])
def test_integers_are_overwritten_as_integers(name):
    options = {"threshold": 1.5, "value": 0.5} if name == "threshold" else {}
    x = torch.tensor([-3, 1, 2, 9])
    expected = getattr(F, name)(x, **options)
    assert torch.equal(getattr(functional, name)(x, **options), expected)
    assert getattr(functional, name)(x, **options, inplace=True) is x
    assert torch.equal(x, expected)


@pytest.mark.parametrize(
    "function",
    [
        partial(functional.elu, alpha=-0.5),
        partial(functional.celu, alpha=-0.5),
        partial(functional.leaky_relu, negative_slope=-0.5),
    ],
    ids=["elu", "celu", "leaky_relu"],
)
def test_where_pytorch_refuses_a_negative_slope_in_place_the_gradient_is_right(function):
    leaf = torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(function(leaf).sum(), leaf)
    (grad,) = torch.autograd.grad(function(leaf * 1, inplace=True).sum(), leaf)
    assert torch.equal(grad, expected)
