"""The same deep network with each activation: how far gradients reach, which units go flat, what it learns."""

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
from experiments.digit_task import find_digits, reading_task
from experiments.figures.curves import curves
from experiments.metrics.curves import curve
from experiments.metrics.flatness import flat_and_dead, slope
from experiments.metrics.gradients import gradient_by_layer
from experiments.metrics.pointwise import float32_errors, nanoseconds
from experiments.report_page import Album
from experiments.run import Run
from experiments.settings import Settings, expect
from experiments.training import Moment, Task, Training, summary, train

__all__ = ["Config", "main"]

PIECES = 2  # of a maxout unit
ACTIVATIONS: dict[str, Callable[[Backend], nn.Module]] = {
    "sigmoid": lambda backend: backend.nn.Sigmoid(),
    "tanh": lambda backend: backend.nn.Tanh(),
    "relu": lambda backend: backend.nn.ReLU(),
    "leaky_relu": lambda backend: backend.nn.LeakyReLU(0.01),
    "elu": lambda backend: backend.nn.ELU(1.0),
    "learned_elu": lambda backend: backend.nn.LearnedELU(init=1.0),
    "maxout": lambda backend: backend.nn.Maxout(PIECES),
}
PROBED = 256  # digits on which gradients and flatness are measured
LEAST = 1e-9  # error that is shown: less does not fit on a logarithmic axis
MEASURES = {"forward_ns": ".2f", "both_ns": ".2f", "value_error": ".0e", "slope_error": ".0e"}
TITLES = {
    "flat": "Share of answers from a flat part of the activation",
    "dead": "Share of units that are always flat",
}

LOOK_FOR = """
One network for each activation, the same in all else, and the same weights to begin with.

1. **`1_functions`, `2_slopes`**: the sigmoid is steepest at 0, where its slope is 1/4, and fades in its tails; tanh,
   (exp(z) - exp(-z)) / (exp(z) + exp(-z)), goes to -1 and 1, and its slope to 0; a ReLU is two half-lines. ELU's α is
   fixed in its paper, and learned in `learned_elu`. Maxout, the largest of several linear pieces, is no default.
2. **`3_depth_before`**: each layer multiplies the gradient by its slopes. A sigmoid's are at most 1/4, so that little
   is left at the first layer. **`4_depth_after`** is the same when training is over.
3. **`accuracy`**: which of them learned. **`5_flat`**, **`6_dead`**: how many answers come from a flat part of the
   activation, and how many units give no others: those have stopped learning.
4. **`7_error`**, **`8_cost`**: how exact each is in float32, and how long it takes.
"""


@dataclass(frozen=True)
class Config(Settings):
    """Trains the same deep network with each activation.

    Args:
        depth: Hidden layers.
        width: Units in each.
        examples: Digits to learn from.
        data: Folder that holds MNIST as torchvision stores it, or "sample" for the bundled digits.
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
        """Raises UsageError for a value out of range."""
        super().check()
        for name in ("depth", "width", "examples"):
            value = getattr(self, name)
            expect(value is None or value >= 2, name, "a whole number from 2 up", value)


def main(config: Config, run: Run | None = None) -> None:
    """Trains them one after another, then lays them over each other."""
    digits = find_digits(config.data)
    config = replace(config, data=digits.source)
    task = reading_task(digits, config.torch_dtype, config.examples).to(config.device)
    run = run or Run.create(config, "activations")
    with Album(run, LOOK_FOR) as album:
        show_functions(album)
        criterion, probes = task.criterion(BACKENDS[config.backend][0].nn), probe(task)

        def reached(models: Mapping[str, nn.Module]) -> dict[str, list[float]]:
            return {name: gradient_by_layer(model, criterion, *probes) for name, model in models.items()}

        before = reached({name: at_the_start(name, config) for name in ACTIVATIONS})
        album.figure("3_depth_before", depth_figure("Before training", before))
        trained = {name: learn(run.part(name), name, task, config) for name in ACTIVATIONS}
        after = reached({name: each.learners[0].model for name, each in trained.items()})
        album.figure("4_depth_after", depth_figure("After training", after))
        for place, kind in enumerate(TITLES, 5):
            lines = {name: curve(each.run, kind) for name, each in trained.items()}
            album.figure(f"{place}_{kind}", curves(TITLES[kind], lines, x="training steps", y="share"))
        costs = measure(album, BACKENDS[config.backend][0])
        conclude(album, run, trained, before, costs)


def deep(backend: Backend, name: str, config: Config) -> nn.Module:
    """Fully connected, with hidden layers that are all alike."""
    parts = OrderedDict[str, nn.Module](flatten=backend.nn.Flatten())
    pieces = PIECES if name == "maxout" else 1
    before = 28 * 28
    for place in range(1, config.depth + 1):
        # The variance that ReLUs keep the same from layer to layer; the larger of two pieces keeps it by itself.
        parts[f"fc{place}"] = linear(backend, before, config.width * pieces, variance=2 / pieces)
        parts[f"{name}{place}"] = ACTIVATIONS[name](backend)
        before = config.width
    parts["out"] = linear(backend, before, 10, variance=1)
    return backend.nn.Sequential(parts)


def linear(backend: Backend, before: int, after: int, variance: float) -> nn.Module:
    """A linear layer whose sums have this variance where its inputs have mean square 1."""
    layer = backend.nn.Linear(before, after)
    nn.init.normal_(layer.weight, std=math.sqrt(variance / before))
    nn.init.zeros_(layer.bias)
    return layer


def at_the_start(name: str, config: Config) -> nn.Module:
    """The network before it has learned anything."""
    torch.manual_seed(config.seed)
    return deep(BACKENDS[config.backend][0], name, config).to(config.device, config.torch_dtype)


def learn(part: Run, name: str, task: Task, config: Config) -> Training:
    """Trains the network with one activation, and watches which units go flat."""

    def look(moment: Moment) -> dict[str, float]:
        model = moment.learner.model
        activations = [module for place, module in model.named_children() if place.startswith(name)]
        flat, dead = flat_and_dead(model, activations, probe(task)[0])
        return {"flat": flat, "dead": dead}

    return train(part, lambda backend: deep(backend, name, config), task, config, at_evaluation=look)


def probe(task: Task) -> tuple[Tensor, Tensor]:
    """Some digits to measure by."""
    inputs, targets = task.train
    return task.prepare(inputs[:PROBED]), targets[:PROBED]


def depth_figure(when: str, norms: Mapping[str, list[float]]) -> Figure:
    """Gradient norm against depth."""
    lines = {name: (list(range(1, len(each) + 1)), each) for name, each in norms.items()}
    title = f"{when}: how much of the gradient reaches each layer"
    return curves(title, lines, x="layer, from input to output", y="norm of the gradient of its weights", log="y")


def show_functions(album: Album) -> None:
    """Draws the activations and their slopes; maxout has as many shapes as weights."""
    z = torch.linspace(-5, 5, 201, dtype=torch.float64)
    alike = {
        name: make(CUSTOM).double() for name, make in ACTIVATIONS.items() if name not in ("learned_elu", "maxout")
    }
    values = {name: (z.tolist(), activation(z).tolist()) for name, activation in alike.items()}
    slopes = {name: (z.tolist(), slope(activation, z).tolist()) for name, activation in alike.items()}
    album.figure("1_functions", curves("Activations", values, x="z", y="a(z)"))
    title = "Their slopes, by which each layer multiplies the gradient"
    album.figure("2_slopes", curves(title, slopes, x="z", y="a'(z)"))


def measure(album: Album, backend: Backend) -> dict[str, dict[str, float]]:
    """How exact each activation is in float32, and how long it takes, there and back again."""
    z = torch.linspace(-12, 12, 481)
    lines, found = {}, {}
    for name, make in ACTIVATIONS.items():
        forward, both = nanoseconds(make(backend), inputs=PIECES if name == "maxout" else 1)
        found[name] = {"forward_ns": forward, "both_ns": both, "value_error": 0.0, "slope_error": 0.0}
        if name != "maxout":  # which picks one of its inputs, and errs by nothing
            values, slopes = float32_errors(make(backend), make(backend).double(), z)
            found[name] |= {"value_error": float(values.max()), "slope_error": float(slopes.max())}
            lines[name] = (z.tolist(), slopes.clamp(min=LEAST).tolist())
    title = "How far float32 is from the truth: slopes of the activations"
    album.figure("7_error", curves(title, lines, x="z", y="relative error of the slope", log="y"))
    rows = [(name, *(f"{each[key]:{form}}" for key, form in MEASURES.items())) for name, each in found.items()]
    title = "cost of a unit in nanoseconds, and largest relative errors in float32"
    album.table("8_cost", title, ("activation", *MEASURES), rows)
    return found


def conclude(
    album: Album,
    run: Run,
    trained: Mapping[str, Training],
    before: Mapping[str, list[float]],
    costs: Mapping[str, Mapping[str, float]],
) -> None:
    """Says what came of it, and ends the run."""
    found = {}
    for name, training in trained.items():
        result = training.results[training.learners[0].name]
        reach = before[name][0] / before[name][-1]
        found[name] = {"first_over_last_gradient": reach, **costs[name], **result, **summary(training)}
    head = ("activation", "test accuracy", "test loss", "first / last gradient", "flat", "dead")
    keys = {"accuracy": ".1%", "loss": ".3f", "first_over_last_gradient": ".1e", "flat": ".1%", "dead": ".1%"}
    rows = [(name, *(f"{each[key]:{form}}" for key, form in keys.items())) for name, each in found.items()]
    album.table("9_results", "the same network with each activation", head, rows)
    best = max(found, key=lambda name: found[name]["accuracy"])
    learned = trained["learned_elu"].learners[0].model.state_dict()
    alphas = [float(value) for name, value in learned.items() if name.endswith("alpha")]
    album.conclude(
        [
            f"Before training, the first layer's gradient is {found['sigmoid']['first_over_last_gradient']:.0e} of the "
            f"last one's with sigmoids, {found['tanh']['first_over_last_gradient']:.2f} with tanh and "
            f"{found['relu']['first_over_last_gradient']:.2f} with ReLUs.",
            f"The best is {best}, {found[best]['accuracy']:.1%}; sigmoids reach {found['sigmoid']['accuracy']:.1%}.",
            f"Test loss after the same steps: ELU {found['elu']['loss']:.3f}, ReLU {found['relu']['loss']:.3f}.",
            f"Dead are {found['relu']['dead']:.1%} of the ReLUs, {found['leaky_relu']['dead']:.1%} of the leaky ones.",
            f"A learned α began at 1 and ended between {min(alphas):.2f} and {max(alphas):.2f}.",
            f"There and back a unit takes {costs['relu']['both_ns']:.1f} ns with ReLU, "
            f"{costs['sigmoid']['both_ns']:.1f} with the sigmoid, {costs['tanh']['both_ns']:.1f} with tanh.",
            f"In float32 the sigmoid's values err by {costs['sigmoid']['value_error']:.0e} at most, tanh's by "
            f"{costs['tanh']['value_error']:.0e}; their slopes by {costs['sigmoid']['slope_error']:.0e} and "
            f"{costs['tanh']['slope_error']:.0e}.",
        ]
    )
    run.finish(found)
