"""Formulas with reductions come out of tiles of whole rows as out of the plain form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from scratchnet import functional
from scratchnet.tiling import program, rows
from scratchnet.tiling.rows import tile_rows

INF, NAN = math.inf, math.nan
SPECIAL = (0.0, -0.0, INF, -INF, NAN, 1.0, -1.0, 1e-40, 3.0)


def shares(x: Tensor, weight: Tensor, column: Tensor, *, dim: int) -> Tensor:
    e = torch.exp(x - x.amax(dim, keepdim=True))
    return e / e.sum(dim, keepdim=True)


def moments(x: Tensor, weight: Tensor, column: Tensor, *, dim: int) -> tuple[Tensor | None, ...]:
    mean = x.mean(dim, keepdim=True)
    centered = x - mean
    scale = (centered * centered).mean(dim, keepdim=True).add_(1e-5).rsqrt()
    return centered * scale * weight, None, (mean, scale, x)


def sums(x: Tensor, weight: Tensor, column: Tensor, *, dim: int) -> tuple[Tensor, ...]:
    product = x * (column + x.sum(dim, keepdim=True))
    others = tuple(d for d in range(x.dim()) if d != dim % x.dim()) or dim
    return product.sum(others, keepdim=True), x.sum(0), product, (weight * x).sum(dim, keepdim=True)


def selection(x: Tensor, weight: Tensor, column: Tensor, *, dim: int) -> tuple[Tensor, Tensor]:
    largest = x.amax(dim, keepdim=True)
    finite = torch.where(largest.abs() == INF, 0.0, largest)
    return torch.where(x > finite, weight, x - column), (x >= largest).to(x.dtype).sum(dim, keepdim=True)


def outer(x: Tensor, weight: Tensor, column: Tensor, *, dim: int) -> tuple[Tensor, Tensor]:
    return (x - x.amin(dim, keepdim=True).detach()).abs().sum(dim, keepdim=True), weight * 2


def early(x: Tensor, weight: Tensor, column: Tensor, *, dim: int) -> tuple[Tensor, Tensor]:
    e = torch.exp(x)
    first = x * weight
    return first, e * first.sum(dim, keepdim=True)


def narrow(x: Tensor, weight: Tensor, column: Tensor, *, dim: int) -> tuple[Tensor, ...]:
    return x * column, column.sum(dim, keepdim=True)


def thin(x: Tensor, weight: Tensor, column: Tensor, *, dim: int) -> tuple[Tensor, ...]:
    return x * torch.exp(column).sum(dim, keepdim=True), torch.log(column).mean(dim, keepdim=True) + 1


FORMULAS = [shares, moments, sums, selection, outer, early, narrow, thin]
LAYOUTS = {
    "dense": lambda x: x,
    "transposed": lambda x: x.permute(2, 1, 0),
    "sliced": lambda x: x[:, ::2],
    "expanded": lambda x: x[:1].expand(6, 7, 5),
    "one row": lambda x: x[:1, :1],
    "one column": lambda x: x[..., :1],
    "vector": lambda x: x[0, :, 0],
}


def operands(layout: str, dtype: torch.dtype, dim: int, special: bool = False) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    dense = torch.randn(6, 7, 5, generator=generator, dtype=dtype)
    if special:
        dense.view(-1)[::9] = torch.tensor(SPECIAL, dtype=dtype).repeat(3)[:24]
    x = LAYOUTS[layout](dense)
    column = torch.randn(x.shape, generator=generator, dtype=dtype).amax(dim, keepdim=True)
    return [x, torch.randn(x.shape[-1:], generator=generator, dtype=dtype), column]


def flat(result: object) -> list[Tensor]:
    if isinstance(result, tuple):
        return [t for part in result for t in flat(part)]
    return [] if result is None else [result]


@pytest.fixture(params=[1, 100, 2**20], ids=lambda size: f"{size} elements")
def tiled(request, monkeypatch):
    monkeypatch.setattr(rows, "SMALL", 0)
    monkeypatch.setattr(rows, "PER_THREAD", request.param)
    monkeypatch.setattr(rows, "RUN", 1)


@pytest.mark.parametrize("special", [False, True], ids=["finite", "special"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("formula", FORMULAS)
def test_formulas_come_out_of_tiles_as_out_of_the_plain_form(formula, layout, dtype, special, tiled):
    for dim in range(-LAYOUTS[layout](torch.empty(6, 7, 5)).dim(), 0):
        tensors = operands(layout, dtype, dim, special)
        before = [t.clone() for t in tensors]
        result, expected = tile_rows(formula, *tensors, dim=dim), formula(*tensors, dim=dim)
        assert result is not NotImplemented
        for a, b in zip(flat(result), flat(expected), strict=True):
            torch.testing.assert_close(a, b, equal_nan=True)
            assert a.is_contiguous() or a is tensors[0]
        for now, then in zip(tensors, before, strict=True):
            torch.testing.assert_close(now, then, rtol=0, atol=0, equal_nan=True)


def test_a_lost_tile_is_caught(monkeypatch):
    monkeypatch.setattr(rows, "SMALL", 0)
    monkeypatch.setattr(rows, "PER_THREAD", 100)
    monkeypatch.setattr(rows, "RUN", 1)
    whole = rows._tiles
    monkeypatch.setattr(rows, "_tiles", lambda *arguments: list(whole(*arguments))[:-1])
    for formula in (moments, sums):
        tensors = operands("dense", torch.float32, -1)
        result, expected = tile_rows(formula, *tensors, dim=-1), formula(*tensors, dim=-1)
        assert not all(map(torch.allclose, flat(result), flat(expected)))


def test_a_row_longer_than_the_cache_stays_whole(monkeypatch):
    monkeypatch.setattr(rows, "PER_THREAD", 1000)
    x = torch.randn(2, 70000)
    torch.testing.assert_close(tile_rows(shares, x, None, None, dim=-1), x.softmax(-1))


def test_what_is_returned_as_it_came_is_the_tensor_itself(monkeypatch):
    monkeypatch.setattr(rows, "SMALL", 0)
    x, weight, column = operands("dense", torch.float32, -1)
    output, nothing, (_, _, same) = tile_rows(moments, x, weight, column, dim=-1)
    assert same is x
    assert nothing is None
    (twice, again), _ = tile_rows(_twice, x)
    assert twice is again


def _twice(x: Tensor) -> tuple[tuple[Tensor, Tensor], None]:
    y = x - x.amax(0, keepdim=True)
    return (y, y), None


def test_tiles_have_no_short_runs(monkeypatch):
    monkeypatch.setattr(rows, "PER_THREAD", 100)
    shapes = [shape for shape, _ in rows._tiles([torch.empty(9, 600)], (9, 600), (-1,), 100)]
    assert shapes == [(9, 256), (9, 256), (9, 88)]
    shapes = [shape for shape, _ in rows._tiles([torch.empty(9, 70, 10)], (9, 70, 10), (-2, -1), 100)]
    assert shapes == [(9, 26, 10)] * 2 + [(9, 18, 10)]


def scaled(x: Tensor, column: Tensor, scale: Tensor) -> Tensor:
    return (x - column) * scale


def test_tiles_are_cut_first_along_what_all_tensors_have():
    given = tuple((shape, torch.float32, Tensor, True) for shape in ((8, 40, 300), (40, 1), (300,)))
    assert rows._plan(scaled, given, (), ()).cuts == (-2, -1, -3)
    assert rows._plan(sums, given, (), (("dim", -1),)).cuts == (-3, -2)


def test_sums_over_many_tiles_keep_their_digits(monkeypatch):
    monkeypatch.setattr(rows, "PER_THREAD", 64)
    x = torch.rand(100_000, 4) + 1
    _, total, *_ = tile_rows(sums, x, x[0], x[:, :1], dim=-1)
    torch.testing.assert_close(total.double(), x.double().sum(0), rtol=2e-7, atol=0)


def test_a_program_uses_the_memory_of_its_outputs_again():
    made = program.record(shares, ((2, 2), None, None), (torch.float32, None, None), (("dim", -1),))
    assert [s.function for s in made.steps] == [torch.amax, torch.sub, torch.exp, torch.sum, torch.div]
    assert made.registers == ((2, 2), (2, 1))
    assert made.whole == {-1}
    assert made.added == (frozenset(),)
    made = program.record(sums, ((2, 2), (2,), (2, 1)), (torch.float32,) * 3, (("dim", -1),))
    assert made.whole == {-1}
    assert made.added == ({-2}, {-2}, set(), set())
    assert made.outputs == 4


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x - x.sum(1),
        lambda x: x / x.sum(),
        lambda x: x / x.sum(0, dtype=torch.float64),
        lambda x: x.cumsum(0),
        lambda x: x - x.median(),
        lambda x: x.reshape(-1),
        lambda x: x.sum(0).unsqueeze(1) * x,
        lambda x: x.t() + x,
    ],
)
def test_what_no_step_can_do_is_left_to_the_plain_form(function, monkeypatch):
    monkeypatch.setattr(rows, "SMALL", 0)
    assert tile_rows(function, torch.randn(4, 4)) is NotImplemented


def test_tensors_that_have_no_tiles_are_left_to_the_plain_form(monkeypatch):
    monkeypatch.setattr(rows, "SMALL", 0)
    x = torch.randn(4, 5)
    for tensors in (
        [x[:0]],
        [x.bfloat16()],
        [x.to("meta")],
        [x, x.double()],
        [x[:1], x[:, :1]],
        [x.as_subclass(type("Mine", (Tensor,), {}))],
    ):
        assert tile_rows(_total, *tensors) is NotImplemented
    assert tile_rows(_total, x[0, 0]).shape == ()


def _total(*tensors: Tensor) -> Tensor:
    return tensors[0] + tensors[-1]


def labelled(x: Tensor, labels: Tensor, column: Tensor, without: Tensor) -> tuple[Tensor, ...]:
    y = (x - column).scatter_add(1, labels, column)
    return y.masked_fill(without, 0), y, torch.where(without | ~(x > 0), column, x)


def test_indices_and_masks_take_part(tiled):
    for x in (torch.randn(6, 7, 5), torch.randn(6, 5, 7).mT, torch.full((6, 7, 5), NAN)):
        labels, without = torch.randint(7, (6, 1, 5)), torch.rand(6, 1, 5) < 0.3
        tensors = x, labels, torch.randn(6, 1, 5), without
        result = tile_rows(labelled, *tensors)
        assert result is not NotImplemented
        for a, b in zip(result, labelled(*tensors), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
    assert tile_rows(lambda x, i: x * i, x, labels) is NotImplemented
    assert tile_rows(lambda x, i: torch.where(i == 0, x, 0), x, labels) is NotImplemented


def cross_entropy(x, dim):
    target = torch.arange(x.shape[0] * x.shape[2]).view(x.shape[0], x.shape[2]) % x.shape[1]
    return functional.cross_entropy(x, target, reduction="none")


def ignoring(x, dim):
    target = torch.arange(x.shape[0] * x.shape[2]).view(x.shape[0], x.shape[2]) % x.shape[1]
    weight = torch.linspace(0.5, 2, x.shape[1], dtype=x.dtype)
    return functional.cross_entropy(x, target, weight, ignore_index=2, label_smoothing=0.1)


OPS = [functional.softmax, functional.log_softmax, functional.softmin, cross_entropy, ignoring]


def outputs_and_gradient(function, x):
    leaf = x.detach().requires_grad_()
    y = function(leaf)
    grad = torch.randn(y.shape[::-1], generator=torch.Generator().manual_seed(0), dtype=y.dtype)
    grad = grad.permute(tuple(reversed(range(y.dim()))))
    return [y, *torch.autograd.grad(y, leaf, grad)]


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.__name__)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_ops_along_a_dimension_are_the_same_in_tiles(op, dtype, monkeypatch):
    dense = torch.randn(6, 7, 5, generator=torch.Generator().manual_seed(1)).to(dtype)
    for x in (dense, dense.permute(2, 1, 0), dense[::2], dense[:1], dense[:1].expand(6, 7, 5)):
        for dim in range(3):
            monkeypatch.setattr(rows, "SMALL", 2**20)
            plain = outputs_and_gradient(lambda x, dim=dim: op(x, dim), x)
            monkeypatch.setattr(rows, "SMALL", 0)
            monkeypatch.setattr(rows, "PER_THREAD", 8)
            monkeypatch.setattr(rows, "RUN", 1)
            tiled = outputs_and_gradient(lambda x, dim=dim: op(x, dim), x)
            for a, b in zip(tiled, plain, strict=True):
                torch.testing.assert_close(a, b)
                assert a.stride() == b.stride()


def late(x: Tensor, weight: Tensor, column: Tensor, *, dim: int) -> tuple[Tensor, Tensor]:
    e = torch.exp(x)
    return e, e.sum(dim, keepdim=True) / x


@pytest.mark.parametrize("formula", [shares, outer, early, late])
def test_outputs_may_take_the_memory_of_a_tensor(formula, tiled):
    x, weight, column = operands("dense", torch.float64, -1)
    expected = formula(x, weight, column, dim=-1)
    result = tile_rows(formula, x, weight, column, overwritten=(0,), dim=-1)
    torch.testing.assert_close(flat(result), flat(expected))
    if formula is shares:
        assert result.data_ptr() == x.data_ptr()
    if formula is late:  # x is read once more when the first output is there
        assert result[0].data_ptr() != x.data_ptr() == result[1].data_ptr()
