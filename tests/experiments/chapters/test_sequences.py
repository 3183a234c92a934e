"""Tests of ``python -m experiments sequences`` and its measurements."""

from __future__ import annotations

import math

import pytest
import torch
from chapter_runs import assert_complete, assert_same_curves, summary
from experiment_runs import assert_same_state, rows, state

from experiments.__main__ import main
from experiments.backend import BUILTIN, CUSTOM
from experiments.chapters.sequences import callbacks
from experiments.chapters.sequences.callbacks import gradient_through_time
from experiments.chapters.sequences.networks import CELLS, SequenceModel, calculate, write
from experiments.chapters.sequences.tasks import chunks
from experiments.data import sequences
from experiments.training import Learner

FIGURES = ["1_gradient_before", "2_gradient_after"]
SMALL = ["--length", 6, "--examples", 60, "--hidden", 6, "--batch-size", 20, "--max-steps", 3, "--eval-every", 3]
EXACT = ["--dtype", "float64", "--every", 2]
TASKS = {
    "adding": ("mean sum as every answer: loss 0.1", "loss"),
    "copy": ("one chance in eight for each symbol: loss 2.0794", "loss"),
    "rows": ("most frequent digit as every answer: accuracy 1", "accuracy"),
    "arithmetic": ("most frequent digit at each place: accuracy ", "accuracy"),
    "text": ("the frequencies of characters: bits per character 4.", "bits_per_character"),
}


@pytest.fixture(scope="module", params=TASKS)
def both(request, tiny, tmp_path_factory):
    """Runs each task with both backends; one of them with all cells."""
    task, cell = request.param, "all" if request.param == "adding" else "gru"
    runs = tmp_path_factory.mktemp(task)
    data = ["--data", tiny] if task == "rows" else []
    words = ["sequences", "--task", task, "--cell", cell, "--runs", runs, *SMALL, *EXACT, *data]
    for backend in ("scratch", "builtin"):
        assert main([*map(str, words), "--backend", backend]) == 0
    folders = [runs / f"sequences-{task}-{backend}-001" for backend in ("scratch", "builtin")]
    return task, CELLS if cell == "all" else (cell,), folders


def test_a_run_is_complete_and_both_backends_have_the_same_curves(both):
    task, cells, folders = both
    writes = [f"{cell}_writes" for cell in cells] if task in ("arithmetic", "text") else []
    for run in folders:
        assert_complete(run, FIGURES, ["3_results", *writes], cells)
        comparison, figure = TASKS[task]
        assert comparison in (run / "conclusion.md").read_text()
        found = summary(run)
        assert found["figure"] == figure
        for cell in cells:
            last = rows(run / cell, split="test")[-1]
            assert last[figure] == found["values"][cell] == found["networks"][cell][f"test_{figure}"]
            assert math.isfinite(last["gradient_first_to_last_log10"])
    assert_same_curves(*folders, cells)


def test_a_killed_run_continues_with_its_unfinished_cell(tmp_path, monkeypatch):
    words = ["sequences", *map(str, [*SMALL, "--save-every", 1, "--runs", tmp_path])]
    assert main(words) == 0
    step, steps = Learner.step, 0

    def killed(self, *args):
        nonlocal steps
        steps += 1
        if steps == 6:
            raise MemoryError
        return step(self, *args)

    monkeypatch.setattr(Learner, "step", killed)
    with pytest.raises(MemoryError):
        main(words)
    monkeypatch.undo()
    undisturbed, run = (tmp_path / f"sequences-adding-scratch-00{number}" for number in (1, 2))
    assert not (run / "gru").exists()
    assert state(run / "lstm")["step"] == 2
    assert main(["sequences", "--resume", str(run)]) == 0
    for cell in CELLS:
        assert_same_state(state(run / cell), state(undisturbed / cell))
        assert (run / cell / "metrics.jsonl").read_text() == (undisturbed / cell / "metrics.jsonl").read_text()


def test_all_cells_of_a_finished_run_are_prolonged(tmp_path, capsys):
    assert main(["sequences", *map(str, [*SMALL, "--runs", tmp_path])]) == 0
    run = tmp_path / "sequences-adding-scratch-001"
    assert main(["sequences", "--resume", str(run), "--max-steps", "5"]) == 0
    assert "--max-steps 3 to 5" in capsys.readouterr().out
    for cell in CELLS:
        assert state(run / cell)["step"] == 5
        assert [row["step"] for row in rows(run / cell, split="train")] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--length 1", "--length: expected a whole number from 2 up, got 1"),
        ("--hidden 7", "--hidden: expected an even number from 2 up, got 7"),
        ("--examples 0", "--examples: expected a whole number from 1 up, got 0"),
        ("--task sing", "'sing'"),
    ],
)
def test_usage_errors_are_one_line(words, message, here, capsys):
    assert main(["sequences", *words.split()]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("backend", [CUSTOM, BUILTIN], ids=lambda backend: backend.name)
def test_weights_start_orthogonal_and_gates_open(cell, backend):
    torch.manual_seed(0)
    recurrent = SequenceModel(backend, cell, read=3, hidden=8, answer=2, span=50).recurrent
    for block in recurrent.weight_hh_l0.detach().split(8):
        torch.testing.assert_close(block @ block.T, torch.eye(8), atol=1e-5, rtol=0)
    gates = {"rnn": [], "lstm": ["enter", "keep", "new", "out"], "gru": ["reset", "keep", "new"]}[cell]
    biases = dict(zip(gates, recurrent.bias_ih_l0.detach().split(8), strict=False))
    if gates:
        memory = 1 / (1 - biases["keep"].sigmoid())
        assert memory.min() >= 1.9
        assert 20 < memory.max() < 51
        for name in set(gates) - {"keep", "enter"}:
            assert not biases[name].any()
    assert not recurrent.bias_hh_l0.any()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("last", [1, 2, None])
def test_gradient_through_time_is_the_total_derivative(cell, last):
    """Compares with the gradient of the loss as a function of the state, continuing from that state."""
    torch.manual_seed(0)
    model = SequenceModel(CUSTOM, cell, read=3, hidden=4, answer=2, last=last).double()
    inputs = torch.randn(5, 6, 3, dtype=torch.float64)
    times = 6 if last is None else last
    targets = torch.randn(5, 2, dtype=torch.float64) if last == 1 else torch.randint(2, (5, times))
    criterion = torch.nn.MSELoss() if last == 1 else torch.nn.CrossEntropyLoss()
    found = gradient_through_time(model, inputs, targets, criterion)
    assert list(found) == (["h", "c"] if cell == "lstm" else ["h"])

    for time in range(5):
        states, state = model.recurrent(inputs[:, : time + 1])
        parts = [part.detach().requires_grad_() for part in (state if cell == "lstm" else (state,))]
        rest, _ = model.recurrent(inputs[:, time + 1 :], tuple(parts) if cell == "lstm" else parts[0])
        whole = torch.cat((states[:, :-1].detach(), parts[0].transpose(0, 1), rest), 1)
        for name, gradient in zip(
            "hc", torch.autograd.grad(criterion(model.answer(whole), targets), parts), strict=False
        ):
            expected = 5 * gradient[0].norm(dim=1).mean().item()
            assert found[name][time] == pytest.approx(expected, rel=1e-9)
    assert len(found["h"]) == 6


def test_gradients_through_time_have_one_axis_for_all_networks(monkeypatch, here):
    drawn = []
    draw = callbacks.curves
    monkeypatch.setattr(
        callbacks, "curves", lambda *args, **options: drawn.append(draw(*args, **options)) or drawn[-1]
    )
    assert main(["sequences", *map(str, SMALL)]) == 0
    assert len(drawn) == len(CELLS) + 2
    assert {figure.axes[0].get_ylim() for figure in drawn} == {callbacks.AXIS}


class Parrot:
    """A network that always predicts the successor of the last character."""

    def read_on(self, characters, state=None):
        return 100 * torch.nn.functional.one_hot((characters + 1) % 10, 10).double(), state


class Calculator:
    """A network that adds, but whose answers are at least 500.

    Attributes:
        heard: The characters that it read after the sums.
    """

    def __init__(self):
        self.heard = []

    def read_on(self, characters, state=None):
        if state is None:
            asked = [sequences.decode(question).rstrip("=").split("+") for question in characters]
            state = [list(reversed(f"{max(500, int(a) + int(b)):04}")) for a, b in asked]
        else:
            self.heard.append(characters[:, 0].tolist())
        digits = torch.tensor([[int(answer.pop(0))] for answer in state])
        return torch.nn.functional.one_hot(digits, 10).double(), state


def test_write_samples_the_predicted_characters():
    assert write(Parrot(), torch.tensor([3, 4]), 7, temperature=1.0, seed=0).tolist() == [5, 6, 7, 8, 9, 0, 1]


def test_a_high_temperature_samples_every_character():
    drawn = [write(Parrot(), torch.tensor([3]), 50, temperature=1e6, seed=seed).tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 10


def test_calculate_feeds_back_its_own_digits():
    questions = [(437, 85), (12, 34)]
    read = torch.stack(
        [torch.tensor([sequences.CHARACTERS.index(c) for c in f"{a:03}+{b:03}=" + "000"]) for a, b in questions]
    )
    calculator = Calculator()
    assert calculate(calculator, read) == ["437+085=522", "012+034=500  (wrong: 46)"]
    assert calculator.heard == [[2, 0], [2, 0], [5, 5]]


def test_targets_of_chunks_are_the_next_characters():
    read, following = chunks(torch.arange(23, dtype=torch.uint8), 5)
    assert read.tolist() == [list(range(start, start + 5)) for start in (0, 5, 10, 15)]
    assert torch.equal(following, read.long() + 1)
    fewer, _ = chunks(torch.arange(23, dtype=torch.uint8), 5, most=2)
    assert torch.equal(fewer, read[::2])


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_quick_preset_beats_the_baseline_and_the_plain_network(task, here):
    assert main(["sequences", "--task", task]) == 0
    found = summary(here / "runs" / "sequences" / f"sequences-{task}-scratch-001")
    values = found["values"]
    sign = 1 if found["figure"] == "accuracy" else -1
    best = max(sign * values["lstm"], sign * values["gru"])
    assert best > sign * found["baseline"] + 0.4 * abs(found["baseline"])
    if task != "text":  # all networks learn equally much of it in so few steps
        assert best > sign * values["rnn"]
