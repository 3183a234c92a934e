"""The best evaluation, early stopping, the steps of evaluations, and all of these after a crash."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from experiment_runs import assert_same_state, rows, state
from torch import nn

from experiments.run import Run
from experiments.settings import Settings
from experiments.training import Learner, Task, summary, train
from experiments.training.evaluation import Best

SETTINGS = Settings(epochs=6, batch_size=8, lr=0.5, every=3, save_every=4, device="cpu", preset=None)


class Crash(Exception):
    """Stands for any error that ends a process."""


@pytest.fixture
def settings(tmp_path):
    return replace(SETTINGS, runs=tmp_path)


@pytest.fixture
def noisy():
    """Random classes, on which training soon makes the test loss worse."""
    generator = torch.Generator().manual_seed(2)
    inputs, targets = torch.randn(48, 6, generator=generator), torch.randint(3, (48,), generator=generator)
    return Task(
        (inputs[:20], targets[:20]), (inputs[20:], targets[20:]), augment=lambda x: x + torch.randn_like(x)
    )


def build(backend):
    layer = backend.nn
    return layer.Sequential(
        layer.Linear(6, 16), layer.BatchNorm1d(16), layer.ReLU(), layer.Dropout(0.2), layer.Linear(16, 3),
        layer.LogSoftmax(dim=1),
    )  # fmt: skip


def test_evaluations_happen_every_eval_every_steps_and_at_the_end(settings, noisy):
    run = Run.create(settings, "often")
    train(run, build, noisy, replace(settings, eval_every=4, epochs=None, max_steps=10))
    assert [row["step"] for row in rows(run.folder, split="test")] == [4, 8, 10]


def test_patience_stops_training(settings, noisy):
    run = Run.create(settings, "patient")
    training = train(run, build, noisy, replace(settings, patience=2, epochs=100))
    losses, accuracies = ([row[name] for row in rows(run.folder, split="test")] for name in ("loss", "accuracy"))
    assert training.step == 3 * len(losses) < 300
    assert min(losses) == losses[-3]
    assert training.best.results["custom"]["accuracy"] == max(accuracies)
    assert training.best.step == 3 * (accuracies.index(max(accuracies)) + 1)
    assert summary(training)["best"] == {"step": training.best.step, **training.best.results["custom"]}
    assert summary(training)["test_accuracy"] == accuracies[-1]


def test_best_weights_are_saved(settings, noisy):
    run = Run.create(settings, "best")
    training = train(run, build, noisy, replace(settings, patience=2, epochs=100))
    best = torch.load(run.best, weights_only=True)
    assert best["step"] == training.best.step < training.step
    model = build(training.learners[0].backend)
    model.load_state_dict(best["models"]["custom"])
    with torch.no_grad():
        loss = nn.functional.nll_loss(model.eval()(noisy.test[0]), noisy.test[1])
    assert loss.item() == pytest.approx(best["results"]["custom"]["loss"], rel=1e-6)


def test_without_accuracy_the_lowest_loss_is_best():
    best = Best(patience=None)
    taken = [best.update(step, {"custom": {"loss": loss}}) for step, loss in enumerate([3.0, 2.0, 2.0, 4.0, 1.0])]
    assert taken == [True, True, False, False, True]
    assert (best.step, best.since, best.exhausted) == (4, 0, False)
    assert not best.update(5, {"custom": {"loss": float("nan")}})


def test_patience_counts_the_loss_even_if_accuracy_improves():
    best = Best(patience=2)
    for step, (loss, accuracy) in enumerate([(1.0, 0.5), (0.8, 0.6), (0.9, 0.7), (1.1, 0.8)]):
        assert not best.exhausted
        assert best.update(step, {"custom": {"loss": loss, "accuracy": accuracy}})
    assert best.exhausted
    assert (best.step, best.lowest) == (3, 0.8)


FEATURES = [
    {"patience": 3, "epochs": 100},
    {"clip": 0.3, "accumulate": 3, "schedule": "step"},
    {"amp": "bf16", "schedule": "constant", "eval_every": 2},
    {"backend": "twin", "max_steps": 14},
]


@pytest.mark.parametrize("features", FEATURES, ids=lambda features: "-".join(features))
def test_a_crashed_run_continues_bit_for_bit(features, settings, noisy, monkeypatch):
    settings = replace(settings, **features)
    undisturbed, run = Run.create(settings, "undisturbed"), Run.create(settings, "crashed")
    train(undisturbed, build, noisy, settings)
    steps, step = 0, Learner.step

    def crashing(self, *batch):
        nonlocal steps
        steps += 1
        if steps == 11:
            raise Crash
        return step(self, *batch)

    monkeypatch.setattr(Learner, "step", crashing)
    with pytest.raises(Crash):
        train(run, build, noisy, settings)
    again = Run.reopen(run.folder)
    assert not again.finished
    assert state(run.folder)["step"] < 11
    train(again, build, noisy, settings)
    assert steps > 11
    assert_same_state(state(run.folder), state(undisturbed.folder))
    assert (run.folder / "metrics.jsonl").read_text() == (undisturbed.folder / "metrics.jsonl").read_text()
    best, expected = (torch.load(each.best, weights_only=True) for each in (run, undisturbed))
    assert best.pop("settings") == expected.pop("settings")
    torch.testing.assert_close(best, expected, rtol=0, atol=0)
