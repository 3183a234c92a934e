"""What activations do where they bend, and at NaN and infinity: one table, held against PyTorch and against ours."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import forward_ad

from scratchnet import functional

INF, NAN = math.inf, math.nan
SELU = 1.0507009873554805 * 1.6732632423543772

# op, options, point, value, slope. At a kink the slope is that of one side, never a mean of both.
TABLE = [
    ("relu", {}, 0.0, 0.0, 0.0),
    ("relu", {}, NAN, NAN, 1.0),
    ("leaky_relu", {"negative_slope": 0.1}, 0.0, 0.0, 0.1),
    ("leaky_relu", {"negative_slope": 0.1}, NAN, NAN, 0.1),
    ("rrelu", {"lower": 0.1, "upper": 0.3}, 0.0, 0.0, 0.2),
    ("rrelu", {"lower": 0.2, "upper": 0.2, "training": True}, 0.0, 0.0, 0.2),
    ("elu", {"alpha": 0.5}, 0.0, 0.0, 0.5),
    ("elu", {"alpha": 0.5}, -INF, -0.5, 0.0),
    ("elu", {"alpha": 0.5}, NAN, NAN, 1.0),
    ("celu", {"alpha": 0.5}, 0.0, 0.0, 1.0),
    ("celu", {"alpha": -1.0}, -INF, -INF, INF),
    ("selu", {}, 0.0, 0.0, SELU),
    ("selu", {}, -INF, -SELU, 0.0),
    ("relu6", {}, 0.0, 0.0, 0.0),
    ("relu6", {}, 6.0, 6.0, 0.0),
    ("hardtanh", {}, -1.0, -1.0, 0.0),
    ("hardtanh", {}, 1.0, 1.0, 0.0),
    ("hardtanh", {}, NAN, NAN, 1.0),
    ("hardsigmoid", {}, -3.0, 0.0, 0.0),
    ("hardsigmoid", {}, 3.0, 1.0, 0.0),
    ("hardsigmoid", {}, NAN, NAN, 0.0),
    ("hardswish", {}, -3.0, 0.0, 0.0),
    ("hardswish", {}, 3.0, 3.0, 1.0),
    ("hardswish", {}, NAN, NAN, 1.0),
    ("hardshrink", {}, -0.5, 0.0, 0.0),
    ("hardshrink", {}, 0.5, 0.0, 0.0),
    ("hardshrink", {"lambd": -1.0}, 0.0, 0.0, 1.0),
    ("hardshrink", {}, NAN, NAN, 1.0),
    ("softshrink", {}, -0.5, 0.0, 0.0),
    ("softshrink", {}, 0.5, 0.0, 0.0),
    ("softshrink", {"lambd": 0.0}, 0.0, 0.0, 0.0),
    ("softshrink", {}, NAN, NAN, 1.0),
    ("threshold", {"threshold": 1.0, "value": 5.0}, 1.0, 5.0, 0.0),
    ("threshold", {"threshold": 1.0, "value": 5.0}, NAN, NAN, 1.0),
    ("softplus", {"threshold": 1.0}, 1.0, math.log1p(math.e), 1 / (1 + math.exp(-1))),
    ("softplus", {}, -INF, 0.0, 0.0),
    ("softplus", {}, INF, INF, 1.0),
    ("logsigmoid", {}, -INF, -INF, 1.0),
    ("logsigmoid", {}, INF, 0.0, 0.0),
    ("softsign", {}, 0.0, 0.0, 1.0),
    ("tanhshrink", {}, -INF, -INF, 1.0),
]


def by_reverse(function, x, options):
    leaf = x.clone().requires_grad_()
    y = function(leaf, **options)
    return y.item(), torch.autograd.grad(y, leaf, torch.ones_like(y))[0].item()


def by_forward(function, x, options):
    with forward_ad.dual_level():
        y = forward_ad.unpack_dual(function(forward_ad.make_dual(x, torch.ones_like(x)), **options))
        return y.primal.item(), y.tangent.item()


@pytest.mark.parametrize(("name", "options", "point", "value", "slope"), TABLE)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_value_and_slope_are_those_of_the_table(name, options, point, value, slope, dtype):
    x = torch.tensor([point], dtype=dtype)
    ours, theirs = getattr(functional, name), getattr(torch.nn.functional, name)
    found = [by_reverse(ours, x, options), by_forward(ours, x, options), by_reverse(theirs, x, options)]
    tolerance = {torch.float64: 1e-7, torch.float32: 1e-6, torch.bfloat16: 1e-2}[dtype]
    for got in found:
        assert got == pytest.approx((value, slope), rel=tolerance, abs=tolerance, nan_ok=True)


@pytest.mark.parametrize(
    ("name", "options", "left", "right"),
    [
        ("hardswish", {}, (0.0, 0.0), (INF, 1.0)),
        ("softsign", {}, (-1.0, 0.0), (1.0, 0.0)),
        ("silu", {}, (0.0, 0.0), (INF, 1.0)),
        ("mish", {}, (0.0, 0.0), (INF, 1.0)),
        ("gelu", {}, (0.0, 0.0), (INF, 1.0)),
        ("gelu", {"approximate": "tanh"}, (0.0, 0.0), (INF, 1.0)),
        ("tanhshrink", {}, (-INF, 1.0), (INF, 1.0)),
        ("leaky_relu", {"negative_slope": 0.0}, (0.0, 0.0), (INF, 1.0)),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_infinity_has_the_limits_of_value_and_slope_in_both_modes(name, options, left, right, dtype):
    function = getattr(functional, name)
    for point, expected in ((-INF, left), (INF, right)):
        x = torch.tensor([point], dtype=dtype)
        assert by_reverse(function, x, options) == by_forward(function, x, options) == expected
        x.requires_grad_()
        (slope,) = torch.autograd.grad(function(x, **options), x, torch.ones_like(x), create_graph=True)
        assert slope.item() == expected[1]
        if slope.requires_grad:
            assert torch.autograd.grad(slope, x)[0].item() == 0


def test_the_slope_of_prelu_at_the_kink_is_the_left_one_in_both_modes():
    x, weight = torch.zeros(1), torch.tensor([0.25])

    def function(x):
        return functional.prelu(x, weight)

    assert by_reverse(function, x, {}) == by_forward(function, x, {}) == (0.0, 0.25)


@pytest.mark.parametrize(
    ("name", "options", "point"),
    [("elu", {}, 0.0), ("celu", {}, 0.0), ("selu", {}, 0.0), ("softsign", {}, 0.0), ("softplus", {}, 20.0)],
)
def test_the_second_derivative_at_a_kink_is_zero(name, options, point):
    for function in (getattr(functional, name), getattr(torch.nn.functional, name)):
        x = torch.tensor([point], dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(function(x, **options), x, create_graph=True)
        assert torch.autograd.grad(slope, x)[0].item() == 0.0


@pytest.mark.parametrize("name", ["elu_", "celu_", "selu_"])
def test_gradients_of_what_was_overwritten_are_differentiated_as_in_pytorch(name):
    found = []
    for functions in (functional, torch.nn.functional):
        x = torch.tensor([-1.0, 0.0, NAN, INF, -INF], dtype=torch.float64, requires_grad=True)
        upstream = torch.full((5,), 2.0, dtype=torch.float64, requires_grad=True)
        (grad,) = torch.autograd.grad(getattr(functions, name)(x.clone()), x, upstream, create_graph=True)
        found.append(torch.autograd.grad(grad, (x, upstream), torch.ones_like(x)))
    torch.testing.assert_close(*found, equal_nan=True)


@pytest.mark.parametrize(
    ("function", "composed"),
    [
        (functional.silu, lambda x: x * torch.sigmoid(x)),
        (functional.mish, lambda x: x * torch.tanh(torch.log1p(torch.exp(x)))),
        (functional.softplus, lambda x: torch.log1p(torch.exp(x))),
        (functional.logsigmoid, lambda x: -torch.log1p(torch.exp(-x))),
        (lambda x: functional.swiglu(x, 2 * x), lambda x: 2 * x * x * torch.sigmoid(2 * x)),
        (lambda x: functional.glu(torch.stack([x, -x]), 0)[0], lambda x: x * torch.sigmoid(-x)),
        (lambda x: functional.celu(-x.exp(), 2.0), lambda x: 2 * torch.expm1(-x.exp() / 2)),
    ],
)
def test_slopes_have_right_slopes_of_any_order(function, composed):
    x = torch.tensor([-3.0, -0.7, -1e-3, 0.0, 0.4, 5.0], dtype=torch.float64, requires_grad=True)
    found, expected = function(x), composed(x)
    for _ in range(4):
        found, expected = (torch.autograd.grad(y.sum(), x, create_graph=True)[0] for y in (found, expected))
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "options", "dead"),
    [
        ("relu", {}, -1.0),
        ("relu6", {}, 7.0),
        ("hardtanh", {}, 2.0),
        ("hardsigmoid", {}, -4.0),
        ("hardswish", {}, -4.0),
        ("hardshrink", {}, 0.1),
        ("softshrink", {}, 0.1),
        ("threshold", {"threshold": 0.0, "value": 1.0}, -1.0),
    ],
)
@pytest.mark.parametrize("upstream", [INF, NAN])
def test_a_flat_piece_sends_nothing_back_whatever_comes_from_above(name, options, dead, upstream):
    x = torch.tensor([dead, dead], requires_grad=True)
    (grad,) = torch.autograd.grad(getattr(functional, name)(x, **options), x, torch.tensor([upstream, 1.0]))
    assert grad.tolist() == [0.0, 0.0]
