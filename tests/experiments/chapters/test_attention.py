"""Tests of ``python -m experiments attention`` and its transformer."""

from __future__ import annotations

import math

import pytest
import torch
from chapter_runs import assert_complete, assert_same_curves, summary
from experiment_runs import assert_same_state, rows, state

from experiments.__main__ import main
from experiments.backend import BUILTIN, CUSTOM
from experiments.chapters.attention.networks import TransformerModel, attention_weights, equal_hidden
from experiments.chapters.attention.settings import NETWORKS
from experiments.chapters.sequences import callbacks, tasks
from experiments.chapters.sequences.networks import SequenceModel
from experiments.training import Learner

SIZES = ["--width", 8, "--heads", 2, "--depth", 1, "--examples", 60, "--delay", 16, "--length", 6]
SMALL = [*SIZES, "--batch-size", 20, "--max-steps", 3, "--eval-every", 3]
EXACT = ["--dtype", "float64", "--every", 2]
COPIES = [f"copy_{delay}_transformer" for delay in (1, 4, 16)]
TASKS = {
    "copy": ("transformer", ["1_copying", "2_copying_attention"], COPIES),
    "text": ("all", ["3_text", "4_text_attention"], [f"text_{network}" for network in NETWORKS]),
}


@pytest.fixture(scope="module", params=TASKS)
def both(request, tmp_path_factory):
    """Runs each task with both backends; one of them with all networks."""
    task = request.param
    runs = tmp_path_factory.mktemp(task)
    words = ["attention", "--task", task, "--network", TASKS[task][0], "--runs", runs, *SMALL, *EXACT]
    for backend in ("scratch", "builtin"):
        assert main([*map(str, words), "--backend", backend]) == 0
    return task, [runs / f"attention-{backend}-001" for backend in ("scratch", "builtin")]


def test_a_run_is_complete_and_both_backends_have_the_same_curves(both):
    task, folders = both
    _, figures, parts = TASKS[task]
    writes = [f"{network}_writes" for network in NETWORKS] if task == "text" else []
    for run in folders:
        assert_complete(run, figures, ["5_results", *writes], parts)
        found = summary(run)
        assert list(found) == parts
        for part in parts:
            figure = "bits_per_character" if task == "text" else "loss"
            assert found[part]["figure"] == figure
            assert found[part]["value"] == rows(run / part, split="test")[-1][figure]
    assert_same_curves(*folders, parts)


def test_a_killed_run_continues_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks, "WRITTEN", 5)
    words = ["attention", "--task", "text", "--network", "transformer", *SMALL, "--save-every", 1]
    words = [*map(str, words), "--runs", str(tmp_path)]
    assert main(words) == 0
    step, steps = Learner.step, 0

    def killed(self, *args):
        nonlocal steps
        steps += 1
        if steps == 3:
            raise MemoryError
        return step(self, *args)

    monkeypatch.setattr(Learner, "step", killed)
    with pytest.raises(MemoryError):
        main(words)
    monkeypatch.setattr(Learner, "step", step)
    undisturbed, run = (tmp_path / f"attention-scratch-00{number}" / "text_transformer" for number in (1, 2))
    assert state(run)["step"] == 2
    assert main(["attention", "--resume", str(run.parent)]) == 0
    assert_same_state(state(run), state(undisturbed))
    assert (run / "metrics.jsonl").read_text() == (undisturbed / "metrics.jsonl").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--delay 15", "--delay: expected a whole number from 16 up, got 15"),
        ("--length 1", "--length: expected a whole number from 2 up, got 1"),
        ("--depth 0", "--depth: expected a whole number from 1 up, got 0"),
        ("--heads 0", "--heads: expected a whole number from 1 up, got 0"),
        ("--width 10", "--width: expected an even multiple of 4 heads, got 10"),
        ("--width 9 --heads 3", "--width: expected an even multiple of 3 heads, got 9"),
        ("--network rnn", "'rnn'"),
    ],
)
def test_usage_errors_are_one_line(words, message, here, capsys):
    assert main(["attention", *words.split()]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def transformer(backend):
    torch.manual_seed(0)
    sizes = {"depth": 2, "heads": 2, "longest": 9, "hidden": 8}
    return TransformerModel(backend, read=7, answer=5, last=None, characters=True, **sizes).double()


def codes(*shape):
    return torch.randint(7, shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("backend", [CUSTOM, BUILTIN], ids=lambda backend: backend.name)
def test_what_lies_ahead_changes_nothing(backend):
    model = transformer(backend)
    read = codes(3, 9)
    answers = model(read)
    assert answers.shape == (3, 5, 9)
    for time in (0, 4, 8):
        other = read.clone()
        other[:, time] = (other[:, time] + 1) % 7
        changed = (model(other) - answers).abs().amax((0, 1)) > 1e-9
        assert changed.tolist() == [False] * time + [True] * (9 - time)


@pytest.mark.parametrize("backend", [CUSTOM, BUILTIN], ids=lambda backend: backend.name)
def test_reading_on_is_reading_at_once_as_far_as_it_looks_back(backend):
    model = transformer(backend)
    read = codes(2, 12)
    first, state = model.read_on(read[:, :4])
    second, state = model.read_on(read[:, 4:9], state)
    whole, _ = model.read_on(read[:, :9])
    torch.testing.assert_close(torch.cat((first, second), 1), whole)
    forgotten, _ = model.read_on(read[:, 9:], state)
    torch.testing.assert_close(forgotten, model.read_on(read[:, 3:])[0][:, -3:])
    torch.testing.assert_close(model.read_on(read)[0], model.read_on(read[:, 3:])[0])


def test_attention_weights_are_shares_of_the_past_in_both_backends():
    inputs = codes(3, 9)
    model, builtin = transformer(CUSTOM), transformer(BUILTIN)
    ours, theirs = attention_weights(model, inputs), attention_weights(builtin, inputs)
    torch.testing.assert_close(ours, theirs)
    for weights in ours:
        assert weights.shape == (3, 2, 9, 9)
        torch.testing.assert_close(weights.sum(-1), torch.ones(3, 2, 9, dtype=torch.float64))
        assert not weights.triu(1).any()


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_recurrent_networks_have_as_many_parameters(cell):
    network = tasks.copying(10, 5).network
    for parameters in (5_000, 26_440):
        with torch.device("meta"):
            hidden = equal_hidden(cell, parameters, network)
        sizes = [
            sum(p.numel() for p in SequenceModel(CUSTOM, cell, hidden=each, **network).parameters())
            for each in (hidden, hidden + 2)
        ]
        assert sizes[0] <= parameters < sizes[1]
        assert sizes[0] > 0.9 * parameters


@pytest.mark.slow
def test_quick_preset_copies_by_attention_alone(here):
    assert main(["attention"]) == 0
    found = summary(here / "runs" / "attention" / "attention-scratch-001")
    for delay in (5, 20, 80):
        losses = {network: found[f"copy_{delay}_{network}"]["value"] for network in NETWORKS}
        assert losses["transformer"] < 0.05
        assert min(losses["lstm"], losses["gru"]) > 1
    for network in NETWORKS:
        assert found[f"text_{network}"]["value"] < 4
        assert math.isfinite(found[f"text_{network}"]["seconds"])
