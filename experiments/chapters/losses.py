"""Compares losses: squared error, cross entropy and hinge for classes; L2, L1 and Huber for regression."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from experiments.backend import BACKENDS, Backend
from experiments.data.synthetic import OFFSET, SLOPE, line_with_outliers
from experiments.digit_task import digit_task, find_digits
from experiments.figures.curves import Curve, curves, lines
from experiments.metrics.curves import read_curve
from experiments.report_page import ReportPage
from experiments.run import Run
from experiments.settings import Settings, expect, settings_of
from experiments.training import CallbackState, Task, Training, summary, train

__all__ = ["Config", "main"]

Loss = Callable[[Tensor, Tensor], Tensor]
FOR_NUMBERS: dict[str, Callable[[Any], Loss]] = {
    "L2": lambda nn: nn.MSELoss(),
    "L1": lambda nn: nn.L1Loss(),
    "Huber": lambda nn: nn.HuberLoss(delta=0.5),
}
FOR_CLASSES: dict[str, Callable[[Any], Loss]] = {
    "squared_error": lambda nn: squared_error(nn),
    "cross_entropy": lambda nn: nn.CrossEntropyLoss(),
    "hinge": lambda nn: nn.MultiMarginLoss(),
    "label_smoothing": lambda nn: nn.CrossEntropyLoss(label_smoothing=0.1),
}
FROM_WRONG_START = ("squared_error", "cross_entropy")
MEASUREMENTS, OUTLIERS = 100, 0.15
SMOOTHED = 10  # batches to average the accuracy over
HEAD_START = 10.0  # added to the logit of the digit 0

LOOK_FOR = """
Each part is the same network, trained with a different loss.

1. **`1_by_margin`, `2_slope_by_margin`**: losses for classes as a function of the right class's margin. For a large
   negative margin squared error is flat: the worse the mistake, the smaller the gradient. The gradient of cross
   entropy stays large. The hinge loss is 0 from a margin of 1.
2. **`accuracy`** of `wrong_start_…`: networks that start certain that every digit is a 0. With squared error they
   take long to recover.
3. **`overconfidence`** under `metrics` is the network's mean confidence minus its accuracy; label smoothing keeps it
   low.
4. **`3_by_residual`, `4_lines`**: L2 grows with the square, so that a few outliers move the line; L1 and Huber are
   robust.
"""


@dataclass(frozen=True)
class Config(Settings):
    """Trains the same networks with different losses.

    Args:
        examples: Number of training digits.
        data: Folder with MNIST in torchvision's layout, or "sample" for the bundled digits.
    """

    examples: int | None = None
    data: str | None = None

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"examples": 2000, "epochs": 5, "lr": 0.05, "data": "sample"},
        "full": {"examples": 60_000, "epochs": 5, "lr": 0.05, "every": 500},
    }

    def check(self) -> None:
        super().check()
        expect(self.examples is None or self.examples >= 1, "examples", "a whole number from 1 up", self.examples)


def main(config: Config, run: Run | None = None) -> None:
    digits = find_digits(config.data)
    config = replace(config, data=digits.source)
    run = run or Run.create(config, "losses")
    with ReportPage(run, LOOK_FOR) as page:
        show_losses(page, BACKENDS[config.backend][0])
        classes = {}
        for name, criterion in FOR_CLASSES.items():
            task = digit_task(digits, config.torch_dtype, config.examples, criterion=criterion)
            classes[name] = train(run.part(name), network, task, config, at_evaluation=overconfidence)
            if name in FROM_WRONG_START:
                part = f"wrong_start_{name}"
                classes[part] = train(run.part(part), wrong_start, task, config, at_evaluation=overconfidence)
        numbers = {
            name: fit_line(run.part(f"line_{name}"), criterion, config) for name, criterion in FOR_NUMBERS.items()
        }
        conclude(page, run, config, classes, numbers)


def squared_error(nn: Any) -> Loss:
    """Makes the squared error of the class probabilities, summed over classes."""
    softmax, square = nn.Softmax(dim=1), nn.MSELoss(reduction="sum")

    def loss(scores: Tensor, labels: Tensor) -> Tensor:
        wanted = torch.zeros_like(scores).scatter(1, labels.unsqueeze(1), 1)
        return square(softmax(scores), wanted) / len(labels)

    return loss


def network(backend: Backend) -> nn.Module:
    """Builds a fully connected network, 784-128-10."""
    layer = backend.nn
    return layer.Sequential(layer.Flatten(), layer.Linear(784, 128), layer.ReLU(), layer.Linear(128, 10))


def wrong_start(backend: Backend) -> nn.Module:
    """Builds the same network, initially certain that every digit is a 0."""
    model: Any = network(backend)
    with torch.no_grad():
        model[-1].bias[0] += HEAD_START
    return model


def overconfidence(state: CallbackState) -> dict[str, float]:
    """Returns the mean probability of the network's answers minus its accuracy."""
    assert state.evaluation is not None
    scores = torch.cat(list(state.evaluation.outputs))
    sure = scores.softmax(1).amax(1).mean().item()
    return {"overconfidence": sure - state.evaluation.metrics["accuracy"]}


def fit_line(part: Run, criterion: Callable[[Any], Loss], config: Config) -> Training:
    """Fits a line to measurements with outliers; the test set is the true line."""
    x, y, _ = line_with_outliers(MEASUREMENTS, OUTLIERS, config.seed)
    test_x = torch.linspace(-1, 1, 50, dtype=torch.float64).unsqueeze(1)
    task = Task((x.double(), y.double()), (test_x, SLOPE * test_x + OFFSET), criterion=criterion, right=None)
    settings = settings_of(
        config,
        epochs=300,
        batch_size=MEASUREMENTS,
        lr=0.1,
        dtype="float64",
        eval_every=100,
    )
    return train(part, lambda backend: backend.nn.Linear(1, 1), task, settings)


def show_losses(page: ReportPage, backend: Backend) -> None:
    """Plots the losses and their slopes."""
    margins, residuals = (
        torch.linspace(*ends, 121, dtype=torch.float64).unsqueeze(1) for ends in ((-8, 4), (-3, 3))
    )
    scores, labels = (
        torch.cat([margins, torch.zeros_like(margins)], 1),
        torch.zeros(len(margins), dtype=torch.long),
    )
    by_margin = {name: by_point(make(backend.nn), scores, labels) for name, make in FOR_CLASSES.items()}
    by_residual = {
        name: by_point(make(backend.nn), residuals, torch.zeros_like(residuals))
        for name, make in FOR_NUMBERS.items()
    }
    ahead, x = "logit of the right class minus the other", margins.flatten().tolist()
    values: dict[str, Curve] = {name: (x, each) for name, (each, _) in by_margin.items()}
    gradients: dict[str, Curve] = {name: (x, [-slope for slope in each]) for name, (_, each) in by_margin.items()}
    page.figure("1_by_margin", curves("Losses for two classes", values, x=ahead, y="loss"))
    page.figure(
        "2_slope_by_margin", curves("Gradient toward the right class", gradients, x=ahead, y="negative slope")
    )
    off = residuals.flatten().tolist()
    numbers: dict[str, Curve] = {name: (off, each) for name, (each, _) in by_residual.items()}
    page.figure("3_by_residual", curves("Losses for numbers", numbers, x="prediction minus truth", y="loss"))


def by_point(loss: Loss, outputs: Tensor, targets: Tensor) -> tuple[list[float], list[float]]:
    """Returns the loss of each output, and its derivative with respect to the output's first number."""
    values, slopes = [], []
    for output, target in zip(outputs.split(1), targets.split(1), strict=True):
        output = output.clone().requires_grad_()
        value = loss(output, target)
        (gradient,) = torch.autograd.grad(value, output)
        values.append(value.item())
        slopes.append(gradient[0, 0].item())
    return values, slopes


def conclude(
    page: ReportPage, run: Run, config: Config, classes: Mapping[str, Training], numbers: Mapping[str, Training]
) -> None:
    """Reports the results, and finishes the run."""
    learned = {name: training.results[training.learners[0].name] for name, training in classes.items()}
    rows = [(name, f"{each['accuracy']:.1%}", f"{each['overconfidence']:+.1%}") for name, each in learned.items()]
    page.table("5_classes", "digits by training loss", ("part", "test accuracy", "overconfidence"), rows)
    x, y, outliers = line_with_outliers(MEASUREMENTS, OUTLIERS, config.seed)
    models: dict[str, Any] = {name: training.learners[0].model.cpu() for name, training in numbers.items()}
    title = "Lines fitted to measurements with outliers"
    page.figure(
        "4_lines", lines(title, x.double(), y, outliers, {"truth": lambda x: SLOPE * x + OFFSET, **models})
    )
    fitted = {name: (float(model.weight.detach()), float(model.bias.detach())) for name, model in models.items()}
    found = {"truth": (SLOPE, OFFSET), **fitted}
    rows = [(name, f"{slope:.2f}", f"{offset:.2f}") for name, (slope, offset) in found.items()]
    page.table("6_lines", "the line that each loss fits", ("loss", "slope", "offset"), rows)
    recovery = {name: half_right(classes[f"wrong_start_{name}"]) for name in FROM_WRONG_START}
    best = max(FOR_CLASSES, key=lambda name: learned[name]["accuracy"])
    page.conclude(
        [
            f"The best loss for classes is {best}, with an accuracy of {learned[best]['accuracy']:.1%}.",
            "From a start that takes every digit for a 0, half of the answers are right "
            + " and ".join(f"{recovery[name]} with {name.replace('_', ' ')}" for name in FROM_WRONG_START)
            + ".",
            f"The overconfidence is {learned['cross_entropy']['overconfidence']:+.1%} with cross entropy, and "
            f"{learned['label_smoothing']['overconfidence']:+.1%} with label smoothing.",
            f"With {OUTLIERS:.0%} outliers, the fitted slope of a line of slope {SLOPE:g} is "
            f"{fitted['L2'][0]:.2f} with L2, {fitted['L1'][0]:.2f} with L1 and {fitted['Huber'][0]:.2f} with Huber.",
        ]
    )
    parts = {name: summary(training) for name, training in {**classes, **numbers}.items()}
    run.finish({**parts, "lines": {name: {"slope": a, "offset": b} for name, (a, b) in fitted.items()}})


def half_right(training: Training) -> str:
    """Formats the step from which half of the training digits are classified correctly, over the last few batches."""
    steps, right = read_curve(training.run, "accuracy", "train")
    for place in range(SMOOTHED, len(steps) + 1):
        if sum(right[place - SMOOTHED : place]) >= 0.5 * SMOOTHED:
            return f"after {steps[place - 1]} steps"
    return f"not within {steps[-1]} steps"
