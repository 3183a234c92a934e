"""What differs by convention is a note, and a failure where it is asked for; mistakes at special values fail always."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import Function

from scratchnet.testing import compare
from scratchnet.testing.checks import ALWAYS, CHECKS


class ReLU(Function):
    """Has the slope 1 at zero."""

    SLOPE = 1.0

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @classmethod
    def backward(cls, ctx, grad):
        (x,) = ctx.saved_tensors
        return torch.where(x == 0, cls.SLOPE * grad, grad * (x > 0))


class ReLUWithAnySlope(ReLU):
    SLOPE = 1.5


class HardTanh(Function):
    """Passes the gradient at its bounds."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(-1, 1)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (x.abs() <= 1)


class Largest(Function):
    """Shares the gradient between equal maxima, which `max` along a dimension gives to one of them."""

    @staticmethod
    def forward(ctx, x):
        y = x.amax(-1, keepdim=True)
        ctx.save_for_backward(x == y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (hit,) = ctx.saved_tensors
        return grad * hit / hit.sum(-1, keepdim=True)


class LargestInFull(Largest):
    """Gives the whole gradient to each of equal maxima."""

    @staticmethod
    def backward(ctx, grad):
        (hit,) = ctx.saved_tensors
        return grad * hit


class SpreadsNaN(Function):
    @staticmethod
    def forward(ctx, x):
        return x.exp() + (1.0 if bool(x.isnan().any()) else 0.0)

    backward = staticmethod(lambda ctx, grad: grad)


class Norm(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.norm()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * x / x.norm()


def first_of_largest(x):
    return x.max(-1, keepdim=True).values


def step(x):
    return torch.where(x >= 0, 1.0, 0.0).to(x.dtype) + 0 * x


def heaviside(x):
    return torch.where(x > 0, 1.0, 0.0).to(x.dtype) + 0 * x


def special(custom, builtin, dtype, **asked):
    x = torch.randn(3, 4, dtype=dtype, generator=torch.Generator().manual_seed(0))
    off = dict.fromkeys(set(CHECKS) - {*ALWAYS, "special_values", "empty"}, False)
    return compare(custom, builtin, x, thorough=True, **{**off, **asked})


TASTE = {
    "slope at a kink": (ReLU.apply, F.relu, "zeros in input: gradient of input"),
    "slope at a bound": (HardTanh.apply, F.hardtanh, "ones in input: gradient of input"),
    "shared tie": (Largest.apply, first_of_largest, "ties in input: gradient of input"),
    "value at a jump": (step, heaviside, "zeros in input: output"),
    "NaN lost": (lambda x: x.nan_to_num(), lambda x: x * 1.0, "NaN in input: output"),
    "infinity times zero": (lambda x: x * (x > 0), F.relu, "minus infinity in input: output"),
    "no value": (lambda x: x * 1.0, lambda x: x + torch.where(x == 0, torch.nan, 0.0), "zeros in input: output"),
}


@pytest.mark.parametrize("kind", TASTE)
def test_a_matter_of_taste_is_a_note_and_fails_only_if_asked_for(kind):
    custom, builtin, quantity = TASTE[kind]
    assert special(custom, builtin, torch.float32).ok
    found = special(custom, builtin, torch.float64)
    assert found.ok, str(found)
    assert "; by another convention: special values" in found.headline
    (row,) = [row for row in found.rows if row.quantity == quantity]
    assert row.verdict == "convention"
    assert "a failure with special_values=True" in row.note
    assert quantity in {
        row.quantity for row in special(custom, builtin, torch.float64, special_values=True).failures
    }


MISTAKES = {
    "tie in full": (LargestInFull.apply, lambda x: x.amax(-1, keepdim=True), "ties in input: gradient of input"),
    "tie in full beside the first's": (LargestInFull.apply, first_of_largest, "ties in input: gradient of input"),
    "slope outside": (ReLUWithAnySlope.apply, F.relu, "zeros in input: gradient of input"),
    "division by zero": (Norm.apply, torch.norm, "zeros in input: gradient of input"),
    "other elements beside NaN": (SpreadsNaN.apply, torch.exp, "NaN in input: output"),
    "overflow": (lambda x: x.exp().log(), lambda x: x * 1.0, "a large number in input: output"),
    "cancellation": (
        lambda x: x.square().mean() - x.mean() ** 2,
        lambda x: x.var(correction=0),
        "an offset in input: output",
    ),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_at_special_values_fails(kind):
    custom, builtin, quantity = MISTAKES[kind]
    assert quantity in {row.quantity for row in special(custom, builtin, torch.float64).failures}


def test_no_elements_without_a_value_are_a_matter_of_taste():
    x = torch.randn(3, dtype=torch.float64)

    def mean_or_zero(x):
        return x.mean() if x.numel() else x.sum()

    found = special(mean_or_zero, torch.mean, torch.float64)
    assert found.ok, str(found)
    assert "by another convention: empty" in found.headline
    assert not compare(mean_or_zero, torch.mean, x, empty=True).ok
