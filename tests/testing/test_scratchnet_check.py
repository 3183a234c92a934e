"""``scratchnet-check``: the checker in the folder of the user's own modules."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scratchnet.testing.commandline import main

ROOT = Path(__file__).parents[2]
MODULE = Path(__file__).with_name("user_functions.py").read_text()


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    (tmp_path / "of_mine.py").write_text(MODULE)
    (tmp_path / "of_mine_that_stops.py").write_text("raise SystemExit(0)")
    (tmp_path / "of_mine_that_raises.py").write_text("raise RuntimeError('first\\nsecond')")
    (tmp_path / "of_mine_that_needs.py").write_text("import no_such_package")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in [name for name in sys.modules if name.startswith("of_mine")]:
        del sys.modules[name]


TANH = ["--builtin", "torch.tanh", "--shape", "3,4"]
LINEAR = "of_mine:Affine --builtin torch.nn.Linear --shape 5,3"
SIZES = "--arg in_features=3 --arg out_features=2"


@pytest.mark.parametrize(
    "words",
    [
        "of_mine:Tanh --builtin torch.tanh --shape 3,4",
        "--custom of_mine.Tanh --builtin torch.tanh --shape 3,4 --dtype bfloat16",
        "of_mine:Tanh --builtin torch.tanh --shape 3,4 --require double_backward,no_grad",
        "of_mine:Tanh --shape 3,4",
        "of_mine:single --builtin torch.relu --shape 3 --dtype float32",
        "of_mine:Single --builtin torch.sin --shape 3 --device cpu",
        "of_mine:Single --shape 3",
        "of_mine:ops.[/red] --builtin torch.relu --shape 3",
        "of_mine:dtypes --builtin of_mine:dtypes --shape 3 --arg dtypes=2",
        f"{LINEAR} {SIZES} --map w=weight --map b=bias",
        "of_mine:chosen --builtin torch.nn.functional.cross_entropy --shape 4,3 --shape 4:3 --arg reduction=sum",
    ],
)
def test_what_is_right_gives_status_0(words, capsys):
    assert main(words.split()) == 0
    assert "equal: " in capsys.readouterr().out


def test_what_is_not_offered_is_said_and_fails_only_if_required(capsys):
    assert main(["of_mine:Tanh", *TANH]) == 0
    assert "not offered: forward mode, vmap" in capsys.readouterr().out
    assert main(["of_mine:Tanh", *TANH, "--require", "forward_mode,vmap"]) == 1


def test_what_takes_float32_alone_is_judged_there(capsys):
    assert main(["of_mine:Single", "--builtin", "torch.sin", "--shape", "3"]) == 0
    assert "in float32, since float64 is refused: TypeError: float32 alone" in capsys.readouterr().out
    assert main(["of_mine:Single", "--builtin", "torch.sin", "--shape", "3", "--dtype", "float64"]) == 1
    assert main(["of_mine:SingleAndWrong", "--shape", "3"]) == 1
    assert "the gradient is not the derivative of forward" in capsys.readouterr().out


def test_what_takes_no_dtype_is_named_by_its_dtype_alone(capsys):
    assert main(["of_mine:Tanh", *TANH, "--arg", "approximate=tanh"]) == 2
    assert main(["of_mine:Tanh", "--builtin", "torch.softmax", "--shape", "3,4", "--arg", "dim=0"]) == 1
    assert "Tanh in float64: " in capsys.readouterr().out


def test_targets_are_not_counted_among_outputs(capsys):
    assert main("of_mine:chosen --builtin torch.nn.functional.cross_entropy --shape 4,3 --shape 4:3".split()) == 0
    assert "in float64: equal: output, gradient, " in capsys.readouterr().out


def test_what_is_wrong_gives_status_1_and_is_explained(capsys):
    assert main(["of_mine:Twice", *TANH]) == 1
    out = capsys.readouterr().out
    assert "gradient of input: differs" in out
    assert "from of_mine import Twice" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["of_mine:Tanh", *TANH, "--device", "nowhere"], "--device: expected a device of this machine"),
        ([], "expected one MODULE:NAME"),
        (["of_mine:Tanh", "--custom", "of_mine:Tanh"], "expected one MODULE:NAME"),
        (["of_mine:Tanh"], "expected a --shape"),
        (["of_mine:Tanh", *TANH, "--shape", "4:0"], "sizes of 0 or more"),
        (["of_mine:Tanh", *TANH, "--require", "speed"], "got 'speed'"),
        (["of_mine:Tanh", "--shape", "3", "--require", "dtypes"], "expected a --builtin"),
        (["of_mine:Tanh", *TANH, "--map", "w"], "expected custom=builtin"),
        (["of_mine:Tanh", "--map", "w=v", "--shape", "3"], "expected a --builtin"),
        (["", *TANH], "of which no part is a module"),
        (["..", *TANH], "of which no part is a module"),
        ([":x", *TANH], "expected a module before the colon"),
        (["[/red]:x", *TANH], "expected a module before the colon"),
        (["of_mine:", *TANH], "has no attribute ''"),
        (["of_mine_that_stops:x", *TANH], "importing 'of_mine_that_stops' raises SystemExit"),
        (["of_mine_that_raises.x", *TANH], "raises RuntimeError: first second"),
        (["of_mine_that_needs.x", *TANH], "No module named 'no_such_package'"),
        (LINEAR.split(), "building of_mine:Affine raises"),
        (f"{LINEAR} {SIZES}".split(), "expected custom and built-in to have the same parameters"),
    ],
)
def test_misuse_gives_status_2_and_one_line(words, says, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert says in error
    assert len(error.splitlines()) == 1


def test_runs_without_the_checkout_from_the_folder_of_the_module(tmp_path):
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / "scratchnet").symlink_to(ROOT / "scratchnet")
    run = subprocess.run(
        [
            sys.executable,
            "-P",
            "-c",
            "import sys; from scratchnet.testing.commandline import main; sys.exit(main())",
        ]
        + ["of_mine:Tanh", *TANH],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
    )
    assert run.returncode == 0, run.stderr
    assert "Tanh in float64: equal: output" in run.stdout
