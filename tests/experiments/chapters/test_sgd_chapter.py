"""Tests of ``python -m experiments sgd``."""

from __future__ import annotations

import math

import pytest
import torch
from chapter_runs import assert_complete, assert_same_curves, run_both, summary
from experiment_runs import rows, state

from experiments.backend import BUILTIN, CUSTOM
from experiments.chapters.sgd import DESCENTS, STEPS, SWEEPS, descend
from experiments.data.synthetic import SURFACES

FIGURES = [
    *(f"1_path_{name}" for name in SURFACES),
    "2_noise", "3_batch_size", "4_learning_rate", "5_momentum", "6_schedule", "7_weight_decay",
]  # fmt: skip
PARTS = [name for sweep in SWEEPS.values() for name in sweep]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return run_both("sgd", tmp_path_factory.mktemp("runs"), "--examples", 512, "--epochs", 1, "--dtype", "float64")


def test_a_run_is_complete(both):
    for run in both:
        assert_complete(run, FIGURES, ["8_results"], PARTS)


def test_noise_is_inversely_proportional_to_the_root_of_the_batch_size(both):
    for run in both:
        noise = {int(size): each for size, each in summary(run)["noise"].items()}
        for size, each in noise.items():
            assert each == pytest.approx(noise[1] / math.sqrt(size), rel=0.4)


def test_parts_use_the_settings_in_their_names(both):
    run = both[0]
    assert len(rows(run / "batch_8", split="train")) == 64
    assert len(rows(run / "batch_512", split="train")) == 1
    assert {row["lr"] for row in rows(run / "lr_0.001", split="train")} == {0.001}
    rates = {name: [row["lr"] for row in rows(run / name, split="train")] for name in SWEEPS["schedule"]}
    assert set(rates["constant"]) == {0.1}
    assert rates["step"][0] == 0.1
    assert rates["step"][-1] == pytest.approx(0.001)
    assert rates["cosine"][-1] < 0.1 * max(rates["cosine"])
    assert summary(run)["momentum"]["test_loss"] < summary(run)["plain"]["test_loss"]
    losses = [[row["loss"] for row in rows(run / name, split="train")] for name in ("momentum", "nesterov")]
    assert losses[0][0] == losses[1][0]
    assert losses[0][1:] != losses[1][1:]
    norms = [
        sum(
            weight.square().sum()
            for weight in state(run / f"decay_{decay}")["learners"]["custom"]["model"].values()
        )
        for decay in ("0.001", "0.01", "0.1")
    ]
    assert norms[0] > norms[1] > norms[2]


def test_both_backends_have_the_same_curves(both):
    assert_same_curves(*both, PARTS)


@pytest.mark.parametrize("name", SURFACES)
def test_momentum_gets_closer_to_the_minimum_on_every_surface(name):
    surface = SURFACES[name]
    left = {}
    for descent, options in DESCENTS.items():
        ours, theirs = (descend(surface, backend, options) for backend in (CUSTOM, BUILTIN))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
        assert ours.shape == (STEPS + 1, 2)
        left[descent] = (ours[-1] - torch.tensor(surface.lowest)).norm().item()
    assert max(left["momentum"], left["nesterov"]) < 0.5 * left["plain"]
