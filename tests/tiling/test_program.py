"""A program computes what its function does, bit by bit where no operation is replaced, in the memory it planned."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from scratchnet.tiling.program import ELEMENTS, record
from scratchnet.tiling.recorder import Mask
from scratchnet.tiling.tiles import run

INF, NAN = math.inf, math.nan
SPECIAL = (0.0, -0.0, INF, -INF, NAN, -NAN, 1.0, -1.0, 1e-40, 3.0)


def select(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(x > 0, a, b)


def keep(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(x > 0, a, 0)


def drop(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(x > 0, 0, a)


def unless(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(~(x > 0), a, b)


def fill(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return a.masked_fill(x >= 1, -2.5)


def negative_zero(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(x > 0, a, -0.0)


def between(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    x = torch.where(x < -0.5, -0.5, x)
    return torch.where(x >= 2, 2, x)


def the_other_way_round(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    x = torch.where(x > -0.5, -0.5, x)
    return torch.where(x <= 2, 2, x)


def steeper(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.5 * x) + torch.where(x > 0, x, 1.5 * x) + torch.where(a > 0, x, 0.5 * x)


def both(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where((x > -1) & ~(x >= 1), a, b)


def either(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where((x <= -1) | (x != x), a, b)


def of_a_number(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(x < 0, 1.5, (x > 0).to(x.dtype))


def arithmetic(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    y = torch.exp(-torch.abs(x)) / (2 + a * a)
    return torch.addcmul(y, x.clamp(-1, 1), 1 - y, value=3) - (x.clamp(min=0) ** 2).mul_(0.5).add_(b, alpha=2)


def the_same_twice(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.sqrt(torch.exp(a)) + torch.exp(a)


def its_input(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return a


RECORDED = [
    select, keep, drop, unless, fill, negative_zero, between, the_other_way_round, steeper, both, either, of_a_number,
    arithmetic, the_same_twice, its_input
]  # fmt: skip


def operands(dtype: torch.dtype) -> list[Tensor]:
    values = torch.tensor(SPECIAL, dtype=dtype)
    grids = torch.meshgrid(values, values, values, indexing="ij")
    return [grid.reshape(-1) for grid in grids]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("function", RECORDED)
def test_a_program_computes_what_its_function_does(function, dtype):
    tensors = operands(dtype)
    before = [t.clone() for t in tensors]
    output = torch.empty_like(tensors[0])
    run(record(function, (ELEMENTS,) * 3, (dtype,) * 3, ()), tensors, output)
    expected = function(*tensors)
    torch.testing.assert_close(output, expected, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(output.signbit() | output.isnan(), expected.signbit() | expected.isnan())
    for now, then in zip(tensors, before, strict=True):
        torch.testing.assert_close(now, then, rtol=0, atol=0, equal_nan=True)


def test_equal_operations_are_made_once_and_memory_is_used_again():
    program = record(the_same_twice, (ELEMENTS,) * 3, (torch.float32,) * 3, ())
    assert [s.function for s in program.steps] == [torch.exp, torch.sqrt, torch.add]
    assert len(program.registers) == 2
    chain = record(lambda x: 1 / (1 + torch.exp(-x)), (ELEMENTS,), (torch.float32,), ())
    assert len(chain.registers) == 1
    assert len(chain.steps) == 4


def test_selections_that_are_extremes_take_one_step():
    def functions(function):
        return [s.function for s in record(function, (ELEMENTS,) * 3, (torch.float32,) * 3, ()).steps]

    assert functions(between) == [torch.clamp]
    assert functions(the_other_way_round) == [torch.clamp] * 2
    assert functions(steeper).count(torch.maximum) == 1


def power(x: Tensor, *, exponent: float) -> Tensor:
    return x**exponent


def test_options_make_programs_of_their_own():
    x = torch.tensor([2.0, 3.0])
    for exponent in (2.0, 3.0):
        output = torch.empty(2)
        run(record(power, (ELEMENTS,), (torch.float32,), (("exponent", exponent),)), [x], output)
        assert torch.equal(output, x**exponent)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.cumsum(0),
        lambda x: x + x.sum(),
        lambda x: torch.where(x.bool(), x, 0),
        lambda x: x.view(torch.int32).view(torch.float32),
        lambda x: x.clamp(min=x),
        lambda x: (x > 0) * x,
    ],
)
def test_what_no_step_can_do_has_no_program(function):
    assert record(function, (ELEMENTS,), (torch.float32,), ()) is None


def test_a_wrong_selection_is_caught(monkeypatch):
    monkeypatch.setattr(Mask, "negated", property(lambda mask: False))
    record.cache_clear()
    with pytest.raises(AssertionError):
        test_a_program_computes_what_its_function_does(unless, torch.float32)
    record.cache_clear()
