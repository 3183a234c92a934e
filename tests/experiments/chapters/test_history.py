"""Tests of ``python -m experiments history``."""

from __future__ import annotations

import pytest
from chapter_runs import assert_complete, assert_same_curves, run_both, summary

from experiments import processes
from experiments.__main__ import main
from experiments.data.synthetic import GATES

GATE_PARTS = [f"perceptron_{gate}" for gate in GATES] + ["two_layers_XOR"]
PARTS = [*GATE_PARTS, "moons_linear", "moons_polynomial", "moons_rbf", "digits_linear", "digits_rbf"]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return run_both("history", tmp_path_factory.mktemp("runs"), "--digits", 100)


def test_a_run_is_complete(both):
    for run in both:
        assert_complete(run, ["1_gates", "2_moons"], ["3_accuracy"], PARTS)


def test_one_layer_fails_only_on_xor(both):
    for run in both:
        right = [summary(run)[part]["train_accuracy"] for part in GATE_PARTS]
        assert right[:2] == [1, 1]
        assert right[2] < 1
        assert right[3] == 1


def test_kernels_improve_on_a_line(both):
    for run in both:
        line, cubic, radial = (summary(run)[part]["test_accuracy"] for part in PARTS[4:7])
        assert line < 0.89 < 0.91 < cubic < radial


def test_both_backends_have_the_same_curves(both):
    # In float64; the digits are in float32, where rounding sometimes moves an example across the hinge.
    assert_same_curves(*both, PARTS[:7])
    assert_same_curves(*both, PARTS[7:], rel=1e-5)  # measured: 1.2e-7


def test_a_stopped_run_continues_with_its_unfinished_part(both, capsys):
    run = both[0]
    before = {part: (run / part / "checkpoint.pt").read_bytes() for part in PARTS}
    conclusion = (run / "3_accuracy.md").read_text()
    (run / "summary.json").unlink()
    (run / "digits_rbf" / "summary.json").unlink()
    assert main(["history", "--resume", str(run)]) == 0
    assert (run / "3_accuracy.md").read_text() == conclusion
    for part in PARTS[:-1]:
        assert (run / part / "checkpoint.pt").read_bytes() == before[part]


@pytest.mark.slow
def test_rbf_machine_beats_linear_machine_on_digits(tmp_path):
    (scratch, builtin) = run_both("history", tmp_path, "--data", "sample", "--digits", 5000)
    for run in (scratch, builtin):
        found = summary(run)
        assert found["digits_rbf"]["test_accuracy"] > 0.94 > found["digits_linear"]["test_accuracy"]


def test_too_few_digits_are_an_error(tmp_path, capsys):
    assert main(["history", "--digits", "3", "--runs", str(tmp_path)]) == 2
    assert "--digits: expected a whole number from 10 up, got 3" in capsys.readouterr().err


def test_several_processes_are_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(processes, "size", lambda: 2)
    assert main(["history", "--runs", str(tmp_path)]) == 2
    assert "history: expected one process, got 2; start it without torchrun" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
