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
from experiment_runs import ROOT, assert_same_state, mnist, state
from torch.testing import assert_close

from experiments.__main__ import compiled_kernels, main
from experiments.chapters import CHAPTERS
from experiments.run import replace_file
from scratchnet import kernels

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
    "mnist --threads 0": "--threads: expected a whole number from 1 to 1024, got 0",
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
    assert len(flags) <= 27  # of the training loop and the chapter, and --help


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


def test_kernels_are_on_for_the_run_alone():
    with compiled_kernels(wanted=True):
        assert kernels.enabled()
    assert not kernels.enabled()


def test_kernels_without_a_compiler_are_a_usage_error(here, capsys, monkeypatch):
    def enable():
        raise RuntimeError("expected a C++ compiler, found none")

    monkeypatch.setattr(kernels, "enable", enable)
    assert main(["mnist", "--kernels"]) == 2
    assert capsys.readouterr().err == "error: --kernels: expected a C++ compiler, found none\n"


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
        (["--epochs", "0"], "--epochs: expected 1 or more, as in config.json, got 0"),
        (["--lr", "0.3", "--epochs", "2"], "--lr: expected 0.05"),
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
        ("checkpoint.pt", None, 1, "is damaged (it is missing); the last good one"),
        ("checkpoint.pt", b"", 1, "is damaged"),
        ("checkpoint.pt", b"half", 1, "is damaged"),
        ("config.json", b"[" * 100_000, 1, "is damaged (RecursionError"),
        ("config.json", b"\xff", 1, "is damaged (UnicodeDecodeError"),
        ("checkpoint.pt", b"flipped", 1, "/previous.pt' of step 0; rename it to"),
        ("best.pt", b"flipped", 1, "/checkpoint.pt' of step 2; delete"),
        ("metrics.jsonl", None, 1, "is damaged (expected at least"),
        ("metrics.jsonl", b"flipped", 1, "/previous.pt' of step 0; rename it to"),
    ],
)
def test_a_damaged_run_is_an_error_of_one_line(file, damage, status, message, stopped, capsys):
    path = stopped / file
    if damage is None:
        path.unlink()
    else:
        path.write_bytes({b"half": path.read_bytes()[:5000], b"flipped": flipped(path)}.get(damage, damage))
    assert mnist("--resume", stopped) == status
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not (stopped / "summary.json").exists()


def flipped(path):
    """Returns the content of a file with one bit flipped."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    return bytes(content)


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_every_flipped_bit_is_noticed(stopped, capsys):
    """Tries bits all over each file that a run reads back."""
    for name in ("checkpoint.pt", "best.pt", "metrics.jsonl"):
        path = stopped / name
        content = path.read_bytes()
        for place in range(0, len(content), len(content) // 7):
            damaged = bytearray(content)
            damaged[place] ^= 1 << place % 8
            path.write_bytes(damaged)
            assert mnist("--resume", stopped) == 1
            assert f"{name}' is damaged (its digest is wrong" in capsys.readouterr().err
        path.write_bytes(content)
    assert mnist("--resume", stopped) == 0


def test_a_file_in_the_place_of_another_is_an_error(stopped, capsys):
    content = (stopped / "checkpoint.pt").read_bytes()
    for name, other in (("checkpoint.pt", "best.pt"), ("best.pt", "previous.pt")):
        (stopped / name).write_bytes((stopped / other).read_bytes())
        assert mnist("--resume", stopped) == 1
        err = capsys.readouterr().err
        assert f"{name}' is damaged (it holds the " in err
        assert err.count("\n") == 1
        (stopped / "checkpoint.pt").write_bytes(content)


def test_missing_best_weights_are_mentioned(stopped, capsys):
    (stopped / "best.pt").unlink()
    assert mnist("--resume", stopped) == 0
    assert (
        "best.pt' is missing: the run continues without the best weights up to step 2" in capsys.readouterr().out
    )


def test_the_last_good_checkpoint_continues(stopped, finished):
    (stopped / "checkpoint.pt").write_bytes(b"")
    (stopped / "previous.pt").rename(stopped / "checkpoint.pt")
    assert mnist("--resume", stopped) == 0
    assert_same_state(state(stopped), state(finished))
    assert (stopped / "metrics.jsonl").read_bytes() == (finished / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize(
    "change", [{"seed": 5}, {"batch_size": 32}, {"lr": 0.5}, {"dtype": "float64"}, {"epochs": 9}, {"max_steps": 1}]
)
def test_a_changed_config_is_an_error_that_names_the_changes(change, stopped, capsys):
    ((name, now),) = change.items()
    was = json.loads((stopped / "config.json").read_text())[name]
    edit(stopped / "config.json", **change)
    assert mnist("--resume", stopped) == 1
    assert (
        f"made with other settings than those of the run: {name} {was} instead of {now};"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("name", ["checkpoint.pt", "best.pt"])
def test_a_file_of_another_run_is_an_error(name, stopped, tiny, tmp_path, capsys):
    assert mnist("--model", "mlp", "--data", tiny, "--epochs", 1, "--seed", 3, "--runs", tmp_path / "runs") == 0
    shutil.copy(tmp_path / "runs" / "mnist-mlp-scratch-001" / name, stopped)
    if name == "checkpoint.pt":
        shutil.copy(tmp_path / "runs" / "mnist-mlp-scratch-001" / "metrics.jsonl", stopped)
    capsys.readouterr()
    assert mnist("--resume", stopped) == 1
    assert (
        f"{name}' was made with other settings than those of the run: seed 3 instead of 0"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("words", [["--epochs", 3], ["--max-steps=6"]])
def test_a_finished_run_is_prolonged(words, tiny, tmp_path, capsys):
    """With a constant learning rate it equals a run of that length."""
    flags = ["--model", "mlp", "--data", tiny, "--schedule", "constant", "--runs", tmp_path]
    assert mnist(*flags, "--epochs", 1) == 0
    run, long = (tmp_path / f"mnist-mlp-scratch-00{number}" for number in (1, 2))
    capsys.readouterr()
    assert mnist("--resume", run, *words) == 0
    assert f"prolongs '{run}': --epochs 1 to " in capsys.readouterr().out
    assert mnist(*flags, *words) == 0
    for part in ("model", "optimizer"):
        assert_close(*(state(each)["learners"]["custom"][part] for each in (run, long)), rtol=0, atol=0)
    assert json.loads((run / "summary.json").read_text())["steps"] == 6
    assert mnist("--resume", run) == 0
    assert capsys.readouterr().out.endswith("is finished; nothing is left to do\n")


def test_fewer_steps_than_are_done_are_an_error(finished, tmp_path, capsys):
    run = shutil.copytree(finished, tmp_path / "run")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert mnist("--resume", run, "--max-steps", 1) == 1
    assert "expected at least the 2 steps that" in capsys.readouterr().err
    for path, content in before.items():
        assert path.name == "writer.txt" or path.read_bytes() == content


def test_a_second_writer_is_an_error_that_names_the_first(stopped, capsys):
    script = """
import sys
from pathlib import Path
from experiments.run import Run
Run.reopen(Path(sys.argv[2])).lock()
print("locked", flush=True)
input()
"""
    command = [sys.executable, "-c", script, "mnist", str(stopped)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        assert mnist("--resume", stopped) == 1
        err = capsys.readouterr().err
        assert f"'{stopped}' is being written to by process {other.pid} on " in err
        assert err.count("\n") == 1
        other.kill()
    assert mnist("--resume", stopped) == 0


@pytest.mark.parametrize("name", ["metrics.jsonl", "checkpoint.pt", ".checkpoint.pt.partial", "00002"])
def test_symbolic_links_are_not_written_through(name, stopped, tmp_path, capsys):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (stopped / name).unlink(missing_ok=True)
    (stopped / name).symlink_to(precious)
    assert mnist("--resume", stopped) == 1
    assert f"{name}' is a symbolic link" in capsys.readouterr().err
    assert precious.read_text() == "precious"


def test_replacing_a_file_follows_no_link(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    for name in ("file", ".file.partial"):
        (tmp_path / name).symlink_to(precious)
    replace_file(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_text() == "new"
    assert precious.read_text() == "precious"


def test_resuming_a_run_of_another_chapter_is_an_error(stopped, capsys):
    edit(stopped / "config.json", chapter="gan")
    assert mnist("--resume", stopped) == 2
    assert f"python -m experiments gan --resume {stopped}" in capsys.readouterr().err
    edit(stopped / "config.json", chapter="mnist; rm -r /\n\x1b[2J")
    assert mnist("--resume", stopped) == 1
    err = capsys.readouterr().err
    assert "is damaged (it names no chapter)" in err
    assert err.count("\n") == 1


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
