"""Tests of ``python -m experiments backprop``."""

from __future__ import annotations

import pytest
from chapter_runs import assert_complete, assert_same_curves, run_both, summary
from experiment_runs import rows

from experiments import processes
from experiments.__main__ import main


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return run_both("backprop", tmp_path_factory.mktemp("runs"), "--widest", 4, "--epochs", 250)


def test_a_run_is_complete(both):
    for run in both:
        assert_complete(run, ["3_cost", "4_differences"], ["1_deltas", "2_gradients"], ["xor"])


def test_gradients_by_hand_equal_autograd_and_differences(both):
    for run in both:
        found = summary(run)
        assert found["one_step"]["autograd"] < 1e-14
        assert found["one_step"]["differences"] < 1e-8
        assert all(row["disagreement"] < 1e-12 for row in rows(run / "xor", split="train"))


def test_hand_written_gradients_learn_xor(both):
    for run in both:
        assert summary(run)["learning"]["test_accuracy"] == 1
        assert summary(run)["learning"]["test_loss"] < 1e-3
    assert_same_curves(*both, ["xor"])


def test_differences_cost_two_passes_for_each_weight(both):
    for run in both:
        cost = summary(run)["cost_in_forward_passes"]
        # Times: on a busy machine they are off by a factor, and these differ by more than ten.
        assert cost["weights"] > 90
        assert cost["differences"] > cost["autograd"]


def test_tables_contain_every_unit_and_weight(both):
    deltas = (both[0] / "1_deltas.md").read_text()
    for unit in ("1.1", "1.2", "1.3", "2.1"):
        assert f"\n| {unit} | " in deltas
    gradients = (both[0] / "2_gradients.md").read_text()
    for weight in ("0.weight[2, 1]", "0.bias[2]", "2.weight[0, 2]", "2.bias[0]"):
        assert f"\n| {weight} | " in gradients


def test_several_processes_are_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(processes, "size", lambda: 2)
    assert main(["backprop", "--runs", str(tmp_path)]) == 2
    assert "backprop: expected one process, got 2; start it without torchrun" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
