"""The schedule, and the figures of an evaluation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from experiments.backend import BUILTIN
from experiments.learner import Learner, Task, schedule
from experiments.settings import Settings


def test_the_learning_rate_rises_for_a_tenth_and_falls_to_zero():
    rates = [schedule(step / 100) for step in range(101)]
    assert rates[:11] == pytest.approx([step / 10 for step in range(11)])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == 0


def test_no_step_is_taken_at_rate_zero():
    learner = Learner(BUILTIN, lambda backend: nn.Linear(1, 2), Settings(lr=0.4, device="cpu"), steps=3)
    rates = []
    for _ in range(3):
        rates.append(learner.optimizer.param_groups[0]["lr"])
        learner.step(torch.ones(1, 1), torch.zeros(1, dtype=torch.int64))
    assert rates == pytest.approx([0.4 * schedule(t / 4) for t in (1, 2, 3)])
    assert min(rates) > 0


def test_an_evaluation_weighs_each_example_alike():
    """Of 300 examples, more than one batch, the last 30 are taken for another class."""
    truth = torch.arange(300) % 3
    answers = torch.where(torch.arange(300) < 270, truth, (truth + 1) % 3)
    inputs = nn.functional.one_hot(answers, 3).float() * 5
    model = nn.Sequential(nn.Identity(), nn.Dropout(), nn.LogSoftmax(dim=1), Scale())
    learner = Learner(BUILTIN, lambda backend: model, Settings(lr=0.1, device="cpu"), steps=1)
    task = Task((inputs, truth), (inputs, truth), prepare=torch.clone)
    found = learner.evaluate(task, before_batch=lambda: None)
    assert found.accuracy == pytest.approx(0.9)
    assert found.loss == pytest.approx(nn.functional.cross_entropy(inputs, truth).item(), rel=1e-5)
    assert found.confusion.tolist() == [[90, 10, 0], [0, 90, 10], [10, 0, 90]]
    assert model.training


class Scale(nn.Module):
    """The identity, with a parameter for the optimizer to hold."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, input):
        return input * self.scale
