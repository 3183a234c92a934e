"""`check` knows no built-in: differences of the function's own values judge its derivatives."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from test_checks import Changing, Cube, Grows, OverwritesSaved, RemembersOnTheClass, Slope
from torch import nn

from scratchnet.testing import check, explain
from scratchnet.testing.differences import NotSmooth, complex_step, jacobian

QUICK = {"compile": False}


class SlightlyWrong(Cube):
    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * 3 * x * x * (1 + 1e-8)


class WrongTangent(Cube):
    @staticmethod
    def jvp(ctx, tangent):
        (x,) = ctx.saved_tensors
        return tangent * 2 * x * x


class IgnoresUpstream(Cube):
    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 3 * x * x


class Hole(Cube):
    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        fresh = torch.empty_like(x)
        fresh[:-1] = (grad * 3 * x * x)[:-1]
        if not fresh.isnan().any():
            fresh[-1:] = (grad * 3 * x * x)[-1:]
        return fresh


@pytest.fixture
def x():
    return torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("fault", "quantity"),
    [
        (SlightlyWrong, "gradient of input"),
        (IgnoresUpstream, "gradient of input"),
        (Slope, "double backward of input"),
        (Slope, "forward mode of output"),
        (WrongTangent, "forward mode of output"),
        (OverwritesSaved, "saved tensors unchanged"),
        (RemembersOnTheClass, "two calls at once"),
        (Grows, "nothing leaks"),
        (Changing, "repeated calls"),
        (Hole, "fresh buffers hold NaN: gradient of input"),
    ],
)
def test_a_wrong_function_is_caught_without_a_built_in(fault, quantity, x):
    result = check(fault.apply, x, **QUICK)
    assert quantity in [row.quantity for row in result.failures], str(result)


class Plain(torch.autograd.Function):
    """Offers a backward that can be differentiated, and nothing else."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 3 * grad * x * x


class Constant(Plain):
    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 3 * grad * x.detach() * x


def test_a_plain_function_is_judged_by_what_it_offers(x):
    result = check(Plain.apply, x, thorough=False)
    assert result.headline == (
        "equal: output, gradient, no grad, double backward; not offered: forward mode, vmap"
    )
    assert [row.quantity for row in check(Constant.apply, x, thorough=False).failures] == [
        "double backward of input"
    ]
    for keyword in ("forward_mode", "vmap"):
        assert [r.check for r in check(Plain.apply, x, thorough=False, **{keyword: True}).failures] == [keyword]


def test_needs_no_numpy():
    script = (
        "import sys; sys.modules['numpy'] = None\n"
        "import torch; from scratchnet.testing import check\n"
        "found = check(torch.sin, torch.ones(2), thorough=False)\n"
        "assert found.headline.startswith('equal: output, gradient'), found\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True)


@pytest.mark.parametrize(
    "function",
    [Cube.apply, torch.sin, torch.abs, lambda x: x.softmax(-1), lambda x: (x.exp(), x.sum()), nn.Linear(4, 2)],
)
def test_a_right_function_passes(function, x):
    result = check(function, x, **QUICK)
    assert result.ok, str(result)
    assert "not compared" not in result.headline


def test_what_it_calls_is_compiled_too(x):
    result = check(lambda x: x.sin() + torch.compiler.is_compiling(), x, compile="eager", thorough=False)
    assert [row.quantity for row in result.failures] == ["compiled output"]


def test_a_kink_is_neither_right_nor_wrong_and_is_named():
    result = check(torch.relu, torch.tensor([-1.0, 0.0, 1.0]), **QUICK)
    assert not result.ok
    assert not result.failures
    assert result.headline.startswith("no gradient could be compared; equal: output")
    (row,) = [row for row in result.rows if row.quantity == "gradient"]
    assert row.verdict == "not compared"
    assert "input 0[1]" in row.note


def test_differences_keep_ten_digits_and_the_complex_step_all():
    x = torch.tensor([0.5, -1.5, 30.0], dtype=torch.float64)

    def f(at):
        return (at[0] * at[0] / 10).sin()

    slope = torch.diag((x * x / 10).cos() * x / 5)
    (rough,) = jacobian(f, [x])
    torch.testing.assert_close(rough, slope, rtol=1e-9, atol=1e-9)
    (sharp,) = complex_step(f, [x], [rough])
    torch.testing.assert_close(sharp, slope, rtol=1e-14, atol=1e-14)
    assert complex_step(lambda at: at[0].abs(), [x], jacobian(lambda at: at[0].abs(), [x])) is None


def test_a_kink_a_little_way_off_spoils_nothing():
    x = torch.tensor([1e-3], dtype=torch.float64)
    torch.testing.assert_close(jacobian(lambda at: at[0].abs().sin(), [x])[0], x.cos()[None])
    with pytest.raises(NotSmooth, match=r"input 0\[0\]"):
        jacobian(lambda at: at[0].abs(), [0 * x])


class Product(torch.autograd.Function):
    factor = 1.0

    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @classmethod
    def backward(cls, ctx, grad):
        a, b = ctx.saved_tensors
        return grad * b * cls.factor, grad * a


class WrongProduct(Product):
    factor = 1.5


@pytest.mark.parametrize("kind", [tuple, list])
def test_tensors_in_a_sequence_are_derived_shrunk_and_written_out(kind, x):
    def of_pair(function):
        return lambda pair: function.apply(*pair)

    pair = kind([x, 2 * x])
    assert check(of_pair(Product), pair, thorough=False).ok
    found = check(of_pair(WrongProduct), pair, thorough=False)
    assert "gradient of input 0.0" in {row.quantity for row in found.failures}
    said = explain(found)
    assert "smallest input that shows it: (1, 1), (1, 1)" in said
    assert "input0_0 = torch.tensor(" in said
    assert (
        "check(custom, (input0_0, input0_1, ))" if kind is tuple else "check(custom, [input0_0, input0_1])"
    ) in said
