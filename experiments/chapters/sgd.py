"""Stochastic gradient descent: paths on surfaces, gradient noise, learning rates, momentum and schedules."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from experiments.backend import BACKENDS, Backend
from experiments.data.synthetic import SURFACES, Surface
from experiments.digit_task import digit_task, find_digits
from experiments.figures.contours import paths
from experiments.figures.curves import Curve, curves
from experiments.metrics.curves import read_curve
from experiments.report_page import ReportPage
from experiments.run import Run
from experiments.settings import Settings, expect
from experiments.training import Task, Training, summary, train
from experiments.training.schedule import Length

__all__ = ["Config", "main"]

DESCENTS: dict[str, dict[str, Any]] = {
    "plain": {"momentum": 0.0},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9, "nesterov": True},
}
STEPS = 60  # steps on a surface
NOISE_SIZES = tuple(2**power for power in range(0, 10))
NOISE_BATCHES = 20  # per size
MOST = 4096  # digits for the full gradient


@dataclass(frozen=True)
class Variant:
    """Settings of the training and options of the optimizer that a part changes."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


# Each sweep changes one property of the baseline settings, which have no momentum by default.
SWEEPS: dict[str, dict[str, Variant]] = {
    "batch_size": {f"batch_{size}": Variant({"batch_size": size}) for size in (8, 32, 128, 512)},
    "learning_rate": {f"lr_{rate:g}": Variant({"lr": rate}) for rate in (0.001, 0.01, 0.1, 1.0)},
    "momentum": {
        "plain": Variant(),
        "momentum": Variant({"momentum": 0.9}),
        "nesterov": Variant({"momentum": 0.9}, {"nesterov": True}),
    },
    "schedule": {
        name: Variant({"momentum": 0.9, "lr": 0.1, "schedule": name}) for name in ("constant", "step", "cosine")
    },
    "weight_decay": {
        f"decay_{decay:g}": Variant({"momentum": 0.9}, {"weight_decay": decay}) for decay in (0.001, 0.01, 0.1)
    },
}

LOOK_FOR = """
Each sweep changes one property; everything else is the same.

1. **`1_path_…`**: three descents on a surface. Plain descent is slow along a ravine, whose sides forbid larger steps;
   momentum accumulates steps in the same direction, passes a shallow local minimum, and overshoots; Nesterov
   evaluates the gradient ahead and overshoots less.
2. **`2_noise`**: the noise of a batch gradient is inversely proportional to the square root of the batch size: four
   times the work for half the noise.
3. **`3_batch_size`** to **`7_weight_decay`**: the test loss. Small batches make more steps per epoch; a low learning
   rate is slow, a high one unstable; decreasing schedules reduce the noise of a constant rate; too much decay keeps
   the weights too small.
4. The tab HPARAMS compares all parts.
"""


@dataclass(frozen=True)
class Config(Settings):
    """Trains the same network with many variants of stochastic gradient descent.

    Args:
        examples: Number of training digits.
        data: Folder with MNIST in torchvision's layout, or "sample" for the bundled digits.
    """

    momentum: float = 0.0
    schedule: Literal["constant", "cosine", "step"] = "constant"
    examples: int | None = None
    data: str | None = None

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"examples": 2048, "epochs": 3, "lr": 0.03, "data": "sample"},
        "full": {"examples": 60_000, "epochs": 5, "lr": 0.03, "every": 1000},
    }

    def check(self) -> None:
        super().check()
        expect(self.examples is None or self.examples >= 1, "examples", "a whole number from 1 up", self.examples)


def main(config: Config, run: Run | None = None) -> None:
    digits = find_digits(config.data)
    config = replace(config, data=digits.source)
    task = digit_task(digits, config.torch_dtype, config.examples).to(config.device)
    backend = BACKENDS[config.backend][0]
    run = run or Run.create(config, "sgd")
    with ReportPage(run, LOOK_FOR) as page:
        for name, surface in SURFACES.items():
            descents = {descent: descend(surface, backend, options) for descent, options in DESCENTS.items()}
            page.figure(f"1_path_{name}", paths(f"Three descents: {name}", surface, descents))
        noise = measure_noise(page, task, backend, config)
        trained = {}
        for place, (sweep, variants) in enumerate(SWEEPS.items(), 3):
            trained[sweep] = {name: learn(run, name, variant, task, config) for name, variant in variants.items()}
            lines = {name: by_epoch(each) for name, each in trained[sweep].items()}
            title = f"Test loss by {sweep.replace('_', ' ')}"
            page.figure(f"{place}_{sweep}", curves(title, lines, x="epochs", y="loss on the test set", log="y"))
        conclude(page, run, trained, noise)


def descend(surface: Surface, backend: Backend, options: Mapping[str, Any]) -> Tensor:
    """Returns the points of a descent, shape (STEPS + 1, 2)."""
    point = torch.tensor(surface.start, dtype=torch.float64, requires_grad=True)
    optimizer = backend.optim.SGD([point], lr=surface.lr, **options)
    path = [point.detach().clone()]
    for _ in range(STEPS):
        optimizer.zero_grad()
        surface.height(point).backward()
        optimizer.step()
        path.append(point.detach().clone())
    return torch.stack(path)


def network(backend: Backend) -> nn.Module:
    """Builds a fully connected network, 784-64-10."""
    layer = backend.nn
    return layer.Sequential(layer.Flatten(), layer.Linear(784, 64), layer.ReLU(), layer.Linear(64, 10))


def measure_noise(page: ReportPage, task: Task, backend: Backend, config: Config) -> dict[int, float]:
    """Returns the distance of batch gradients from the full gradient, relative to the latter, by batch size."""
    torch.manual_seed(config.seed)
    model, criterion = network(backend).to(config.device, config.torch_dtype), task.criterion(backend.nn)

    def gradient(chosen: Tensor) -> Tensor:
        loss = criterion(model(task.prepare(task.train[0][chosen])), task.train[1][chosen])
        return torch.cat([each.flatten() for each in torch.autograd.grad(loss, list(model.parameters()))])

    count = len(task.train[1])
    truth = gradient(torch.arange(min(count, MOST), device=config.device))
    noise = {}
    for size in NOISE_SIZES:
        away = [gradient(torch.randint(min(count, MOST), (size,))) - truth for _ in range(NOISE_BATCHES)]
        noise[size] = float(torch.stack(away).square().sum(1).mean().sqrt() / truth.norm())
    expected = [noise[NOISE_SIZES[0]] / math.sqrt(size) for size in NOISE_SIZES]
    lines: dict[str, Curve] = {
        "measured": (list(noise), list(noise.values())),
        "proportional to 1 / √size": (list(noise), expected),
    }
    title = "Distance of batch gradients from the full gradient"
    page.figure("2_noise", curves(title, lines, x="examples in a batch", y="relative distance", log="xy"))
    return noise


def learn(run: Run, name: str, variant: Variant, task: Task, config: Config) -> Training:
    settings = replace(config, **variant.settings)
    in_epoch = Length.of(settings, len(task.train[1])).in_epoch
    settings = replace(settings, eval_every=max(1, in_epoch // 4))

    def optimizer(backend: Backend, model: nn.Module, settings: Settings) -> Optimizer:
        return backend.optim.SGD(model.parameters(), lr=settings.lr, momentum=settings.momentum, **variant.options)

    return train(run.part(name, **variant.options), network, task, settings, optimizer=optimizer)


def by_epoch(training: Training) -> Curve:
    """Returns the test loss over epochs."""
    steps, losses = read_curve(training.run, "loss")
    return [step / training.length.in_epoch for step in steps], losses


def conclude(
    page: ReportPage, run: Run, trained: Mapping[str, Mapping[str, Training]], noise: Mapping[int, float]
) -> None:
    """Reports the results, and finishes the run."""
    found = {name: summary(training) for sweep in trained.values() for name, training in sweep.items()}
    rows = [
        (
            name,
            f"{each['steps']}",
            f"{each['networks'][next(iter(each['networks']))]['seconds_in_steps'] / each['epochs']:.2f}",
            f"{each['test_loss']:.3f}",
            f"{each['test_accuracy']:.1%}",
        )
        for name, each in found.items()
    ]
    head = ("part", "steps", "seconds per epoch", "test loss", "test accuracy")
    page.table("8_results", "the same network, one property changed at a time", head, rows)
    smallest, largest = min(noise), max(noise)
    sentences = [
        f"Batches of {largest} have {noise[largest] / noise[smallest]:.1%} of the noise of batches of {smallest}; "
        f"a square root law predicts {math.sqrt(smallest / largest):.1%}."
    ]
    for sweep, variants in trained.items():
        ranked = sorted(variants, key=lambda name: found[name]["test_loss"])
        losses = ", ".join(f"{name} {found[name]['test_loss']:.3f}" for name in ranked)
        sentences.append(f"Test loss by {sweep.replace('_', ' ')}, best first: {losses}.")
    page.conclude(sentences)
    run.finish({**found, "noise": {str(size): each for size, each in noise.items()}})
