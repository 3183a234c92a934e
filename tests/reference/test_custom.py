"""Command line of ``python -m reference --custom``."""

from __future__ import annotations

import sys

import pytest
import torch

from reference import __main__ as command
from scratchnet.testing.commandline_values import Misuse, argument, resolve, tensor

MODULE = '''
"""Functions of a user."""
import torch


class Softmax(torch.autograd.Function):
    @staticmethod
    def forward(x):
        return torch.softmax(x, -1)

    generate_vmap_rule = True

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return y * (grad - (grad * y).sum(-1, keepdim=True))

    @staticmethod
    def jvp(ctx, tangent):
        (y,) = ctx.saved_tensors
        return y * (tangent - (tangent * y).sum(-1, keepdim=True))


class WithoutMean(Softmax):
    @staticmethod
    def backward(ctx, grad):
        return ctx.saved_tensors[0] * grad


class Plain(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0]


def squashed(x, dim):
    return torch.softmax(x, dim)


def linear(x, weight):
    return x @ weight.mT


number = 3
ops = type("Ops", (), {})()
setattr(ops, "[/red]", torch.relu)
'''
FLAGS = ["--builtin", "torch.nn.functional.softmax", "--shape", "3,4", "--dtype", "float32"]


@pytest.fixture(autouse=True)
def _user_module(tmp_path, monkeypatch):
    (tmp_path / "user_module.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("user_module", None)


def test_a_right_function_gives_status_0(capsys):
    assert command.main(["--custom", "user_module:squashed", *FLAGS, "--arg", "dim=-1"]) == 0
    assert "1 of 1 comparisons agree" in capsys.readouterr().out


def test_each_shape_is_an_input(capsys):
    words = ["--custom", "user_module:linear", "--builtin", "torch.nn.functional.linear", "--dtype", "float32"]
    assert command.main([*words, "--shape", "5,3", "--shape", "2,3"]) == 0


def test_square_brackets_in_a_name_are_shown_as_they_are(capsys):
    words = ["--custom", "user_module:ops.[/red]", "--builtin", "torch.relu", "--shape", "3", "--dtype", "float32"]
    assert command.main(words) == 0
    assert "user_module:ops.[/red]" in capsys.readouterr().out


def test_missing_transforms_fail_only_if_required(capsys):
    words = ["--custom", "user_module:Plain", "--builtin", "torch.exp", "--shape", "3", "--dtype", "float64"]
    assert command.main(words) == 0
    assert capsys.readouterr().out.count(" not offered ") == 2
    assert command.main([*words, "--require", "forward_mode,vmap"]) == 1


def test_a_wrong_function_gives_status_1_and_is_explained(capsys):
    words = ["--custom", "user_module:WithoutMean", "--shape", "3,4"]
    assert command.main(words) == 1
    out = capsys.readouterr().out
    assert "gradient of input: differs" in out
    assert "from user_module import WithoutMean" in out
    assert "DIFFERS" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--custom", "no_such_module:f", *FLAGS], "expected a module before the colon"),
        (["--custom", "user_module:nothing", *FLAGS], "has no attribute 'nothing'"),
        (["--custom", "user_module:number", *FLAGS], "to be a function, got int"),
        (["--custom", "user_module:squashed", *FLAGS[:2]], "expected a --shape"),
        (["--custom", "user_module:squashed", *FLAGS[:2], "--shape", "3,x"], "expected sizes such as 8,16"),
        (["--custom", "user_module:squashed", *FLAGS[:2], "--shape", str(10**30)], "that fit in memory"),
        (["--custom", "user_module:squashed", *FLAGS, "--arg", "dim"], "expected k=v"),
        (["--custom", "user_module:squashed", *FLAGS, "--arg", "dim=7"], "does not take (3, 4)"),
        (["relu", "--custom", "user_module:squashed", *FLAGS], "got both: relu"),
        (FLAGS, "expected --custom"),
        (["relu", "--dtype", "float64", "--html", "/nowhere/at/all.html"], "expected a writable file"),
    ],
)
def test_misuse_gives_status_2_and_one_line(words, says, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(words)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert says in error
    assert len(error.splitlines()) == 1


def test_names_are_imported_and_never_evaluated():
    assert resolve("torch.nn.functional.relu") is torch.nn.functional.relu
    assert resolve("torch:Tensor.exp") is torch.Tensor.exp
    for name in ("__import__('os').system('true')", "torch:exp()", "nonsense"):
        with pytest.raises(Misuse):
            resolve(name)


def test_shapes_and_arguments_are_read():
    g = torch.Generator()
    assert tensor("8,16", torch.float32, g).shape == (8, 16)
    assert tensor("", torch.float32, g).shape == ()
    assert tensor("1000:3", torch.float32, g).unique().tolist() == [0, 1, 2]
    assert argument("dim=-1") == ("dim", -1)
    assert argument("reduction=sum") == ("reduction", "sum")
    assert argument("a=(1, 2)") == ("a", (1, 2))
