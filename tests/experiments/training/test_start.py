"""Trains different tasks and numbers of networks by `train`."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from experiment_runs import rows, state
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from experiments.run import Run
from experiments.settings import Settings
from experiments.training import CallbackState, Task, summary, train

SETTINGS = Settings(epochs=2, batch_size=8, lr=0.1, momentum=0.5, every=3, device="cpu", preset=None)


def regression(count=20):
    inputs = torch.randn(count, 3, generator=torch.Generator().manual_seed(1))
    targets = inputs @ torch.tensor([[1.0], [-2.0], [0.5]])
    return Task((inputs, targets), (inputs, targets), criterion=lambda nn: nn.MSELoss(), right=None)


def linear(backend):
    return backend.nn.Linear(3, 1)


@pytest.fixture
def settings(tmp_path):
    return replace(SETTINGS, runs=tmp_path)


def test_a_regression_has_no_accuracy(settings, capsys):
    run = Run.create(settings, "line")
    assert run.folder.name == "line-scratch-001"
    training = train(run, linear, regression(), replace(settings, epochs=20))
    assert training.results["custom"].keys() == {"loss"}
    assert training.results["custom"]["loss"] < 0.1
    assert rows(run.folder, split="test")[-1].keys() == {"step", "epoch", "split", "backend", "loss"}
    assert "accuracy" not in capsys.readouterr().out
    assert "test_accuracy" not in summary(training)


def test_targets_may_have_a_class_for_each_position(settings):
    """Copies a sequence of characters, with outputs of shape (B, classes, T)."""

    class Copier(nn.Module):
        def __init__(self, backend):
            super().__init__()
            self.embedding = backend.nn.Embedding(5, 5)
            self.loss = backend.nn.LogSoftmax(dim=1)

        def forward(self, characters):
            return self.loss(self.embedding(characters).transpose(1, 2))

    characters = torch.randint(5, (40, 7), generator=torch.Generator().manual_seed(1))
    task = Task((characters, characters), (characters[:9], characters[:9]))
    settings = replace(settings, epochs=20, lr=2.0, backend="twin")
    training = train(Run.create(settings, "copy"), Copier, task, settings)
    assert training.results["custom"]["accuracy"] == training.results["builtin"]["accuracy"] > 0.9
    assert training.drift.largest["loss"] < 1e-4


def test_finished_parts_are_only_loaded(settings):
    run = Run.create(settings, "rates")
    rates = {"slow": 0.01, "fast": 0.1}
    first = {
        name: summary(train(run.part(name), linear, regression(), replace(settings, lr=lr)))
        for name, lr in rates.items()
    }
    for name in rates:
        assert json.loads((run.folder / name / "summary.json").read_text()) == first[name]
        assert EventAccumulator(str(run.folder / name)).Reload().Scalars("loss/test")
    assert first["slow"]["test_loss"] > first["fast"]["test_loss"]
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    again = Run.reopen(run.folder)
    for name, lr in rates.items():
        training = train(again.part(name), linear, regression(), replace(settings, lr=lr))
        assert summary(training) == first[name]
        assert (
            training.learners[0].model.weight.tolist()
            == state(run.folder / name)["learners"]["custom"]["model"]["weight"].tolist()
        )
    assert {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()} == before


def test_callbacks_add_curves_without_affecting_training(settings):
    """The callbacks use random numbers and overwrite gradients; the other metrics stay the same."""
    seen = []

    def callback(state: CallbackState):
        seen.append((state.step, state.evaluation is not None))
        model = state.learner.model
        assert not model.training
        model(torch.randn(4, 3)).sum().backward()
        state.writer.add_text("note", "seen", state.step)
        state.run.write_text(f"{state.step}.txt", "seen")
        return {"gradient": model[1].weight.grad.norm()}

    def dropping(backend):
        return backend.nn.Sequential(backend.nn.Dropout(0.3), backend.nn.Linear(3, 1))

    plain = Run.create(settings, "plain")
    train(plain, dropping, regression(), settings)
    observed = Run.create(settings, "observed")
    train(observed, dropping, regression(), settings, at_step=callback, at_evaluation=callback)
    assert seen == [(1, False), (3, True), (4, False), (6, False), (6, True)]
    assert (observed.folder / "4.txt").read_text() == "seen"
    ours, theirs = rows(observed.folder), rows(plain.folder)
    added = [row.pop("gradient", None) is not None for row in ours]
    assert added == [True, False, False, True, True, False, True, True]
    assert ours == theirs
    found = EventAccumulator(str(observed.folder)).Reload()
    assert [point.step for point in found.Scalars("metrics/gradient/train")] == [1, 4, 6]
    assert {point.step for point in found.Scalars("metrics/gradient/test")} == {3, 6}


def test_penalties_and_constraints_change_the_weights(settings):
    def norm(**options):
        training = train(Run.create(settings, "norm"), linear, regression(), settings, **options)
        return training.learners[0].model.weight.norm().item()

    free = norm()
    assert norm(penalty=lambda model: 2 * model.weight.square().sum()) < 0.8 * free
    assert norm(constrain=lambda model: model.weight.clamp_(-0.1, 0.1)) <= 0.1 * 3**0.5 + 1e-6


def test_a_custom_optimizer(settings):
    def adam(backend, model, settings):
        return torch.optim.Adam(model.parameters(), lr=settings.lr)

    run = Run.create(settings, "adam")
    train(run, linear, regression(), settings, optimizer=adam)
    assert "exp_avg" in state(run.folder)["learners"]["custom"]["optimizer"]["state"][0]


def test_settings_need_a_length(settings):
    with pytest.raises(ValueError, match="expected settings with epochs or max_steps, got neither"):
        train(Run.create(settings, "none"), linear, regression(), replace(settings, epochs=None))
