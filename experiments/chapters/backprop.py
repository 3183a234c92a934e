"""Shows every delta of back-propagation, and compares its gradients and cost with autograd and differences."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from experiments import processes
from experiments.algorithms.by_hand import (
    Layer,
    back_propagate,
    differences,
    error_of,
    forward,
    gradients_of,
    layers_of,
)
from experiments.backend import BACKENDS, Backend
from experiments.data.synthetic import logic_gate
from experiments.figures.curves import curves
from experiments.metrics.timing import seconds_each
from experiments.report_page import ReportPage
from experiments.run import Run
from experiments.settings import CommonSettings, expect, settings_of
from experiments.training import Learner, Task, Training, summary, train

__all__ = ["Config", "main"]

HIDDEN = 3  # hidden units of the network for XOR
STEP = 1e-5  # of the differences in float64; the figure 4_differences shows why
ALGORITHMS = ("one pass forward", "by hand", "autograd", "differences")
INPUTS, BATCH = 16, 32  # of the timed networks

LOOK_FOR = """
A network learns XOR with the gradients that `experiments/algorithms/by_hand.py` computes line by line.

1. **`1_deltas`** shows the forward and backward pass of a single example: weighted sum z, activation a, the slope of
   the sigmoid at z, and delta, the derivative of the error with respect to z. **`2_gradients`** shows the gradient of
   each weight by hand, by autograd and by differences.
2. **`3_cost`**: by hand and by autograd a gradient costs a few forward passes, whatever the number of weights;
   differences cost two passes per weight.
3. **`4_differences`** shows why differences need float64 and a suitable step: long steps have truncation error, short
   ones rounding error.
4. `metrics` has the norm of each layer's deltas during training, and `disagreement` between by-hand and autograd
   gradients.
"""


@dataclass(frozen=True)
class Config(CommonSettings):
    """Shows one step of back-propagation in a small network, then trains it on XOR with the hand-written gradients.

    Args:
        epochs: Passes over the four examples of XOR.
        lr: Learning rate.
        widest: Units in each hidden layer of the widest network whose gradients are timed.
    """

    epochs: int | None = None
    lr: float = 2.0
    widest: int | None = None

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"epochs": 400, "widest": 32},
        "full": {"epochs": 1000, "widest": 128},
    }

    def check(self) -> None:
        super().check()
        for name in ("epochs", "widest"):
            value = getattr(self, name)
            expect(value is None or value >= 2, name, "a whole number from 2 up", value)
        expect(0 < self.lr < float("inf"), "lr", "a number above 0, such as 2", self.lr)


def main(config: Config, run: Run | None = None) -> None:
    processes.expect_one("backprop")
    run = run or Run.create(config, "backprop")
    with ReportPage(run, LOOK_FOR) as page:
        one = one_step(page, config)
        training = learn(run, config)
        cost = count_cost(page, config)
        best = try_steps(page, config)
        result = training.results[training.learners[0].name]
        page.conclude(
            [
                f"In one step, gradients by hand and by autograd differ by {one['autograd']:.0e} of the largest, "
                f"by hand and by differences by {one['differences']:.0e}.",
                f"With the hand-written gradients the network learned XOR to a loss of {result['loss']:.1e} "
                f"and an accuracy of {result['accuracy']:.0%}.",
                f"With {cost['weights']:,} weights, a gradient costs {cost['by hand']:.1f} forward passes by hand, "
                f"by autograd {cost['autograd']:.1f}, by differences {cost['differences']:,.0f}.",
                f"The best step of differences is {best['float64'][0]:.0e} in float64, with an error of "
                f"{best['float64'][1]:.0e}, and {best['float32'][0]:.0e} in float32, with {best['float32'][1]:.0e}.",
            ]
        )
    run.finish(
        {"one_step": one, "learning": summary(training), "cost_in_forward_passes": cost, "differences": best}
    )


def network(backend: Backend, sizes: Sequence[int] = (2, HIDDEN, 1)) -> nn.Module:
    """Builds a fully connected network of sigmoid units."""
    parts: list[nn.Module] = []
    for before, here in itertools.pairwise(sizes):
        parts += [backend.nn.Linear(before, here), backend.nn.Sigmoid()]
    return backend.nn.Sequential(*parts)


def autograd(model: nn.Module, criterion: nn.Module, x: Tensor, y: Tensor) -> list[Tensor]:
    """Returns the gradients of a network's parameters by autograd."""
    return list(torch.autograd.grad(criterion(model(x), y), list(model.parameters())))


def largest_difference(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """Returns the largest difference of two lists of gradients, relative to the largest number in the second."""
    scale = max(float(each.abs().max()) for each in b)
    return max(float((mine - yours).abs().max()) for mine, yours in zip(a, b, strict=True)) / scale


def one_step(page: ReportPage, config: Config) -> dict[str, float]:
    """Shows one example's forward and backward pass, and returns the differences between the three gradients."""
    backend = BACKENDS[config.backend][0]
    torch.manual_seed(config.seed)
    model = network(backend).to(config.device, torch.float64)
    layers = layers_of(model)
    x, y = (torch.tensor([values], dtype=torch.float64, device=config.device) for values in ([1.0, 0.0], [1.0]))

    traces = back_propagate(layers, x, y)
    rows = [
        (
            f"{place}.{unit}",
            *(f"{float(values[0, unit - 1]):+.5f}" for values in (t.sums, t.activations, t.slopes, t.deltas)),
        )
        for place, t in enumerate(traces, 1)
        for unit in range(1, t.sums.shape[1] + 1)
    ]
    title = (
        f"x = (1, 0), target 1, error {float(error_of(layers, x, y)):.5f}: forward and backward pass of each unit"
    )
    page.table("1_deltas", title, ("layer.unit", "z", "a", "σ'(z)", "δ"), rows)

    found = [gradients_of(traces), autograd(model, backend.nn.MSELoss(), x, y), differences(layers, x, y, STEP)]
    names = [
        f"{name}{list(index)}"
        for name, parameter in model.named_parameters()
        for index in np.ndindex(*parameter.shape)
    ]
    numbers = [torch.cat([part.flatten() for part in gradients]).tolist() for gradients in found]
    rows = [(name, *(f"{number:+.10f}" for number in each)) for name, *each in zip(names, *numbers, strict=True)]
    page.table(
        "2_gradients",
        "the derivative of the error with respect to each weight",
        ("weight", "by hand", "autograd", "differences"),
        rows,
    )
    return {
        "autograd": largest_difference(found[0], found[1]),
        "differences": largest_difference(found[0], found[2]),
    }


class ByHand(Learner):
    """Trains with the hand-written gradients, and measures their difference from autograd's."""

    def step(self, inputs: Tensor, targets: Tensor, weight: float = 1.0) -> dict[str, float]:
        with self.clocked():
            outputs = self.model(inputs)
            loss = self.criterion(outputs, targets)
            traces = back_propagate(layers_of(self.model), inputs, targets)
            parameters, by_hand = list(self.model.parameters()), gradients_of(traces)
            disagreement = largest_difference(torch.autograd.grad(loss, parameters), by_hand)
            for parameter, gradient in zip(parameters, by_hand, strict=True):
                parameter.grad = gradient
            self.optimizer.step()
            found = loss.item()
        deltas = {f"delta_of_layer_{place}": float(t.deltas.norm()) for place, t in enumerate(traces, 1)}
        return {
            "loss": found,
            "accuracy": float(is_near(outputs, targets).double().mean()),
            "disagreement": disagreement,
            **deltas,
        }


def is_near(outputs: Tensor, targets: Tensor) -> Tensor:
    """Returns whether outputs and targets are on the same side of 1/2."""
    return (outputs > 0.5) == (targets > 0.5)


def learn(run: Run, config: Config) -> Training:
    """Trains on XOR with the hand-written gradients."""
    x, y = logic_gate("XOR")
    examples = x.double(), y.double().unsqueeze(1)
    task = Task(examples, examples, criterion=lambda nn: nn.MSELoss(), right=is_near)
    assert config.epochs is not None
    settings = settings_of(
        config,
        epochs=config.epochs,
        batch_size=4,
        lr=config.lr,
        schedule="constant",
        dtype="float64",
        eval_every=100,
    )
    return train(run.part("xor"), network, task, settings, learner=ByHand)


def count_cost(page: ReportPage, config: Config) -> dict[str, float]:
    """Times each algorithm on networks of increasing width; returns the costs at the widest, in forward passes."""
    assert config.widest is not None
    times: dict[str, list[float]] = {name: [] for name in ALGORITHMS}
    weights: list[float] = []
    for width in (2**power for power in range(1, config.widest.bit_length())):
        torch.manual_seed(config.seed)
        backend = BACKENDS[config.backend][0]
        model = network(backend, (INPUTS, width, width, 1)).to(config.device, torch.float64)
        weights.append(sum(parameter.numel() for parameter in model.parameters()))
        for name, seconds in zip(ALGORITHMS, time_algorithms(model, backend.nn.MSELoss()), strict=True):
            times[name].append(1e3 * seconds)
    title = "Cost of a gradient: a few forward passes, or two per weight"
    lines = {name: (weights, each) for name, each in times.items()}
    page.figure("3_cost", curves(title, lines, x="weights in the network", y="milliseconds", log="xy"))
    return {
        "weights": weights[-1],
        **{name: times[name][-1] / times[ALGORITHMS[0]][-1] for name in ALGORITHMS[1:]},
    }


def time_algorithms(model: nn.Module, criterion: nn.Module) -> list[float]:
    """Returns the seconds of each of `ALGORITHMS`."""
    layers = layers_of(model)
    x, y = (torch.rand(BATCH, size).to(layers[0].weight) for size in (INPUTS, 1))
    quick = seconds_each(
        lambda: forward(layers, x),
        lambda: back_propagate(layers, x, y),
        lambda: autograd(model, criterion, x, y),
    )
    return quick + seconds_each(lambda: differences(layers, x, y, STEP))


def try_steps(page: ReportPage, config: Config) -> dict[str, tuple[float, float]]:
    """Measures the error of differences by step in two precisions; returns the best step and its error for each."""
    steps = [10 ** (-power / 2) for power in range(1, 28)]
    torch.manual_seed(config.seed)
    exact = layers_of(network(BACKENDS[config.backend][0]).double())
    x, y = logic_gate("XOR")
    truth = gradients_of(back_propagate(exact, x.double(), y.double().unsqueeze(1)))
    lines, best = {}, {}
    for dtype in (torch.float64, torch.float32):
        layers = [Layer(layer.weight.to(dtype), layer.bias.to(dtype)) for layer in exact]
        errors = []
        for step in steps:
            found = differences(layers, x.to(dtype), y.to(dtype).unsqueeze(1), step)
            errors.append(largest_difference([each.double() for each in found], truth))
        name = str(dtype).removeprefix("torch.")
        lines[name] = (steps, errors)
        best[name] = min(zip(steps, errors, strict=True), key=lambda pair: pair[1])
    title = "Long steps have truncation error, short ones rounding error"
    page.figure("4_differences", curves(title, lines, x="step", y="largest relative error", log="xy"))
    return best
