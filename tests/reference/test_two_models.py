"""``--models``: two models of a user's, compared layer by layer on the command line."""

from __future__ import annotations

import pytest

from reference import __main__ as command
from scratchnet.testing import commandline

MODULE = """
import torch
from torch import nn


def exact(width=3):
    return nn.Sequential(nn.Linear(4, width), nn.GELU(), nn.Linear(width, 2))


def approximate(width=3):
    return nn.Sequential(nn.Linear(4, width), nn.GELU("tanh"), nn.Linear(width, 2))


class Port(nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.body = exact(width)

    def forward(self, x):
        return self.body(x)


def number():
    return 3


def broken():
    raise KeyError("weights")
"""
SHAPE = ["--shape", "5,4"]


@pytest.fixture(autouse=True)
def _user_module(tmp_path, monkeypatch):
    (tmp_path / "user_models.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("main", [command.main, commandline.main])
def test_equal_models_give_status_0(main, capsys):
    assert main(["--models", "user_models:exact", "user_models:exact", *SHAPE, "--arg", "width=7"]) == 0
    assert capsys.readouterr().out == "equal: 15 quantities within 1e-09\n"


@pytest.mark.parametrize("main", [command.main, commandline.main])
def test_models_that_differ_give_status_1_and_the_first_layer(main, capsys):
    assert main(["--models", "user_models:approximate", "user_models:exact", *SHAPE]) == 1
    assert "first in the forward pass, at activation 1\n" in capsys.readouterr().out


def test_layers_are_mapped(capsys):
    names = ["--models", "user_models:Port", "user_models:exact", *SHAPE]
    assert command.main([*names, "--map", "body.0=0", "--map", "body.1=1", "--map", "body.2=2"]) == 0
    assert "only ours: activation body" in capsys.readouterr().out


@pytest.mark.parametrize("run", [command.main, commandline.main])
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["exact", "nothing", *SHAPE], "expected 'user_models:nothing' to name a function"),
        (["exact", "number", *SHAPE], "expected user_models:number to make a torch.nn.Module, got int"),
        (["exact", "broken", *SHAPE], "making user_models:broken raises KeyError: 'weights'; see --arg"),
        (["exact", "exact", *SHAPE, "--arg", "depth=2"], "unexpected keyword argument 'depth'; see --arg"),
        (["exact", "exact", "--shape", "5,5"], "user_models:exact does not take (5, 5) in float64"),
        (["exact", "exact"], "expected a --shape for each input"),
        (
            ["exact", "exact", *SHAPE, "--dtype", "float32"],
            "--models: expected --shape, --arg, --map and --device alone",
        ),
        (["exact", "exact", *SHAPE, "--thorough"], "got --thorough too"),
    ],
)
def test_misuse_gives_status_2_in_one_line(run, words, says, capsys):
    first, second, *rest = words
    arguments = ["--models", f"user_models:{first}", f"user_models:{second}", *rest]
    if run is command.main:
        with pytest.raises(SystemExit) as stop:
            run(arguments)
        assert stop.value.code == 2
    else:
        assert run(arguments) == 2
    errors = capsys.readouterr().err
    assert says in errors
    assert errors.count("\n") == 1
