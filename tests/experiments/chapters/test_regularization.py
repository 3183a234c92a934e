"""Tests of ``python -m experiments regularization``."""

from __future__ import annotations

import pytest
from chapter_runs import assert_complete, assert_same_curves, run_both, summary
from experiment_runs import rows, state

from experiments.chapters.regularization import REMEDIES

FIGURES = ["1_gap", "2_test_loss", "3_weights"]
SMALL = ["--examples", 128, "--epochs", 12, "--hidden", 48, "--eval-every", 6, "--dtype", "float64"]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return run_both("regularization", tmp_path_factory.mktemp("runs"), *SMALL)


def weights(run, part):
    model = next(iter(state(run / part)["learners"].values()))["model"]
    return model["fc1.weight"]


def test_a_run_is_complete(both):
    for run in both:
        assert_complete(run, FIGURES, ["4_results"], REMEDIES)


def test_gap_is_training_minus_test_accuracy(both):
    for run in both:
        for name in REMEDIES:
            last = rows(run / name, split="test")[-1]
            assert last["gap"] == pytest.approx(last["seen_accuracy"] - last["accuracy"])
        found = summary(run)
        assert found["none"]["seen_accuracy"] > 0.99
        assert found["augmentation"]["gap"] < found["none"]["gap"]


def test_penalties_shrink_the_weights(both):
    for run in both:
        plain, l1, l2, limited = (weights(run, part) for part in ("none", "l1", "l2", "max_norm"))
        assert l2.norm() < plain.norm()
        tiny = [(each.abs() < 1e-4).double().mean() for each in (plain, l1)]
        assert tiny[1] > 3 * tiny[0]
        assert limited.norm(dim=1).max() < 0.6 + 1e-6 < plain.norm(dim=1).max()


def test_early_stopping_stops_early(both):
    for run in both:
        found = summary(run)
        assert found["early_stopping"]["steps"] < found["none"]["steps"]
        losses = [row["loss"] for row in rows(run / "early_stopping", split="test")]
        assert min(losses) == losses[-4] < found["none"]["loss"]


def test_both_backends_have_the_same_curves(both):
    assert_same_curves(*both, [part for part in REMEDIES if part != "max_norm"])
    assert_same_curves(*both, ["max_norm"], rel=1e-6)  # torch.renorm divides by the norm + 1e-7; measured: 3.2e-7
