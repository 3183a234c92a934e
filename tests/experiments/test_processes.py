"""Two processes under torchrun train like one, stop together, and continue bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from experiment_runs import ROOT, assert_same_state, mnist, rows, state, write_mnist

from experiments.chapters import mnist as chapter

# 97 digits in batches of 3: the processes have two and one examples, in the last batch one and none.
MLP = ["--model", "mlp", "--dtype", "float64", "--epochs", 1, "--batch-size", 3, "--every", 5, "--clip", 3]
# Dropout, augmentation and running statistics differ between processes.
DEEP = ["--model", "deep", "--augment", "--epochs", 2, "--batch-size", 16, "--save-every", 3, "--lr", 0.02]

KILLED = "error: another process of this run was killed; continue with --resume"
INTERRUPTED = (
    "interrupted at step 9 of 14, state saved; continue with: torchrun --nproc-per-node 2 -m experiments mnist"
)

WORKER = """
import contextlib, gc, os, pathlib, signal, sys, time, warnings
sys.stderr = open(f"stderr.{{os.environ['RANK']}}", "w", buffering=1)  # torchrun itself writes to stderr
warnings.simplefilter("error")
# torch.compile uses these inside torch.
warnings.filterwarnings("ignore", "`torch.jit.script", DeprecationWarning)
warnings.filterwarnings("ignore", ".*should not be instantiated", DeprecationWarning)
from experiments.__main__ import main
from experiments.chapters import mnist
from experiments.errors import ExperimentError
from experiments.training import Learner
mnist.check_gradients = lambda digits, config: None
steps, step = 0, Learner.step
def disturbed(self, *batch):
    global steps
    steps += 1
    if steps == 9 and os.environ["RANK"] == "1":
        {disturbance}
    return step(self, *batch)
Learner.step = disturbed
gc.disable()  # the result must not depend on when collection happens
status = main(sys.argv[1:])
if status == 0:
    names = []
    for path in pathlib.Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(OSError):  # the thread has just ended
            names.append(path.read_text().strip())
    # A thread of gloo's that is alive when the interpreter shuts down can abort the process.
    assert not any("gloo" in name for name in names), names
sys.exit(status)
"""


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    root = tmp_path_factory.mktemp("digits")
    write_mnist(root, train=97, test=41)
    return root


def torchrun(*words, cwd, disturbance="pass"):
    """Runs mnist in two processes under torchrun; the second executes ``disturbance`` at its ninth step."""
    script = cwd / "worker.py"
    script.write_text(WORKER.format(disturbance=disturbance))
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            str(script),
            "mnist",
        ]
        + [str(word) for word in words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )


def stderr_lines(folder):
    """Returns the lines that both processes wrote to stderr."""
    return [line for path in sorted(folder.glob("stderr.*")) for line in path.read_text().splitlines()]


def test_two_processes_have_the_loss_curve_of_one(digits, here, monkeypatch, capsys):
    monkeypatch.setattr(chapter, "check_gradients", lambda digits, config: None)
    process = torchrun(*MLP, "--data", digits, cwd=here)
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("run folder: runs/mnist/mnist-mlp-scratch-001\n") == 1
    assert mnist(*MLP, "--data", digits) == 0
    two, one = (here / "runs" / "mnist" / f"mnist-mlp-scratch-{number:03d}" for number in (1, 2))
    assert len(rows(two)) == 33 + 1
    for found, expected in zip(rows(two), rows(one), strict=True):
        assert [found.pop(key) for key in ("split", "backend")] == [
            expected.pop(key) for key in ("split", "backend")
        ]
        assert found == pytest.approx(expected, rel=1e-12)  # float64 sums in another order
    weights, expected = (state(run)["learners"]["custom"]["model"] for run in (two, one))
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-14)

    (two / "summary.json").unlink()
    capsys.readouterr()
    assert mnist("--resume", two) == 1
    assert "expected 2 processes, as at the start of the run, got 1" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_two_processes_run_compiled(digits, here, monkeypatch):
    """Includes batches of which one process has two examples and the other one."""
    monkeypatch.setattr(chapter, "check_gradients", lambda digits, config: None)
    flags = [*MLP, "--max-steps", 8, "--data", digits]
    process = torchrun(*flags, "--compile", cwd=here)
    assert process.returncode == 0, process.stderr
    assert mnist(*flags) == 0
    two, one = (
        rows(here / "runs" / "mnist" / f"mnist-mlp-scratch-{number:03d}", split="train") for number in (1, 2)
    )
    assert [row["step"] for row in two] == list(range(1, 9))
    for figure in ("loss", "accuracy", "gradient_norm"):
        assert [row[figure] for row in two] == pytest.approx([row[figure] for row in one], rel=1e-12)


@pytest.fixture(scope="module")
def undisturbed(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    process = torchrun(*DEEP, "--data", digits, cwd=folder)
    assert process.returncode == 0, process.stderr
    return folder / "runs" / "mnist" / "mnist-deep-scratch-001"


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize(
    ("disturbance", "saved", "line"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", 7, KILLED),
        ("os.kill(os.getpid(), signal.SIGINT)", 9, INTERRUPTED),
        ("os.kill(os.getppid(), signal.SIGINT); time.sleep(2)", 9, INTERRUPTED),
    ],
    ids=["killed", "interrupted", "all interrupted by torchrun"],
)
def test_two_processes_stop_together_and_continue_bit_for_bit(disturbance, saved, line, undisturbed, digits, here):
    process = torchrun(*DEEP, "--data", digits, cwd=here, disturbance=disturbance)
    assert process.returncode != 0
    messages = stderr_lines(here)
    # torchrun may kill the other process before it prints.
    assert len(messages) == 1 or (line == KILLED and not messages)
    assert all(message.startswith(line) for message in messages)
    run = here / "runs" / "mnist" / "mnist-deep-scratch-001"
    assert state(run)["step"] == saved
    process = torchrun("--resume", run, cwd=here)
    assert process.returncode == 0, process.stderr
    assert_same_state(state(run), state(undisturbed))
    assert (run / "metrics.jsonl").read_text() == (undisturbed / "metrics.jsonl").read_text()


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize(
    ("words", "disturbance", "line"),
    [
        (["--lr", -1], "pass", "error: --lr: expected a number above 0, such as 0.05, got -1.0"),
        ([], "raise ExperimentError('no memory')", "error: no memory"),
        (["--lr", 1e9], "pass", "error: the loss of the custom network became "),
    ],
    ids=["in all", "in one", "found by all"],
)
def test_an_error_ends_all_processes_with_one_line(words, disturbance, line, digits, here):
    process = torchrun(*DEEP, "--data", digits, *words, cwd=here, disturbance=disturbance)
    assert process.returncode != 0
    (message,) = stderr_lines(here)
    assert message.startswith(line)
