"""Right Functions that offer no more than a backward are not called wrong, and what they lack is named."""

from __future__ import annotations

import pytest
import torch
from ordinary import ORDINARY

from scratchnet.testing import assert_gradients_match, check, compare, explain
from scratchnet.testing.subject import continuous, mapped

WIDE = {torch.float32: torch.complex64, torch.float64: torch.complex128}


DTYPES = [torch.float64, torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.slow)]
DERIVABLE = [name for name, ordinary in ORDINARY.items() if ordinary.gradient_of is None]


def inputs_of(ordinary, dtype, seed=0):
    def convert(x):
        return x.detach().to(WIDE[dtype] if x.is_complex() else dtype).requires_grad_(x.requires_grad)

    made = ordinary.inputs(torch.Generator().manual_seed(seed))
    return mapped(lambda x: convert(x) if continuous(x) else x, made)


def called(ordinary):
    return ordinary.custom, ordinary.builtin


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ORDINARY)
def test_a_right_function_is_not_flagged(name, dtype):
    ordinary = ORDINARY[name]
    dtype = dtype if ordinary.short else torch.float64
    result = compare(*called(ordinary), *inputs_of(ordinary, dtype), gradient_of=ordinary.gradient_of)
    assert result.ok, str(result)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ORDINARY)
def test_a_right_function_passes_every_check(name, dtype):
    ordinary = ORDINARY[name]
    for seed in range(3):
        inputs = inputs_of(ordinary, dtype if ordinary.short else torch.float64, seed)
        options = {"seed": seed, "compile": None if seed == 0 else False, "gradient_of": ordinary.gradient_of}
        assert_gradients_match(*called(ordinary), *inputs, **options)


@pytest.mark.parametrize(
    "thorough", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["usual", "thorough"]
)
@pytest.mark.parametrize("name", DERIVABLE)
def test_a_right_function_passes_without_a_built_in(name, thorough):
    ordinary = ORDINARY[name]
    result = check(ordinary.custom, *inputs_of(ordinary, torch.float64), thorough=thorough)
    assert result.ok, str(result)


def test_there_are_enough_of_them():
    assert len(ORDINARY) >= 100


def test_what_is_not_offered_is_named_with_what_would_add_it():
    x = torch.randn(4, 3, dtype=torch.float64)
    once = compare(ORDINARY["TanhOnce"].custom, torch.tanh, x)
    assert once.headline == "equal: output, gradient, no grad; not offered: double backward, forward mode, vmap"
    notes = {row.quantity: row.note for row in once.rows if row.verdict == "not offered"}
    assert "once_differentiable" in notes["double backward"]
    assert "jvp(ctx, *tangents)" in notes["forward mode"]
    assert "setup_context(ctx, inputs, output)" in notes["vmap"]


@pytest.mark.parametrize("keyword", ["forward_mode", "vmap", "double_backward"])
def test_what_is_asked_for_must_be_offered(keyword):
    x = torch.randn(4, 3, dtype=torch.float64)
    result = compare(ORDINARY["TanhOnce"].custom, torch.tanh, x, **{keyword: True})
    assert [row.check for row in result.failures] == [keyword]


def test_what_another_check_looks_at_is_not_asked_for():
    x = torch.randn(4, 3, dtype=torch.float64)
    result = compare(ORDINARY["TanhOnce"].custom, torch.tanh, x, dtypes=True)
    assert result.ok, str(result)
    assert result.headline.endswith("dtypes; not offered: double backward, forward mode, vmap")


def test_order_and_modes_choose_derivatives():
    x = torch.randn(4, dtype=torch.float64)
    first = compare(torch.exp, torch.exp, x, order=1, modes=("reverse",), vmap=False)
    assert first.headline == "equal: output, gradient, no grad"
    second = compare(torch.exp, torch.exp, x, order=2, modes=("reverse", "forward"), vmap=False)
    assert second.headline.endswith("double backward, forward mode, forward over reverse")
    assert not compare(ORDINARY["TanhOnce"].custom, torch.tanh, x, order=2).ok
    every = compare(torch.exp, torch.exp, x, order=1, thorough=True, compile=False)
    assert not {"double_backward", "third_derivative", "forward_over_reverse"} & {row.check for row in every.rows}
    with pytest.raises(ValueError, match="expected order 1 or 2, got 3"):
        compare(torch.exp, torch.exp, x, order=3)
    with pytest.raises(ValueError, match="expected modes of"):
        compare(torch.exp, torch.exp, x, modes="forward")


def test_a_tensor_by_keyword_is_differentiated():
    x, weight = torch.randn(3), torch.randn(3)
    wrong = compare(lambda x, *, weight: x * weight.detach(), lambda x, *, weight: x * weight, x, weight=weight)
    assert "gradient of weight" in [row.quantity for row in wrong.failures]


def test_a_complex_gradient_without_its_conjugate_is_wrong():
    z = torch.randn(3, dtype=torch.complex128)
    wrong = compare(lambda z: z * z.detach().conj(), lambda z: z * z.conj(), z)
    assert "gradient of input" in [row.quantity for row in wrong.failures]
    assert not check(lambda z: (z * z.detach().conj()).real, z, thorough=False).ok


def test_parameters_of_other_names_are_mapped():
    class Mine(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.randn(5, 3))

        def forward(self, x):
            return x @ self.w.T

    x = torch.randn(4, 3)
    assert compare(Mine(), torch.nn.Linear(3, 5, bias=False), x, map={"w": "weight"}).ok
    with pytest.raises(ValueError, match="map="):
        compare(Mine(), torch.nn.Linear(3, 5, bias=False), x)


def test_nothing_compared_is_not_said_to_agree():
    def only_float16(x):
        if x.dtype is not torch.float16:
            raise RuntimeError("expected float16")
        return x.exp()

    result = check(only_float16, torch.randn(3))
    assert not result.ok
    assert result.headline.startswith("nothing could be compared; not compared: output")


def test_later_faults_fold_under_the_first():
    with pytest.raises(AssertionError, match=r"(?s)1\. gradient of input.*what follows from it: double backward"):
        assert_gradients_match(lambda x: x.exp() * 2 - x.exp().detach(), torch.exp, torch.randn(3).double())


class Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, grad):
        return grad


def test_deliberate_gradients_are_those_of_the_function_that_is_named():
    x = torch.randn(4, 3)
    assert not compare(Round.apply, torch.round, x).ok
    assert compare(Round.apply, torch.round, x, gradient_of=lambda x: x).ok
    assert not compare(Round.apply, torch.round, x, gradient_of=torch.sin).ok
    assert "the gradient is not the derivative of forward" in explain(check(Round.apply, x, thorough=False))
