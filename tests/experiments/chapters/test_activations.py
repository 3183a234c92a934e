"""Tests of ``python -m experiments activations``."""

from __future__ import annotations

import pytest
from chapter_runs import assert_complete, assert_same_curves, run_both, summary
from experiment_runs import rows

from experiments.chapters.activations import ACTIVATIONS

FIGURES = ["1_functions", "2_slopes", "3_depth_before", "4_depth_after", "5_flat", "6_dead", "7_error"]
SMALL = ["--examples", 320, "--epochs", 1, "--depth", 6, "--width", 24, "--eval-every", 3, "--dtype", "float64"]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return run_both("activations", tmp_path_factory.mktemp("runs"), *SMALL)


def test_a_run_is_complete(both):
    for run in both:
        assert_complete(run, FIGURES, ["8_cost", "9_results"], ACTIVATIONS)


def test_gradients_vanish_toward_the_first_layer_only_with_sigmoids(both):
    for run in both:
        reach = {name: summary(run)[name]["first_over_last_gradient"] for name in ACTIVATIONS}
        assert reach["sigmoid"] < 0.01
        assert all(share > 0.5 for name, share in reach.items() if name != "sigmoid")


def test_only_relus_have_dead_units(both):
    for run in both:
        for name in ACTIVATIONS:
            shares = [(row["flat"], row["dead"]) for row in rows(run / name, split="test")]
            assert len(shares) == 2
            for flat, dead in shares:
                assert 0 <= dead <= flat <= 1
                assert (flat > 0.3) == (name == "relu")
                assert dead == 0 or name == "relu"


def test_errors_have_the_size_of_float32_rounding(both):
    for run in both:
        found = summary(run)
        for name in ("sigmoid", "tanh", "relu", "leaky_relu", "elu", "learned_elu"):
            assert found[name]["value_error"] < 1e-6
            assert 0 < found[name]["forward_ns"] < found[name]["both_ns"]
        assert found["relu"]["slope_error"] == 0
        assert found["tanh"]["slope_error"] > 0.5  # at large inputs 1 - tanh² rounds to 0 in float32


def test_both_backends_have_the_same_curves(both):
    assert_same_curves(*both, ACTIVATIONS)
