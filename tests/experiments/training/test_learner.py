"""A step of one network, and the figures of an evaluation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from experiments.backend import BUILTIN
from experiments.settings import Settings
from experiments.training import Learner, Task
from experiments.training.schedules import cosine


def learner(model, task=None, **settings):
    settings = Settings(**{"lr": 0.4, "device": "cpu", **settings})
    return Learner(
        BUILTIN, lambda backend: model, task or classes(torch.ones(1, 1), torch.zeros(1).long()), settings, 3
    )


def classes(inputs, targets, **options):
    return Task((inputs, targets), (inputs, targets), **options)


def test_no_step_is_taken_at_rate_zero():
    taught, rates = learner(nn.Linear(1, 2)), []
    for _ in range(3):
        rates.append(taught.optimizer.param_groups[0]["lr"])
        taught.step(torch.ones(1, 1), torch.zeros(1, dtype=torch.int64))
    assert rates == pytest.approx([0.4 * cosine(t / 4) for t in (1, 2, 3)])
    assert min(rates) > 0


def test_an_evaluation_weighs_each_example_alike():
    """Of 300 examples, more than one batch, the last 30 are taken for another class."""
    truth = torch.arange(300) % 3
    answers = torch.where(torch.arange(300) < 270, truth, (truth + 1) % 3)
    inputs = nn.functional.one_hot(answers, 3).float() * 5
    model = nn.Sequential(nn.Identity(), nn.Dropout(), nn.LogSoftmax(dim=1), Scale())
    found = learner(model).evaluate(inputs, truth)
    assert found.figures["accuracy"] == pytest.approx(0.9)
    assert found.figures["loss"] == pytest.approx(nn.functional.cross_entropy(inputs, truth).item(), rel=1e-5)
    assert found.confusion.tolist() == [[90, 10, 0], [0, 90, 10], [10, 0, 90]]
    assert model.training


class Scale(nn.Module):
    """The identity, with a parameter for the optimizer to hold."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, input):
        return input * self.scale
