"""A run that is killed and continued equals an uninterrupted run, bit for bit."""

from __future__ import annotations

import json
import shutil
import signal
import time

import pytest
import torch
from experiment_runs import assert_same_state, in_a_process, mnist, rows, state, write_mnist
from tensorboard.backend.event_processing.event_accumulator import (
    STORE_EVERYTHING_SIZE_GUIDANCE,
    EventAccumulator,
)

from experiments.chapters import mnist as chapter
from experiments.training import Learner

# The cnn has dropout, which needs the random state; 12 steps per epoch, a checkpoint every 5 steps.
FLAGS = ["--model", "cnn", "--epochs", 2, "--batch-size", 8, "--save-every", 5, "--every", 4, "--lr", 0.02]

# Run ``python -m experiments mnist …``, and send it a signal at a step or at a checkpoint.
AT_STEP = """
import os, sys
from experiments.__main__ import main
from experiments.chapters import mnist
mnist.check_gradients = lambda digits, config: None
from experiments.chapters import mnist as chapter
from experiments.training import Learner
steps, step = 0, Learner.step
def signalled(self, *batch):
    global steps
    steps += 1
    if steps == {at}:
        os.kill(os.getpid(), {signal})
    return step(self, *batch)
Learner.step = signalled
sys.exit(main(sys.argv[1:]))
"""
AT_CHECKPOINT = """
import os, sys
from experiments.__main__ import main
from experiments.chapters import mnist
mnist.check_gradients = lambda digits, config: None
checkpoints, replace = 0, os.replace
def signalled(old, new):
    global checkpoints
    checkpoints += new.name == "checkpoint.pt"
    if checkpoints == {at}:
        os.kill(os.getpid(), {signal})
    replace(old, new)
os.replace = signalled
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module", autouse=True)
def _without_comparison():
    """Skips the comparison of gradients, which takes longer than the short training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chapter, "check_gradients", lambda digits, config: None)
        yield


@pytest.fixture(scope="module")
def uninterrupted(tiny, tmp_path_factory):
    runs = tmp_path_factory.mktemp("uninterrupted")
    assert mnist(*FLAGS, "--data", tiny, "--runs", runs) == 0
    return runs / "mnist-cnn-scratch-001"


def test_the_seed_determines_the_run(uninterrupted, tiny, here):
    assert mnist(*FLAGS, "--data", tiny) == 0
    assert_same_state(state(here / "runs" / "mnist" / "mnist-cnn-scratch-001"), state(uninterrupted))
    assert mnist(*FLAGS, "--data", tiny, "--seed", 1) == 0
    other = state(here / "runs" / "mnist" / "mnist-cnn-scratch-002")["learners"]["custom"]["model"]["fc2.bias"]
    assert not torch.equal(other, state(uninterrupted)["learners"]["custom"]["model"]["fc2.bias"])


@pytest.mark.parametrize(
    ("script", "at", "saved"),
    [(AT_STEP, 8, 5), (AT_STEP, 18, 15), (AT_CHECKPOINT, 4, 10)],
    ids=["first epoch", "second epoch", "while saving"],
)
def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(script, at, saved, uninterrupted, tiny, here):
    script = script.format(at=at, signal=int(signal.SIGKILL))
    process = in_a_process(script, *FLAGS, "--data", tiny, cwd=here)
    assert process.returncode == -signal.SIGKILL, process.stderr
    run = here / "runs" / "mnist" / "mnist-cnn-scratch-001"
    assert state(run)["step"] == saved
    assert not (run / "summary.json").exists()

    time.sleep(1 - time.time() % 1)  # TensorBoard sorts files by the second in their names
    assert mnist("--resume", run) == 0
    assert_same_state(state(run), state(uninterrupted))
    assert (run / "metrics.jsonl").read_text() == (uninterrupted / "metrics.jsonl").read_text()
    found, expected = summary(run), summary(uninterrupted)
    assert found["test_loss"] == expected["test_loss"]
    assert found["seconds"] > 0
    for tag in ("loss/train", "accuracy/train", "loss/test", "optimizer/gradient_norm"):
        assert curve(run, tag) == curve(uninterrupted, tag)
    assert [step for step, _ in curve(run, "loss/train")] == list(range(1, 25))


def test_an_interrupt_saves_and_prints_the_command_to_continue(uninterrupted, tiny, here):
    script = AT_STEP.format(at=8, signal=int(signal.SIGINT))
    process = in_a_process(script, *FLAGS, "--data", tiny, cwd=here)
    assert process.returncode == 130, process.stderr
    assert process.stderr == (
        "interrupted at step 8 of 24, state saved; "
        "continue with: python -m experiments mnist --resume runs/mnist/mnist-cnn-scratch-001\n"
    )
    run = here / "runs" / "mnist" / "mnist-cnn-scratch-001"
    assert state(run)["step"] == 8
    assert mnist("--resume", run) == 0
    assert_same_state(state(run), state(uninterrupted))


def test_an_interrupt_during_evaluation_saves(uninterrupted, tiny, here, monkeypatch, capsys):
    evaluate = Learner.evaluate

    def interrupted(self, *test):
        signal.raise_signal(signal.SIGINT)
        return evaluate(self, *test)

    monkeypatch.setattr(Learner, "evaluate", interrupted)
    assert mnist(*FLAGS, "--data", tiny) == 130
    assert "interrupted at step 12 of 24" in capsys.readouterr().err
    run = here / "runs" / "mnist" / "mnist-cnn-scratch-001"
    assert (state(run)["step"], state(run)["evaluated"]) == (12, 0)
    monkeypatch.undo()
    assert mnist("--resume", run) == 0
    assert_same_state(state(run), state(uninterrupted))
    assert (run / "metrics.jsonl").read_text() == (uninterrupted / "metrics.jsonl").read_text()


def test_a_full_disk_is_one_line_and_keeps_the_last_checkpoint(uninterrupted, tiny, here):
    """A file size limit simulates the disk; only the first checkpoint, which has no momentum, is below it."""
    script = """
import resource, sys
from experiments.__main__ import main
from experiments.chapters import mnist
mnist.check_gradients = lambda digits, config: None
resource.setrlimit(resource.RLIMIT_FSIZE, (6_000_000, 6_000_000))
sys.exit(main(sys.argv[1:]))
"""
    process = in_a_process(script, *FLAGS, "--data", tiny, cwd=here)
    assert process.returncode == 1
    assert process.stderr == (
        "error: cannot write to 'runs/mnist/mnist-cnn-scratch-001': File too large; free some space, then "
        "continue with: python -m experiments mnist --resume runs/mnist/mnist-cnn-scratch-001\n"
    )
    run = here / "runs" / "mnist" / "mnist-cnn-scratch-001"
    assert state(run)["step"] == 0
    assert not list(run.glob(".*"))
    assert mnist("--resume", run) == 0
    assert_same_state(state(run), state(uninterrupted))


def test_max_steps_ends_with_an_evaluation(tiny, here):
    assert mnist("--model", "mlp", "--data", tiny, "--max-steps", 3) == 0
    run = here / "runs" / "mnist" / "mnist-mlp-scratch-001"
    assert state(run)["step"] == 3
    assert [row["step"] for row in rows(run, split="train")] == [1, 2, 3]
    assert [row["step"] for row in rows(run, split="test")] == [2, 3]


def test_resuming_with_other_data_is_an_error(uninterrupted, tiny, here, capsys):
    data = shutil.copytree(tiny, here / "data")
    script = AT_STEP.format(at=8, signal=int(signal.SIGKILL))
    in_a_process(script, *FLAGS, "--data", data, cwd=here)
    write_mnist(data, train=88, test=40)
    assert mnist("--resume", "runs/mnist/mnist-cnn-scratch-001") == 1
    assert "expected 96 training examples, as at the start of the run, got 88" in capsys.readouterr().err


def summary(run):
    return json.loads((run / "summary.json").read_text())


def curve(run, tag):
    """Returns the steps and values of a tag in TensorBoard."""
    events = EventAccumulator(str(run), size_guidance=STORE_EVERYTHING_SIZE_GUIDANCE).Reload()
    return [(point.step, point.value) for point in events.Scalars(tag)]
