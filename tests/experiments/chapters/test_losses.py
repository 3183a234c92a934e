"""Tests of ``python -m experiments losses``."""

from __future__ import annotations

import re

import pytest
import torch
from chapter_runs import assert_complete, assert_same_curves, run_both, summary
from experiment_runs import rows

from experiments.__main__ import main
from experiments.backend import BUILTIN, CUSTOM
from experiments.chapters.losses import FOR_CLASSES, FOR_NUMBERS, by_point, squared_error
from experiments.training import Learner

FIGURES = ["1_by_margin", "2_slope_by_margin", "3_by_residual", "4_lines"]
WRONG = ["wrong_start_squared_error", "wrong_start_cross_entropy"]
SMALL = ["--examples", 960, "--epochs", 2, "--dtype", "float64"]
PARTS = [*FOR_CLASSES, *WRONG, *(f"line_{name}" for name in FOR_NUMBERS)]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return run_both(
        "losses", tmp_path_factory.mktemp("runs"), "--examples", 960, "--epochs", 2, "--dtype", "float64"
    )


def test_a_run_is_complete(both):
    for run in both:
        assert_complete(run, FIGURES, ["5_classes", "6_lines"], PARTS)


def test_only_cross_entropy_recovers_quickly_from_a_wrong_start(both):
    for run in both:
        squared, entropy = (summary(run)[name]["test_accuracy"] for name in WRONG)
        assert squared < 0.2 < 0.7 < entropy
        conclusion = (run / "conclusion.md").read_text()
        found = re.search(r"right not within 30 steps with squared error and after (\d+) steps", conclusion)
        steps = int(found[1])
        accuracy = [row["accuracy"] for row in rows(run / WRONG[1], split="train")]
        means = [sum(accuracy[place : place + 10]) / 10 for place in range(21)]
        assert max(means[: steps - 10]) < 0.5 <= means[steps - 10]


def test_only_l2_is_sensitive_to_outliers(both):
    for run in both:
        slopes = {name: line["slope"] for name, line in summary(run)["lines"].items()}
        assert slopes["L2"] > 4
        assert slopes["L1"] == pytest.approx(2, abs=0.1)
        assert slopes["Huber"] == pytest.approx(2, abs=0.5)


def test_both_backends_have_the_same_curves(both):
    assert_same_curves(*both, PARTS)


def test_losses_and_slopes_match_their_formulas():
    margins = torch.tensor([[-3.0], [0.0], [2.0]], dtype=torch.float64)
    scores, labels = torch.cat([margins, torch.zeros_like(margins)], 1), torch.zeros(3, dtype=torch.long)
    p = torch.sigmoid(margins.flatten())  # of the right class
    for backend in (CUSTOM, BUILTIN):
        values, slopes = by_point(squared_error(backend.nn), scores, labels)
        assert values == pytest.approx((2 * (1 - p) ** 2).tolist())
        assert slopes == pytest.approx((-4 * (1 - p) ** 2 * p).tolist())
        values, slopes = by_point(FOR_CLASSES["cross_entropy"](backend.nn), scores, labels)
        assert values == pytest.approx((-p.log()).tolist())
        assert slopes == pytest.approx((p - 1).tolist())


@pytest.mark.slow
def test_a_crashed_run_continues_bit_for_bit(both, tmp_path, monkeypatch):
    step, steps = Learner.step, 0

    def crashing(self, *batch):
        nonlocal steps
        steps += 1
        if steps == 77:
            raise Crash
        return step(self, *batch)

    monkeypatch.setattr(Learner, "step", crashing)
    with pytest.raises(Crash):
        main(["losses", "--runs", str(tmp_path), *map(str, SMALL)])
    run = tmp_path / "losses-scratch-001"
    assert len([part for part in PARTS if (run / part / "summary.json").is_file()]) == 2
    assert main(["losses", "--resume", str(run)]) == 0
    assert steps > 77
    for part in PARTS:
        assert (run / part / "metrics.jsonl").read_text() == (both[0] / part / "metrics.jsonl").read_text()
    for page in ("5_classes", "6_lines", "conclusion"):
        assert (run / f"{page}.md").read_text() == (both[0] / f"{page}.md").read_text()


class Crash(Exception):
    """Stops a training."""
