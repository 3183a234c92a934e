"""``python -m experiments history`` from end to end."""

from __future__ import annotations

import pytest
from chapter_runs import assert_same_curves, assert_whole, run_both, summary

from experiments import processes
from experiments.__main__ import main
from experiments.data.plane import GATES

GATE_PARTS = [f"perceptron_{gate}" for gate in GATES] + ["two_layers_XOR"]
PARTS = [*GATE_PARTS, "moons_linear", "moons_polynomial", "moons_rbf", "digits_linear", "digits_rbf"]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return run_both("history", tmp_path_factory.mktemp("runs"), "--digits", 100)


def test_a_run_is_whole(both):
    for run in both:
        assert_whole(run, ["1_gates", "2_moons"], ["3_accuracy"], PARTS)


def test_one_layer_fails_on_xor_alone(both):
    for run in both:
        right = [summary(run)[part]["train_accuracy"] for part in GATE_PARTS]
        assert right[:2] == [1, 1]
        assert right[2] < 1
        assert right[3] == 1


def test_kernels_bend_the_line(both):
    for run in both:
        line, cubic, radial = (summary(run)[part]["test_accuracy"] for part in PARTS[4:7])
        assert line < 0.89 < 0.91 < cubic < radial


def test_the_backends_tell_the_same_story(both):
    # In float64, and of the digits in float32, where rounding moves a hinge to the other side now and then.
    assert_same_curves(*both, PARTS[:7])
    assert_same_curves(*both, PARTS[7:], rel=1e-5)  # float32: they differ by 1.2e-7


def test_a_run_that_was_stopped_goes_on_with_its_part(both, capsys):
    run = both[0]
    before = {part: (run / part / "checkpoint.pt").read_bytes() for part in PARTS}
    told = (run / "3_accuracy.md").read_text()
    (run / "summary.json").unlink()
    (run / "digits_rbf" / "summary.json").unlink()
    assert main(["history", "--resume", str(run)]) == 0
    assert (run / "3_accuracy.md").read_text() == told
    for part in PARTS[:-1]:
        assert (run / part / "checkpoint.pt").read_bytes() == before[part]


@pytest.mark.slow
def test_the_radial_machine_reads_digits(tmp_path):
    (scratch, builtin) = run_both("history", tmp_path, "--data", "sample", "--digits", 5000)
    for run in (scratch, builtin):
        found = summary(run)
        assert found["digits_rbf"]["test_accuracy"] > 0.94 > found["digits_linear"]["test_accuracy"]


def test_the_feature_space_needs_digits(tmp_path, capsys):
    assert main(["history", "--digits", "3", "--runs", str(tmp_path)]) == 2
    assert "--digits: expected a whole number from 10 up, got 3" in capsys.readouterr().err


def test_it_runs_in_one_process(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(processes, "size", lambda: 2)
    assert main(["history", "--runs", str(tmp_path)]) == 2
    assert "history: expected one process, got 2; start it without torchrun" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
