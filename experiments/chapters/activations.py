"""Trains the same deep network with each activation, and compares gradients, flat units, cost and accuracy."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from experiments.backend import BACKENDS, CUSTOM, Backend
from experiments.digit_task import digit_task, find_digits
from experiments.figures.curves import curves
from experiments.metrics.curves import read_curve
from experiments.metrics.gradients import flat_and_dead, float32_errors, gradient_by_layer, slope
from experiments.metrics.timing import nanoseconds
from experiments.report_page import ReportPage
from experiments.run import Run
from experiments.settings import Settings, expect
from experiments.training import CallbackState, Task, Training, summary, train

__all__ = ["Config", "main"]

PIECES = 2  # per maxout unit
ACTIVATIONS: dict[str, Callable[[Backend], nn.Module]] = {
    "sigmoid": lambda backend: backend.nn.Sigmoid(),
    "tanh": lambda backend: backend.nn.Tanh(),
    "relu": lambda backend: backend.nn.ReLU(),
    "leaky_relu": lambda backend: backend.nn.LeakyReLU(0.01),
    "elu": lambda backend: backend.nn.ELU(1.0),
    "learned_elu": lambda backend: backend.nn.LearnedELU(init=1.0),
    "maxout": lambda backend: backend.nn.Maxout(PIECES),
}
PROBED = 256  # digits on which gradients and slopes are measured
LEAST = 1e-9  # smallest error in a plot, because a logarithmic axis has no zero
COLUMNS = {"forward_ns": ".2f", "both_ns": ".2f", "value_error": ".0e", "slope_error": ".0e"}
TITLES = {
    "flat": "Share of outputs from a flat part of the activation",
    "dead": "Share of units that are flat for every input",
}

LOOK_FOR = """
Each network has a different activation; everything else, including the seed, is the same.

1. **`1_functions`, `2_slopes`**: the sigmoid's slope is largest at 0, where it is 1/4, and vanishes in the tails;
   tanh, (exp(z) - exp(-z)) / (exp(z) + exp(-z)), tends to -1 and 1, and its slope to 0; ReLU consists of two
   half-lines. α of ELU is fixed in its paper, and learned in `learned_elu`. Maxout, the largest of several linear
   pieces, is not a default.
2. **`3_depth_before`**: each layer multiplies the gradient by its slopes. A sigmoid's slopes are at most 1/4, so that
   the first layer's gradient is small. **`4_depth_after`** shows the same after training.
3. **`accuracy`** shows which networks learned. **`5_flat`**, **`6_dead`** show the share of outputs from a flat part
   of the activation, and the share of units that are flat for every input, which stop learning.
4. **`7_error`**, **`8_cost`** show the errors in float32 and the time of each activation.
"""


@dataclass(frozen=True)
class Config(Settings):
    """Trains the same deep network with each activation.

    Args:
        depth: Number of hidden layers.
        width: Units in each hidden layer.
        examples: Number of training digits.
        data: Folder with MNIST in torchvision's layout, or "sample" for the bundled digits.
    """

    depth: int = 8
    width: int = 64
    examples: int | None = None
    data: str | None = None

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"examples": 2000, "epochs": 3, "lr": 0.02, "every": 16, "eval_every": 16, "data": "sample"},
        "full": {"examples": 60_000, "epochs": 4, "lr": 0.02, "every": 200, "eval_every": 400},
    }

    def check(self) -> None:
        super().check()
        for name in ("depth", "width", "examples"):
            value = getattr(self, name)
            expect(value is None or value >= 2, name, "a whole number from 2 up", value)


def main(config: Config, run: Run | None = None) -> None:
    digits = find_digits(config.data)
    config = replace(config, data=digits.source)
    task = digit_task(digits, config.torch_dtype, config.examples).to(config.device)
    run = run or Run.create(config, "activations")
    with ReportPage(run, LOOK_FOR) as page:
        show_functions(page)
        criterion, probes = task.criterion(BACKENDS[config.backend][0].nn), probe(task)

        def reached(models: Mapping[str, nn.Module]) -> dict[str, list[float]]:
            return {name: gradient_by_layer(model, criterion, *probes) for name, model in models.items()}

        before = reached({name: at_the_start(name, config) for name in ACTIVATIONS})
        page.figure("3_depth_before", depth_figure("Before training", before))
        trained = {name: learn(run.part(name), name, task, config) for name in ACTIVATIONS}
        after = reached({name: each.learners[0].model for name, each in trained.items()})
        page.figure("4_depth_after", depth_figure("After training", after))
        for place, kind in enumerate(TITLES, 5):
            lines = {name: read_curve(each.run, kind) for name, each in trained.items()}
            page.figure(f"{place}_{kind}", curves(TITLES[kind], lines, x="training steps", y="share"))
        costs = measure(page, BACKENDS[config.backend][0])
        conclude(page, run, trained, before, costs)


def deep(backend: Backend, name: str, config: Config) -> nn.Module:
    """Builds a fully connected network with equal hidden layers."""
    parts = OrderedDict[str, nn.Module](flatten=backend.nn.Flatten())
    pieces = PIECES if name == "maxout" else 1
    before = 28 * 28
    for place in range(1, config.depth + 1):
        # ReLUs halve the mean square, so the variance is 2; the maximum of two pieces preserves it.
        parts[f"fc{place}"] = linear(backend, before, config.width * pieces, variance=2 / pieces)
        parts[f"{name}{place}"] = ACTIVATIONS[name](backend)
        before = config.width
    parts["out"] = linear(backend, before, 10, variance=1)
    return backend.nn.Sequential(parts)


def linear(backend: Backend, before: int, after: int, variance: float) -> nn.Module:
    """Builds a linear layer whose outputs have this variance if its inputs have mean square 1."""
    layer = backend.nn.Linear(before, after)
    nn.init.normal_(layer.weight, std=math.sqrt(variance / before))
    nn.init.zeros_(layer.bias)
    return layer


def at_the_start(name: str, config: Config) -> nn.Module:
    """Builds the untrained network."""
    torch.manual_seed(config.seed)
    return deep(BACKENDS[config.backend][0], name, config).to(config.device, config.torch_dtype)


def learn(part: Run, name: str, task: Task, config: Config) -> Training:
    """Trains the network with one activation, and records the shares of flat and dead units."""

    def callback(state: CallbackState) -> dict[str, float]:
        model = state.learner.model
        activations = [module for place, module in model.named_children() if place.startswith(name)]
        flat, dead = flat_and_dead(model, activations, probe(task)[0])
        return {"flat": flat, "dead": dead}

    return train(part, lambda backend: deep(backend, name, config), task, config, at_evaluation=callback)


def probe(task: Task) -> tuple[Tensor, Tensor]:
    """Returns the digits on which gradients and slopes are measured."""
    inputs, targets = task.train
    return task.prepare(inputs[:PROBED]), targets[:PROBED]


def depth_figure(when: str, norms: Mapping[str, list[float]]) -> Figure:
    """Plots the gradient norm of each layer."""
    lines = {name: (list(range(1, len(each) + 1)), each) for name, each in norms.items()}
    title = f"{when}: gradient norm by layer"
    return curves(title, lines, x="layer, from input to output", y="norm of the gradient of its weights", log="y")


def show_functions(page: ReportPage) -> None:
    """Plots the activations and their slopes, except those with learned shapes."""
    z = torch.linspace(-5, 5, 201, dtype=torch.float64)
    alike = {
        name: make(CUSTOM).double() for name, make in ACTIVATIONS.items() if name not in ("learned_elu", "maxout")
    }
    values = {name: (z.tolist(), activation(z).tolist()) for name, activation in alike.items()}
    slopes = {name: (z.tolist(), slope(activation, z).tolist()) for name, activation in alike.items()}
    page.figure("1_functions", curves("Activations", values, x="z", y="a(z)"))
    title = "Slopes, the factors of the gradient in each layer"
    page.figure("2_slopes", curves(title, slopes, x="z", y="a'(z)"))


def measure(page: ReportPage, backend: Backend) -> dict[str, dict[str, float]]:
    """Measures the float32 error of each activation, and its time for forward and backward."""
    z = torch.linspace(-12, 12, 481)
    lines, found = {}, {}
    for name, make in ACTIVATIONS.items():
        forward, both = nanoseconds(make(backend), inputs=PIECES if name == "maxout" else 1)
        found[name] = {"forward_ns": forward, "both_ns": both, "value_error": 0.0, "slope_error": 0.0}
        if name != "maxout":  # which returns one of its inputs exactly
            values, slopes = float32_errors(make(backend), make(backend).double(), z)
            found[name] |= {"value_error": float(values.max()), "slope_error": float(slopes.max())}
            lines[name] = (z.tolist(), slopes.clamp(min=LEAST).tolist())
    title = "Errors of the activations' slopes in float32"
    page.figure("7_error", curves(title, lines, x="z", y="relative error of the slope", log="y"))
    rows = [(name, *(f"{each[key]:{form}}" for key, form in COLUMNS.items())) for name, each in found.items()]
    title = "nanoseconds per unit, and largest relative errors in float32"
    page.table("8_cost", title, ("activation", *COLUMNS), rows)
    return found


def conclude(
    page: ReportPage,
    run: Run,
    trained: Mapping[str, Training],
    before: Mapping[str, list[float]],
    costs: Mapping[str, Mapping[str, float]],
) -> None:
    """Reports the results, and finishes the run."""
    found = {}
    for name, training in trained.items():
        result = training.results[training.learners[0].name]
        reach = before[name][0] / before[name][-1]
        found[name] = {"first_over_last_gradient": reach, **costs[name], **result, **summary(training)}
    head = ("activation", "test accuracy", "test loss", "first / last gradient", "flat", "dead")
    keys = {"accuracy": ".1%", "loss": ".3f", "first_over_last_gradient": ".1e", "flat": ".1%", "dead": ".1%"}
    rows = [(name, *(f"{each[key]:{form}}" for key, form in keys.items())) for name, each in found.items()]
    page.table("9_results", "the same network with each activation", head, rows)
    best = max(found, key=lambda name: found[name]["accuracy"])
    learned = trained["learned_elu"].learners[0].model.state_dict()
    alphas = [float(value) for name, value in learned.items() if name.endswith("alpha")]
    page.conclude(
        [
            f"Before training, the first layer's gradient is {found['sigmoid']['first_over_last_gradient']:.0e} of the "
            f"last one's with sigmoids, {found['tanh']['first_over_last_gradient']:.2f} with tanh and "
            f"{found['relu']['first_over_last_gradient']:.2f} with ReLUs.",
            f"The best accuracy is {found[best]['accuracy']:.1%}, with {best}; sigmoids reach "
            f"{found['sigmoid']['accuracy']:.1%}.",
            f"Test loss after the same steps: ELU {found['elu']['loss']:.3f}, ReLU {found['relu']['loss']:.3f}.",
            f"{found['relu']['dead']:.1%} of the ReLUs are dead, and {found['leaky_relu']['dead']:.1%} of the leaky "
            "ReLUs.",
            f"The learned α started at 1 and ended between {min(alphas):.2f} and {max(alphas):.2f}.",
            f"Forward and backward of a unit take {costs['relu']['both_ns']:.1f} ns with ReLU, "
            f"{costs['sigmoid']['both_ns']:.1f} with the sigmoid, {costs['tanh']['both_ns']:.1f} with tanh.",
            f"In float32 the largest relative error of the sigmoid is {costs['sigmoid']['value_error']:.0e}, of tanh "
            f"{costs['tanh']['value_error']:.0e}, of their slopes {costs['sigmoid']['slope_error']:.0e} and "
            f"{costs['tanh']['slope_error']:.0e}.",
        ]
    )
    run.finish(found)
