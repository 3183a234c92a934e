"""The training step of one network, and its evaluation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from experiments.backend import BUILTIN, CUSTOM
from experiments.settings import Settings
from experiments.training import Learner, Task
from experiments.training.schedule import cosine


def learner(model, task=None, **settings):
    settings = Settings(**{"lr": 0.4, "device": "cpu", **settings})
    return Learner(
        BUILTIN, lambda backend: model, task or classes(torch.ones(1, 1), torch.zeros(1).long()), settings, 3
    )


def classes(inputs, targets, **options):
    return Task((inputs, targets), (inputs, targets), **options)


def test_learning_rate_is_never_zero():
    trained, rates = learner(nn.Linear(1, 2)), []
    for _ in range(3):
        rates.append(trained.optimizer.param_groups[0]["lr"])
        trained.step(torch.ones(1, 1), torch.zeros(1, dtype=torch.int64))
    assert rates == pytest.approx([0.4 * cosine(t / 4) for t in (1, 2, 3)])
    assert min(rates) > 0


def test_evaluation_weights_examples_equally():
    """The last 30 of 300 examples, more than one batch, are classified wrong."""
    truth = torch.arange(300) % 3
    answers = torch.where(torch.arange(300) < 270, truth, (truth + 1) % 3)
    inputs = nn.functional.one_hot(answers, 3).float() * 5
    model = nn.Sequential(nn.Identity(), nn.Dropout(), nn.LogSoftmax(dim=1), Scale())
    found = learner(model).evaluate(inputs, truth)
    assert found.metrics["accuracy"] == pytest.approx(0.9)
    assert found.metrics["loss"] == pytest.approx(nn.functional.cross_entropy(inputs, truth).item(), rel=1e-5)
    assert found.confusion.tolist() == [[90, 10, 0], [0, 90, 10], [10, 0, 90]]
    assert model.training


def gradients(count, **settings):
    """Returns the gradient and the metrics of a step on ``count`` examples."""
    torch.manual_seed(0)
    trained = learner(nn.Sequential(nn.Linear(4, 3), nn.LogSoftmax(dim=1)), dtype="float64", **settings)
    metrics = trained.step(torch.randn(count, 4).double(), torch.arange(count) % 3)
    return trained.model[0].weight.grad, metrics


@pytest.mark.parametrize("count", [8, 7, 2])
def test_accumulation_equals_the_step_of_the_whole_batch(count):
    """Includes parts of different sizes, and fewer examples than parts."""
    whole, metrics = gradients(count)
    parts, of_parts = gradients(count, accumulate=3)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-15)
    assert of_parts == pytest.approx(metrics, rel=1e-15)


def test_clipping_limits_the_norm_and_reports_the_original():
    free, metrics = gradients(8)
    assert "gradient_norm" not in metrics
    clipped, metrics = gradients(8, clip=0.1)
    assert metrics["gradient_norm"] > 0.2
    bias = 0.1 - clipped.norm()  # the norm includes the bias
    assert 0 < bias < 0.05
    torch.testing.assert_close(clipped / clipped.norm(), free / free.norm())
    torch.testing.assert_close(gradients(8, clip=100.0)[0], free, rtol=0, atol=0)


@pytest.mark.parametrize("backend", [CUSTOM, BUILTIN], ids=lambda backend: backend.name)
def test_amp_computes_in_bfloat16_with_float32_weights(backend):
    outputs = []

    def build(backend):
        model = backend.nn.Sequential(backend.nn.Linear(1, 2), backend.nn.LogSoftmax(dim=1))
        model[0].register_forward_hook(lambda module, inputs, output: outputs.append(output.dtype))
        return model

    inputs, targets = torch.ones(4, 1), torch.zeros(4, dtype=torch.int64)
    trained = Learner(backend, build, classes(inputs, targets), Settings(lr=0.1, device="cpu", amp="bf16"), 3)
    metrics = trained.step(inputs, targets)
    trained.evaluate(inputs, targets)
    assert outputs == [torch.bfloat16, torch.bfloat16]
    assert {parameter.dtype for parameter in trained.model.parameters()} == {torch.float32}
    assert 0 < metrics["loss"] < 2


def test_monitored_steps_run_eagerly(monkeypatch):
    calls = []

    def compiling(forward):
        return lambda inputs: (calls.append("compiled"), forward(inputs))[1]

    monkeypatch.setattr(torch, "compile", compiling)
    trained = learner(nn.Sequential(nn.Linear(1, 2), nn.LogSoftmax(dim=1)), compile=True)
    inputs, targets = torch.ones(4, 1), torch.zeros(4, dtype=torch.int64)
    trained.step(inputs, targets)
    trained.monitored = True
    trained.step(inputs, targets)
    assert calls == ["compiled"]
    assert list(trained.state_dict()["model"]) == ["0.weight", "0.bias"]


@pytest.mark.slow
def test_compiled_steps_equal_eager_steps():
    def losses(**settings):
        torch.manual_seed(0)
        model = CUSTOM.nn.Sequential(CUSTOM.nn.Linear(4, 8), CUSTOM.nn.ReLU(), CUSTOM.nn.Linear(8, 3))
        task = classes(torch.randn(8, 4), torch.arange(8) % 3, criterion=lambda nn: nn.CrossEntropyLoss())
        trained = Learner(CUSTOM, lambda backend: model, task, Settings(lr=0.1, device="cpu", **settings), 5)
        return [trained.step(*task.train)["loss"] for _ in range(5)]

    assert losses(compile=True) == pytest.approx(losses(), rel=1e-6)


class Scale(nn.Module):
    """The identity, with a parameter for the optimizer."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, input):
        return input * self.scale
