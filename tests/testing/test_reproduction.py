"""Every script that `explain` prints runs, and shows what it is printed for."""

from __future__ import annotations

import dataclasses
import enum
import functools
import sys
import types
from typing import NamedTuple

import pytest
import torch
from scripts import expect_all_to_show_again, run, scripts
from test_checks import FAULTS, ONLY, Cube, Slope
from torch import nn

from scratchnet.testing import check, compare, explain
from scratchnet.testing.checks import CHECKS
from scratchnet.testing.expressions import tensor


@pytest.fixture
def x():
    return torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def overwrites(x):
    y = x * 1.0
    x.data.add_(1)
    return y


def raises(x):
    raise RuntimeError("no forward today")


class RaisesInBackward(Cube):
    @staticmethod
    def backward(ctx, grad):
        raise RuntimeError("no backward today")


class WrongTangent(Cube):
    @staticmethod
    def jvp(ctx, tangent):
        (x,) = ctx.saved_tensors
        return tangent * 2 * x * x


class MixesTheBatch(torch.autograd.Function):
    @staticmethod
    def forward(x):
        return x * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, grad):
        return grad * 2 * ctx.saved_tensors[0]

    @staticmethod
    def vmap(info, in_dims, x):
        return (x * x).flip(0), 0


@torch.library.custom_op("scratchnet_tests::misshapen_twice", mutates_args=())
def misshapen(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@misshapen.register_fake
def _(x):
    return x.new_empty(())


misshapen.register_autograd(lambda ctx, grad: grad * 2)


def cube(x):
    return x * x * x


OF_CHECKS = {
    **FAULTS,
    "output": (overwrites, lambda x: x * 1.0),
    "gradients": (lambda x: x.exp() + x.detach(), lambda x: x.exp() + x),
    "double_backward": (Slope.apply, lambda x: 3 * x * x),
    "forward_mode": (WrongTangent.apply, cube),
    "vmap": (MixesTheBatch.apply, torch.square),
    "opcheck": (misshapen, lambda x: x * 2),
}


def test_every_check_is_here():
    assert set(CHECKS) - set(OF_CHECKS) == {"memory"}


@pytest.mark.parametrize("check", OF_CHECKS)
def test_a_finding_of_each_check_shows_again(check, x):
    custom, builtin = OF_CHECKS[check]
    inputs = (x, x + 1) if check in ("vmap_each", "each_alone") else (x,)
    asked = {} if check in ("output", "gradients") else {check: "eager" if check == "compile" else True}
    found = compare(custom, builtin, *inputs, **{**ONLY, **asked})
    assert check in {row.check for row in found.failures}
    expect_all_to_show_again(explain(found), custom=custom, builtin=builtin)


@pytest.mark.parametrize(
    "custom", [raises, RaisesInBackward.apply, lambda x: x.float(), lambda x: x[:1], torch.sin]
)
def test_errors_dtypes_and_shapes_show_again(custom, x):
    expect_all_to_show_again(explain(compare(custom, cube, x)), custom=custom, builtin=cube)
    if custom is RaisesInBackward.apply:
        expect_all_to_show_again(explain(check(custom, x, compile=False)), custom=custom)


class Pair(NamedTuple):
    a: torch.Tensor
    b: torch.Tensor


@dataclasses.dataclass
class Batch:
    images: torch.Tensor
    labels: torch.Tensor
    scale: float = 2.0


class Mode(enum.Enum):
    SUM = "sum"


def doubled(x, *rest, **options):
    """Has twice the gradient of `once`."""
    y = once(x, *rest, **options)
    return 2 * y - y.detach()


def once(x, *rest, **options):
    first = x["a-b"] if isinstance(x, dict) else x.images if isinstance(x, Batch) else x[0] if len(x) == 2 else x
    return first * first


ROWS = torch.arange(6).reshape(2, 3) % 2
ARGUMENTS = {
    "list": lambda x: [x, 2 * x],
    "tuple": lambda x: (x, 2 * x),
    "dict": lambda x: {"a-b": x, "class": 3, 1: [x]},
    "NamedTuple": lambda x: Pair(x, 2 * x),
    "dataclass": lambda x: Batch(x, ROWS),
}


@pytest.mark.parametrize("kind", ARGUMENTS)
def test_tensors_in_containers_are_written_out(kind, x):
    found = compare(doubled, once, ARGUMENTS[kind](x), **ONLY)
    expect_all_to_show_again(explain(found), custom=doubled, builtin=once)


@pytest.mark.parametrize(
    "rest",
    [
        (3, 2.5, float("inf"), float("nan"), 1 + 2j, True, None, "it's", b"x", ..., slice(0, 2), range(3)),
        (torch.float32, torch.device("cpu"), torch.Size([2, 3]), torch.channels_last, torch.strided),
        (torch.nn.functional.relu, once, Mode, torch.ones(2, 3, dtype=torch.bool), ROWS, torch.zeros(0, 3)),
        (torch.arange(200), torch.arange(100) > 5, torch.randn(100), torch.randn(9, 9, dtype=torch.complex64)),
        (torch.ones(2, 3).mT, torch.ones(1, 3).expand(2, 3), torch.ones(2, 6)[:, ::2], torch.tensor(3)),
    ],
)
def test_arguments_of_all_kinds_are_written_out(rest, x):
    found = compare(doubled, once, x.requires_grad_(), *rest, **ONLY)
    expect_all_to_show_again(explain(found), custom=doubled, builtin=once)


def test_an_argument_that_cannot_be_written_gets_one_line_to_fill_in(x):
    odd = functools.partial(once, 3)
    said = explain(compare(doubled, once, x.requires_grad_(), Mode.SUM, odd, **ONLY))
    assert "input1 = ...  # an argument: <Mode.SUM: 'sum'>\n" in said
    assert "input2 = ...  # an argument: functools.partial(" in said
    expect_all_to_show_again(said, custom=doubled, builtin=once, input1=Mode.SUM, input2=odd)


def test_keywords_of_any_name_are_written_out(x):
    options = {"weight": x.clone(), "got": x.clone(), "upstream": [x.clone()], "nan": float("nan")}
    found = compare(doubled, once, x, **options, **ONLY)
    expect_all_to_show_again(explain(found), custom=doubled, builtin=once)


class Affine(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(2, 4, dtype=torch.float64))

    def forward(self, x):
        return x @ self.w.detach().mT


def test_options_of_the_comparison_stand_in_the_script(x):
    custom, builtin = Affine(), nn.Linear(4, 2, bias=False).double()
    said = explain(compare(custom, builtin, x, map={"w": "weight"}, seed=3, **ONLY))
    assert "map={'w': 'weight'}, seed=3" in said
    expect_all_to_show_again(said, custom=custom, builtin=builtin)
    said = explain(compare(doubled, torch.round, x, gradient_of=torch.sin, upstreams=("sliced",)))
    assert "upstreams=('sliced',), gradient_of=surrogate" in said
    expect_all_to_show_again(said, custom=doubled, builtin=torch.round)


def test_outputs_that_are_no_tensor_need_the_checker(x):
    def theirs(x):
        return {"y": x.exp()}

    def ours(x):
        return {"y": x.exp() + x.detach() - x}

    expect_all_to_show_again(explain(compare(ours, theirs, x, **ONLY)), custom=ours, builtin=theirs)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("odd-module", "f"),
        ("oddmodule", "[/red]"),
        ("oddmodule", "class"),
        ("__main__", "f"),
        ("oddmodule", "gone"),
    ],
)
def test_what_no_import_finds_gets_one_line_to_fill_in(module, name, x, monkeypatch):
    def function(x):
        return x.exp() + x

    function.__module__, function.__name__, function.__qualname__ = module, name, name
    home = types.ModuleType(module)
    if name != "gone":
        setattr(home, name, function)
    monkeypatch.setitem(sys.modules, module, home)
    said = explain(compare(function, torch.exp, x, **ONLY))
    assert f"\n         custom = ...  # your function: {name}\n" in said
    expect_all_to_show_again(said, custom=function)


def test_local_functions_lambdas_and_calls_are_named(x):
    def local(x):
        return x.exp() + x

    called = functools.partial(torch.add, other=1)
    for function, name in (
        (local, "<locals>.local"),
        (lambda x: x + 1, "<lambda>"),
        (called, "functools.partial("),
    ):
        (script, *_) = [text for _, _, text in scripts(explain(compare(function, torch.exp, x, **ONLY)))]
        (line,) = [line for line in script.splitlines() if line.startswith("custom = ...  # your function: ")]
        assert name in line
        assert "Error" in run(script, custom=function)


@pytest.mark.parametrize(
    "x",
    [
        torch.randn(8, 9).mT,
        torch.randn(3, 100)[:, ::2],
        torch.randn(1, 70).expand(3, 70).requires_grad_(False),
        torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        torch.tensor(2.0, dtype=torch.bfloat16),
    ],
)
def test_strides_and_dtype_survive_in_large_tensors_too(x):
    again = eval(tensor(x))
    assert (again.shape, again.stride(), again.dtype) == (x.shape, x.stride(), x.dtype)
