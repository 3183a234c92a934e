"""Usage errors are one line, with an exit status."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
import typing

import pytest
from experiment_runs import ROOT, mnist

from experiments.__main__ import main
from experiments.chapters import CHAPTERS

USAGE_ERRORS = {
    "nope": f"expected a chapter ({', '.join(CHAPTERS)}), got 'nope'",
    "mnits": "did you mean mnist?",
    "mnist --foo 3": "got --foo",
    "mnist --epoch 3": "did you mean --epochs?",
    "mnist 3": "got 3",
    "mnist --epochs": "Missing value for argument '--epochs'",
    "mnist --epochs x": "--epochs: expected INT, got 'x'",
    "mnist --lr fast": "--lr: expected FLOAT, got 'fast'",
    "mnist --model rnn": "'rnn'",
    "mnist --backend jax": "Expected one of ('scratch', 'builtin', 'twin')",
    "mnist --dtype float16": "'float16'",
    "mnist --epochs -1": "--epochs: expected a whole number from 1 up, got -1",
    "mnist --batch-size 0": "--batch-size: expected a whole number from 1 up, got 0",
    "mnist --max-steps 0": "--max-steps: expected a whole number from 1 up, got 0",
    "mnist --every 0": "--every: expected a whole number from 1 up, got 0",
    "mnist --save-every 0": "--save-every: expected a whole number from 1 up, got 0",
    "mnist --eval-every 0": "--eval-every: expected a whole number from 1 up, got 0",
    "mnist --accumulate 0": "--accumulate: expected a whole number from 1 up, got 0",
    "mnist --patience 0": "--patience: expected a whole number from 1 up, got 0",
    "mnist --clip 0": "--clip: expected a number above 0, such as 1.0, got 0.0",
    "mnist --amp bf16 --dtype float64": "--amp: expected none, or --dtype float32 with it, got bf16",
    "mnist --amp fp16": "Expected one of ('none', 'bf16')",
    "mnist --schedule linear": "'linear'",
    "mnist --preset best": "'best'",
    "mnist --lr -1": "--lr: expected a number above 0, such as 0.05, got -1.0",
    "mnist --lr nan": "got nan",
    "mnist --momentum 1": "--momentum: expected a number from 0 up to, but not including, 1, got 1.0",
    "mnist --seed -1": "--seed: expected a whole number",
    "mnist --device toaster": "--device: expected auto, cpu, cuda or cuda:N, got toaster",
    "mnist --device cuda:99": "--device: expected one of this machine (cpu",
    "mnist --data nowhere": "--data: expected a folder that holds MNIST/raw/train-images-idx3-ubyte, got 'nowhere'",
    "mnist --data .": "pass the folder above MNIST/",
    "mnist --resume nowhere": "--resume: expected the folder of a run, got 'nowhere', which does not exist",
    "mnist --resume .": "which has no config.json",
}


@pytest.mark.parametrize("words", USAGE_ERRORS, ids=str)
def test_usage_errors_are_one_line_with_status_2(words, here, capsys):
    assert main(words.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert USAGE_ERRORS[words] in err
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_integers_beyond_64_bits_are_errors(chapter, here, capsys):
    kind = importlib.import_module(f"experiments.chapters.{chapter}").Config
    for name, annotation in typing.get_type_hints(kind).items():
        if annotation in (int, int | None):
            flag = f"--{name.replace('_', '-')}"
            assert main([chapter, flag, str(10**400)]) == 2
            out, err = capsys.readouterr()
            assert out == ""
            assert err.startswith(f"error: {flag}: expected a")
            assert err.count("\n") == 1
    assert list(here.iterdir()) == []


def test_listing_the_chapters_does_not_load_torch():
    script = "import sys; from experiments.__main__ import main; print(main([]), 'torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=ROOT, capture_output=True, text=True)
    *listing, last = run.stdout.splitlines()
    assert last == "0 False"
    for name, chapter in CHAPTERS.items():
        assert f"  {name:15} {chapter.line} ({chapter.time})" in listing


def test_help_lists_every_flag_and_they_are_few(capsys):
    with pytest.raises(SystemExit, match="0"):
        mnist("--help")
    flags = set(re.findall(r"(?<=[ |│] )--[a-z][a-z-]+", capsys.readouterr().out))
    assert {"--model", "--backend", "--data", "--resume", "--preset", "--compile"} <= flags
    assert len(flags) <= 26  # of the training loop and the chapter, and --help


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    assert mnist("--model", "mlp", "--data", tiny, "--epochs", 1, "--runs", runs) == 0
    (run,) = runs.iterdir()
    return run


@pytest.fixture
def stopped(finished, tmp_path):
    """A run without its summary, as if it had been stopped after its last checkpoint."""
    return shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("summary.json"))


def test_resuming_a_finished_run_changes_nothing(finished, capsys):
    before = (finished / "metrics.jsonl").read_bytes()
    assert mnist("--resume", finished) == 0
    assert capsys.readouterr().out == f"'{finished}' is finished; nothing is left to do\n"
    assert (finished / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--lr", "0.3"], "--lr: expected 0.05, as in config.json, got 0.3"),
        (["--model", "cnn"], "--model: expected mlp, as in config.json, got cnn"),
        (["--max-steps", "3"], "--max-steps: expected None, as in config.json, got 3"),
        (["--data", "sample"], "--data: expected"),
    ],
)
def test_resume_rejects_other_settings(words, message, stopped, capsys):
    assert mnist("--resume", stopped, *words) == 2
    assert message in capsys.readouterr().err


def test_resume_accepts_equal_settings(stopped, tiny, capsys):
    assert mnist("--resume", stopped, "--lr", "0.050", "--data", tiny / "." / "MNIST" / "..", "--epochs", 1) == 0
    assert "run folder" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "damage", "status", "message"),
    [
        ("config.json", None, 2, "which has no config.json"),
        ("config.json", b"{", 1, "is damaged (JSONDecodeError"),
        ("config.json", b"[]", 1, "is damaged"),
        ("config.json", json.dumps({"chapter": "mnist", "lr": 1}).encode(), 1, "is damaged ('preset')"),
        ("checkpoint.pt", None, 1, "has no checkpoint"),
        ("checkpoint.pt", b"", 1, "is damaged"),
        ("checkpoint.pt", b"half", 1, "is damaged"),
        ("metrics.jsonl", None, 1, "is damaged: expected at least"),
    ],
)
def test_a_damaged_run_is_an_error_of_one_line(file, damage, status, message, stopped, capsys):
    path = stopped / file
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:5000] if damage == b"half" else damage)
    assert mnist("--resume", stopped) == status
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not (stopped / "summary.json").exists()


def test_resuming_a_run_of_another_chapter_is_an_error(stopped, capsys):
    config = json.loads((stopped / "config.json").read_text())
    (stopped / "config.json").write_text(json.dumps({**config, "chapter": "other"}))
    assert mnist("--resume", stopped) == 2
    assert f"python -m experiments other --resume {stopped}" in capsys.readouterr().err


def test_an_unwritable_runs_folder_is_an_error(here, capsys):
    (here / "taken").write_text("")
    assert mnist("--data", "sample", "--runs", "taken") == 1
    assert (
        "error: cannot write to 'taken': File exists; choose another folder with --runs DIR"
        in capsys.readouterr().err
    )


def test_a_diverging_loss_is_an_error_of_one_line(tiny, here, capsys):
    assert mnist("--model", "mlp", "--data", tiny, "--lr", 1e6, "--epochs", 5) == 1
    assert "the loss of the custom network became nan at step" in capsys.readouterr().err
