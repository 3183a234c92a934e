"""Each check that `compare` makes on request: one wrong function that it alone must catch, and its correct twin."""

from __future__ import annotations

import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from scratchnet.testing import compare
from scratchnet.testing.checks import CHECKS, DEFAULT
from scratchnet.testing.fresh_memory import FreshMemoryIsNaN


class Cube(torch.autograd.Function):
    """x³ in PyTorch's own protocol, without fault."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x * x * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * 3 * x * x

    @staticmethod
    def jvp(ctx, tangent):
        (x,) = ctx.saved_tensors
        return tangent * 3 * x * x


class Slope(torch.autograd.Function):
    """3·x² with the derivative 6·x taken for a constant."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return 3 * x * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * 6 * x.detach()

    @staticmethod
    def jvp(ctx, tangent):
        (x,) = ctx.saved_tensors
        return tangent * 5 * x


class ThirdIsConstant(Cube):
    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * Slope.apply(x)


class OverwritesSaved(Cube):
    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        result = grad * 3 * x * x
        if not torch.is_grad_enabled():
            x.data.mul_(2)
        return result


class KeepsOutputOnContext(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.y = torch.exp(x)
        return ctx.y

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.y


class RemembersOnTheClass(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        RemembersOnTheClass.x = x
        return x * x * x

    @staticmethod
    def backward(ctx, grad):
        return grad * 3 * RemembersOnTheClass.x**2


class Grows(Cube):
    kept: list[Tensor] = []

    @staticmethod
    def forward(x):
        Grows.kept.append(x.detach().clone())
        return x * x * x


class Changing(Cube):
    calls = 0

    @staticmethod
    def forward(x):
        Changing.calls += 1
        return x * x * x * (1 + Changing.calls * 1e-15)


def leaves_a_hole(x):
    fresh = torch.empty_like(x)
    fresh[..., :-1] = x[..., :-1]
    return fresh + (x - x.detach()) if bool(fresh.isnan().any()) else x * 1.0


class AssumesBothBatched(torch.autograd.Function):
    @staticmethod
    def forward(x, y):
        return x * y

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return grad * y, grad * x

    @staticmethod
    def vmap(info, in_dims, x, y):
        both = x.movedim(in_dims[0] or 0, 0), y.movedim(in_dims[1] or 0, 0)
        return torch.stack([a * b for a, b in zip(*both, strict=False)]), 0


class NeedsBoth(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return (grad * y, grad * x) if all(ctx.needs_input_grad) else (grad, grad)


def outside_autocast(x):
    with torch.autocast("cpu", enabled=False):
        return x @ x.T


def inexact_when_short(x):
    return x * x * (1 if x.dtype is torch.float64 else 1.1)


def same(x):
    return x * x * x


def first_row_of_memory(x):
    rows = torch.as_strided(x.detach(), x.shape, (x.shape[-1], 1))
    return x + (rows - x).detach()


FAULTS = {
    "no_grad": (lambda x: x * (1 if torch.is_grad_enabled() else 2), lambda x: x * 1.0),
    "each_alone": (NeedsBoth.apply, torch.mul),
    "third_derivative": (ThirdIsConstant.apply, same),
    "forward_over_reverse": (ThirdIsConstant.apply, same),
    "vmap_each": (AssumesBothBatched.apply, torch.mul),
    "compile": (lambda x: same(x) + torch.compiler.is_compiling(), same),
    "autocast": (outside_autocast, lambda x: x @ x.T),
    "dtypes": (inexact_when_short, torch.square),
    "special_values": (lambda x: x * (x >= 0), F.relu),
    "empty": (lambda x: x.mean() if x.numel() else x.sum(), torch.mean),
    "strided": (first_row_of_memory, lambda x: x * 1.0),
    "saved_unchanged": (OverwritesSaved.apply, same),
    "fresh_memory": (leaves_a_hole, lambda x: x * 1.0),
    "deterministic": (Changing.apply, same),
    "threads": (RemembersOnTheClass.apply, same),
    "leaks": (Grows.apply, same),
}
ONLY = dict.fromkeys(("no_grad", "double_backward", "forward_mode", "vmap"), False)


@pytest.fixture
def x():
    return torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("check", FAULTS)
def test_a_check_catches_its_fault_and_says_who_found_it(check, x):
    custom, builtin = FAULTS[check]
    inputs = (x, x + 1) if check in ("vmap_each", "each_alone") else (x,)
    # What changes with every call cannot be told apart from a difference, but is close enough to pass for one.
    assert compare(custom, builtin, *inputs, **ONLY).ok or check == "saved_unchanged"
    result = compare(custom, builtin, *inputs, **{**ONLY, check: True if check != "compile" else "eager"})
    assert check in {row.check for row in result.failures}, str(result)
    assert compare(builtin, builtin, *inputs, **{**ONLY, check: True if check != "compile" else "eager"}).ok


@pytest.mark.parametrize("fault", [KeepsOutputOnContext, Grows])
def test_what_is_never_given_back_is_found(fault, x):
    builtin = torch.exp if fault is KeepsOutputOnContext else same
    (row,) = compare(fault.apply, builtin, x, **ONLY, leaks=True).failures
    assert row.quantity == "nothing leaks"
    assert ("cycle" in row.note) == (fault is KeepsOutputOnContext)


def test_bytes_kept_for_the_backward_are_counted_on_both_sides(x):
    def masked(x):
        return torch.where(x > 0, x, 0.0)

    result = compare(masked, F.relu, x, **ONLY, memory=True)
    assert result.saved == (x.numel(), 0)
    assert "kept for the backward pass: 12 bytes, by the built-in 0" in str(result)


def test_fresh_memory_holds_nan_and_the_largest_integer():
    with FreshMemoryIsNaN():
        assert torch.empty(2).isnan().all()
        assert torch.zeros(2).new_empty(3).isnan().all()
        assert torch.empty_like(torch.zeros(2)).isnan().all()
        assert torch.empty_strided((2,), (1,)).isnan().all()
        assert torch.empty(1, dtype=torch.int8).item() == 127
        assert torch.zeros(2).eq(0).all()


def test_every_check_has_a_fault_here_or_is_on_by_default():
    assert set(CHECKS) - set(FAULTS) == {*DEFAULT, "memory"} - {"no_grad"}


def test_thorough_finds_no_fault_in_the_twin(x):
    result = compare(torch.tanh, torch.tanh, x, thorough=True, compile="eager")
    assert result.ok
    assert {row.check for row in result.rows} >= set(CHECKS) - {"memory", "vmap_each", "each_alone", "opcheck"}


def test_two_threads_are_left_out_where_triton_interprets(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    found = compare(torch.sin, torch.sin, torch.randn(3), threads=True)
    (row,) = [row for row in found.rows if row.check == "threads"]
    assert row.verdict == "not compared"
    assert "one thread at a time" in row.note
