"""Which loss suits which task: for classes squared error, cross entropy, hinge; for numbers L2, L1, Huber."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from experiments.backend import BACKENDS, Backend
from experiments.data.outliers import OFFSET, SLOPE, line_with_outliers
from experiments.digit_task import find_digits, reading_task
from experiments.figures.curves import Curve, curves
from experiments.figures.lines import lines
from experiments.metrics.curves import curve
from experiments.report_page import Album
from experiments.run import Run
from experiments.settings import Settings, expect, settings_of
from experiments.training import Moment, Task, Training, summary, train

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
MEASUREMENTS, SPOILED = 100, 0.15
SMOOTHED = 10  # batches whose accuracy is averaged
HEAD_START = 10.0  # by which a wrong start prefers the digit 0

LOOK_FOR = """
A loss says what a network is blamed for. Each part below is the same network, learning by another loss.

1. **`1_by_margin`, `2_slope_by_margin`**: a loss for classes against how far the right class is ahead. Where it is far
   behind, squared error is flat: the worse the mistake, the smaller the push. Cross entropy pushes ever as hard. The
   hinge stops at a margin of 1.
2. **`accuracy`** of `wrong_start_…`: networks that begin sure that everything is a 0. By squared error they stay so
   for long.
3. **`overconfidence`** under `metrics`: by how much the network is surer than it is right; smoothed labels keep it low.
4. **`3_by_residual`, `4_lines`**: L2 blames by the square, and a few wild measurements pull the line away; L1 and Huber
   let them be.
"""


@dataclass(frozen=True)
class Config(Settings):
    """Trains the same networks by one loss and another.

    Args:
        examples: Digits to learn from.
        data: Folder that holds MNIST as torchvision stores it, or "sample" for the bundled digits.
    """

    examples: int | None = None
    data: str | None = None

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"examples": 2000, "epochs": 5, "lr": 0.05, "data": "sample"},
        "full": {"examples": 60_000, "epochs": 5, "lr": 0.05, "every": 500},
    }

    def check(self) -> None:
        """Raises UsageError for a value out of range."""
        super().check()
        expect(self.examples is None or self.examples >= 1, "examples", "a whole number from 1 up", self.examples)


def main(config: Config, run: Run | None = None) -> None:
    """Classes first, then numbers."""
    digits = find_digits(config.data)
    config = replace(config, data=digits.source)
    run = run or Run.create(config, "losses")
    with Album(run, LOOK_FOR) as album:
        show_losses(album, BACKENDS[config.backend][0])
        classes = {}
        for name, criterion in FOR_CLASSES.items():
            task = reading_task(digits, config.torch_dtype, config.examples, criterion=criterion)
            classes[name] = train(run.part(name), network, task, config, at_evaluation=overconfidence)
            if name in FROM_WRONG_START:
                part = f"wrong_start_{name}"
                classes[part] = train(run.part(part), wrong_start, task, config, at_evaluation=overconfidence)
        numbers = {
            name: fit_line(run.part(f"line_{name}"), criterion, config) for name, criterion in FOR_NUMBERS.items()
        }
        conclude(album, run, config, classes, numbers)


def squared_error(nn: Any) -> Loss:
    """Of the probabilities of all classes, added up."""
    softmax, square = nn.Softmax(dim=1), nn.MSELoss(reduction="sum")

    def loss(scores: Tensor, labels: Tensor) -> Tensor:
        wanted = torch.zeros_like(scores).scatter(1, labels.unsqueeze(1), 1)
        return square(softmax(scores), wanted) / len(labels)

    return loss


def network(backend: Backend) -> nn.Module:
    """Fully connected, 784-128-10."""
    layer = backend.nn
    return layer.Sequential(layer.Flatten(), layer.Linear(784, 128), layer.ReLU(), layer.Linear(128, 10))


def wrong_start(backend: Backend) -> nn.Module:
    """The same, sure at first that everything is a 0."""
    model: Any = network(backend)
    with torch.no_grad():
        model[-1].bias[0] += HEAD_START
    return model


def overconfidence(moment: Moment) -> dict[str, float]:
    """By how much the probability that a network gives its answers exceeds the share that is right."""
    assert moment.evaluation is not None
    scores = torch.cat(list(moment.evaluation.outputs))
    sure = scores.softmax(1).amax(1).mean().item()
    return {"overconfidence": sure - moment.evaluation.figures["accuracy"]}


def fit_line(part: Run, criterion: Callable[[Any], Loss], config: Config) -> Training:
    """A straight line through measurements of which some are wild; judged by the line they were made from."""
    x, y, _ = line_with_outliers(MEASUREMENTS, SPOILED, config.seed)
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


def show_losses(album: Album, backend: Backend) -> None:
    """Draws the losses, and how hard they push."""
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
    ahead, x = "score of the right class minus that of the other", margins.flatten().tolist()
    values: dict[str, Curve] = {name: (x, each) for name, (each, _) in by_margin.items()}
    pushes: dict[str, Curve] = {name: (x, [-slope for slope in each]) for name, (_, each) in by_margin.items()}
    album.figure("1_by_margin", curves("Losses for two classes", values, x=ahead, y="loss"))
    album.figure("2_slope_by_margin", curves("How hard they push the right class up", pushes, x=ahead, y="push"))
    off = residuals.flatten().tolist()
    numbers: dict[str, Curve] = {name: (off, each) for name, (each, _) in by_residual.items()}
    album.figure("3_by_residual", curves("Losses for numbers", numbers, x="answer minus truth", y="loss"))


def by_point(loss: Loss, outputs: Tensor, targets: Tensor) -> tuple[list[float], list[float]]:
    """The loss of each output by itself, and its slope along the first number of the output."""
    values, slopes = [], []
    for output, target in zip(outputs.split(1), targets.split(1), strict=True):
        output = output.clone().requires_grad_()
        value = loss(output, target)
        (gradient,) = torch.autograd.grad(value, output)
        values.append(value.item())
        slopes.append(gradient[0, 0].item())
    return values, slopes


def conclude(
    album: Album, run: Run, config: Config, classes: Mapping[str, Training], numbers: Mapping[str, Training]
) -> None:
    """Says what came of it, and ends the run."""
    learned = {name: training.results[training.learners[0].name] for name, training in classes.items()}
    rows = [(name, f"{each['accuracy']:.1%}", f"{each['overconfidence']:+.1%}") for name, each in learned.items()]
    album.table(
        "5_classes", "digits, by the loss that was learned by", ("part", "test accuracy", "overconfidence"), rows
    )
    x, y, odd = line_with_outliers(MEASUREMENTS, SPOILED, config.seed)
    models: dict[str, Any] = {name: training.learners[0].model.cpu() for name, training in numbers.items()}
    title = "Lines through measurements, some of them wild"
    album.figure("4_lines", lines(title, x.double(), y, odd, {"truth": lambda x: SLOPE * x + OFFSET, **models}))
    fitted = {name: (float(model.weight.detach()), float(model.bias.detach())) for name, model in models.items()}
    found = {"truth": (SLOPE, OFFSET), **fitted}
    rows = [(name, f"{slope:.2f}", f"{offset:.2f}") for name, (slope, offset) in found.items()]
    album.table("6_lines", "the line that each loss finds", ("loss", "slope", "offset"), rows)
    turned = {name: half_right(classes[f"wrong_start_{name}"]) for name in FROM_WRONG_START}
    best = max(FOR_CLASSES, key=lambda name: learned[name]["accuracy"])
    album.conclude(
        [
            f"Of the losses for classes, {best} leads to the most right answers: {learned[best]['accuracy']:.1%}.",
            "Sure at first that everything is a 0, the network is half right "
            + " and ".join(f"{turned[name]} by {name.replace('_', ' ')}" for name in FROM_WRONG_START)
            + ".",
            f"By cross entropy it is {learned['cross_entropy']['overconfidence']:+.1%} surer than right, with smoothed "
            f"labels {learned['label_smoothing']['overconfidence']:+.1%}.",
            f"With {SPOILED:.0%} of the measurements spoiled, a slope of {SLOPE:g} is taken for "
            f"{fitted['L2'][0]:.2f} by L2, {fitted['L1'][0]:.2f} by L1 and {fitted['Huber'][0]:.2f} by Huber.",
        ]
    )
    parts = {name: summary(training) for name, training in {**classes, **numbers}.items()}
    run.finish({**parts, "lines": {name: {"slope": a, "offset": b} for name, (a, b) in fitted.items()}})


def half_right(training: Training) -> str:
    """After how many steps half of the training digits are answered right, going by the last few batches."""
    steps, right = curve(training.run, "accuracy", "train")
    for place in range(SMOOTHED, len(steps) + 1):
        if sum(right[place - SMOOTHED : place]) >= 0.5 * SMOOTHED:
            return f"after {steps[place - 1]} steps"
    return f"not within {steps[-1]} steps"
