"""Trains a perceptron, which cannot learn XOR, two layers, which can, and support vector machines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from experiments import processes
from experiments.algorithms.feature_space import FeatureSpace
from experiments.backend import BACKENDS, Backend
from experiments.data.digits import Digits
from experiments.data.synthetic import GATES, logic_gate, two_moons
from experiments.digit_task import find_digits
from experiments.figures.contours import Panel, boundary
from experiments.report_page import ReportPage
from experiments.run import Run
from experiments.settings import CommonSettings, expect, settings_of
from experiments.threads import threads_for
from experiments.training import Learner, Task, Training, summary, train

__all__ = ["Config", "main"]

MOONS, NOISE = 200, 0.15
# With their learning rates: the polynomial kernel's largest values are a hundred times the radial one's.
MACHINES: dict[str, tuple[Callable[[Tensor, Backend], nn.Module], float]] = {
    "linear": (lambda x, backend: backend.nn.LinearSVM(2, 2), 0.1),
    "polynomial": (lambda x, backend: backend.nn.KernelSVM(x, 2, "polynomial", gamma=1.0, degree=3), 0.003),
    "rbf": (lambda x, backend: backend.nn.KernelSVM(x, 2, "rbf", gamma=2.0), 0.1),
}
GAMMA = 0.03  # of the RBF kernel between digits with pixels from 0 to 1
ROWS = 250  # rows of the digits' kernel to compute at a time

LOOK_FOR = """
Three ideas, in historical order.

1. **`1_gates`**: one layer separates classes by one line. The perceptron's rule finds the line if there is one (AND,
   OR) and cycles forever if there is none (XOR): see its `accuracy/train`. Two lines, combined by a second layer,
   solve XOR.
2. **`2_moons`**: support vector machines find the line with the widest margin (dashed), which depends only on the
   ringed points; a kernel turns the line into a curve.
3. **`digits_linear` and `digits_rbf`** under `accuracy/test` compare the same machines on handwritten digits.

History: the neuron is by McCulloch and Pitts, 1943; its learning rule by Rosenblatt, 1958; the proof that one layer
cannot learn XOR by Minsky and Papert, 1969. Back-propagation, which trains the second layer, is not from 1943:
Linnainmaa 1970, Werbos 1974, Rumelhart, Hinton and Williams 1986. The support vector machine is not from 1986: Boser,
Guyon and Vapnik 1992, Cortes and Vapnik 1995. Convolutions are in the chapter `mnist`.
"""


@dataclass(frozen=True)
class Config(CommonSettings):
    """Trains perceptrons, a network of two layers and support vector machines.

    Args:
        digits: Number of training digits; the RBF machine compares each with every other.
        data: Folder with MNIST in torchvision's layout, or "sample" for the bundled digits.
    """

    digits: int | None = None
    data: str | None = None

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"digits": 1000, "data": "sample"},
        "full": {"digits": 10_000},
    }

    def check(self) -> None:
        super().check()
        expect(self.digits is None or self.digits >= 10, "digits", "a whole number from 10 up", self.digits)


def main(config: Config, run: Run | None = None) -> None:
    processes.expect_one("history")
    digits = find_digits(config.data)
    config = replace(config, data=digits.source)
    run = run or Run.create(config, "history")
    with ReportPage(run, LOOK_FOR) as page:
        gates, moons = {**perceptrons(run, config), **two_layers(run, config)}, separate_moons(run, config)
        one_line = boundary(
            "One layer draws one line, two layers combine two", [panel(*gate) for gate in gates.items()]
        )
        page.figure("1_gates", one_line)
        bent = boundary(
            "The widest margin, and kernels that make it a curve", [panel(*m, margin=True) for m in moons.items()]
        )
        page.figure("2_moons", bent)
        conclude(page, run, {**gates, **moons, **train_on_digits(run, config, digits)})


class Perceptron(Learner):
    """Trains by Rosenblatt's rule."""

    @torch.no_grad()
    def step(self, inputs: Tensor, targets: Tensor, weight: float = 1.0) -> dict[str, float]:
        """Moves the line toward or away from the inputs that are classified wrong."""
        line: Any = self.model
        with self.clocked():
            wrong = targets - (line(inputs) > 0).to(targets)  # 0, or the direction of the step: 1 or -1
            line.weight.grad, line.bias.grad = -(wrong * inputs).sum(0, keepdim=True), -wrong.sum(0)
            self.optimizer.step()
            share = wrong.abs().mean().item()
        return {"loss": share, "accuracy": 1 - share}


def perceptrons(run: Run, config: Config) -> dict[str, Training]:
    """Trains a single layer on AND, OR and XOR."""
    rule = {"batch_size": 1, "lr": 1.0, "momentum": 0.0, "schedule": "constant"}
    settings = settings_of(config, epochs=30, dtype="float64", every=40, eval_every=40, **rule)
    found = {}
    for gate in GATES:
        name = f"perceptron_{gate}"
        x, y = logic_gate(gate)
        examples = x.double(), y.double().unsqueeze(1)
        task = Task(examples, examples, criterion=lambda nn: share_wrong, right=is_on_its_side)
        found[name] = train(
            run.part(name), lambda backend: backend.nn.Linear(2, 1), task, settings, learner=Perceptron
        )
    return found


def is_on_its_side(scores: Tensor, targets: Tensor) -> Tensor:
    """Returns whether scores are above 0 exactly where the target is 1."""
    return (scores > 0) == (targets > 0)


def share_wrong(scores: Tensor, targets: Tensor) -> Tensor:
    return 1 - is_on_its_side(scores, targets).to(scores).mean()


def two_layers(run: Run, config: Config) -> dict[str, Training]:
    x, y = logic_gate("XOR")
    task = Task((x.double(), y), (x.double(), y), criterion=lambda nn: nn.CrossEntropyLoss())

    def network(backend: Backend) -> nn.Module:
        return backend.nn.Sequential(backend.nn.Linear(2, 4), backend.nn.Tanh(), backend.nn.Linear(4, 2))

    settings = settings_of(config, epochs=200, batch_size=4, lr=0.3, dtype="float64", eval_every=50)
    return {"two_layers_XOR": train(run.part("two_layers_XOR"), network, task, settings)}


def separate_moons(run: Run, config: Config) -> dict[str, Training]:
    """Trains support vector machines on two moons: the hinge loss demands a margin, the penalty widens it."""
    x, y = two_moons(MOONS, NOISE, config.seed)
    test_x, test_y = two_moons(5 * MOONS, NOISE, config.seed + 1)
    task = Task((x.double(), y), (test_x.double(), test_y), criterion=lambda nn: nn.MultiMarginLoss())
    found = {}
    for kernel, (build, lr) in MACHINES.items():
        found[f"moons_{kernel}"] = train(
            run.part(f"moons_{kernel}"),
            partial(build, x.double()),
            task,
            settings_of(config, epochs=60, batch_size=40, lr=lr, dtype="float64", eval_every=100),
            penalty=partial(margin_penalty, strength=1e-3),
        )
    return found


def margin_penalty(machine: Any, strength: float) -> Tensor:
    return strength * machine.penalty()


def train_on_digits(run: Run, config: Config, digits: Digits) -> dict[str, Training]:
    """Trains support vector machines on digits: on the pixels, and in the feature space of the RBF kernel."""
    images = digits.train_images[: config.digits], digits.test_images
    pixels = [each.flatten(1).to(config.device, torch.float32) / 255 for each in images]
    labels = digits.train_labels[: config.digits].to(config.device), digits.test_labels.to(config.device)
    found = {}
    for name, inputs, lr in (("linear", pixels, 0.05), ("rbf", features(config, *pixels), 10.0)):
        found[f"digits_{name}"] = train(
            run.part(f"digits_{name}"),
            partial(linear_machine, size=inputs[0].shape[1]),
            Task((inputs[0], labels[0]), (inputs[1], labels[1]), criterion=lambda nn: nn.MultiMarginLoss()),
            settings_of(config, epochs=10, lr=lr),
            penalty=partial(margin_penalty, strength=1e-5),
        )
    return found


def linear_machine(backend: Backend, size: int) -> nn.Module:
    return backend.nn.LinearSVM(size, 10)


def features(config: Config, train_pixels: Tensor, test_pixels: Tensor) -> list[Tensor]:
    """Returns coordinates in the feature space of the RBF kernel, where its machine is linear."""
    machine = BACKENDS[config.backend][0].nn.KernelSVM(train_pixels, 10, "rbf", gamma=GAMMA).to(config.device)
    with torch.no_grad():
        kernels = [
            torch.cat([machine.similarity(rows) for rows in x.split(ROWS)]) for x in (train_pixels, test_pixels)
        ]
    with threads_for(len(train_pixels) ** 3 / 3):  # the work of a Cholesky decomposition
        space = FeatureSpace(kernels[0])
    return [space.anchors, space.coordinates(kernels[1])]


def panel(title: str, training: Training, margin: bool = False) -> Panel:
    """Returns the panel of a trained classifier of points in the plane."""
    learner = training.learners[0]
    x, y = learner.task.train[0], (learner.task.train[1] > 0).long().flatten()

    def score(points: Tensor) -> Tensor:
        scores = learner.model(points)
        return scores[:, 0] if scores.shape[1] == 1 else scores[:, 1] - scores[:, 0]

    with torch.no_grad():
        inside = score(x) * (2 * y - 1) <= 1.01
    return Panel(title, score, x, y, support=inside if margin else None)


def conclude(page: ReportPage, run: Run, trained: Mapping[str, Training]) -> None:
    """Reports the results, and finishes the run."""
    rows, summaries = [], {}
    for name, training in trained.items():
        learner = training.learners[0]
        before = learner.evaluate(*learner.task.train).metrics["accuracy"]
        after = training.results[learner.name]["accuracy"]
        rows.append((name, str(len(learner.task.train[1])), f"{before:.1%}", f"{after:.1%}"))
        summaries[name] = {"train_accuracy": before, **summary(training)}
    page.table("3_accuracy", "accuracy", ("part", "training examples", "training set", "test set"), rows)
    right = {name: row[-1] for name, row in zip(trained, rows, strict=True)}
    page.conclude(
        [
            f"The accuracy of a single layer is {right['perceptron_AND']} on AND and {right['perceptron_OR']} on OR, "
            f"but {right['perceptron_XOR']} on XOR; two layers reach {right['two_layers_XOR']} on it.",
            f"On two moons a straight line reaches {right['moons_linear']}, a polynomial kernel "
            f"{right['moons_polynomial']}, a radial kernel {right['moons_rbf']}.",
            f"On digits a linear machine reaches {right['digits_linear']}, a radial kernel {right['digits_rbf']}.",
        ]
    )
    run.finish(summaries)
