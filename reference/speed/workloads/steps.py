"""Training steps of the MNIST networks, and steps of the optimizers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import scratchnet.functional
from experiments.backend import BUILTIN, CUSTOM
from experiments.models import MODELS
from reference.speed.workload import Candidate, Workload, channels_last, compare_values
from scratchnet.monitor import Monitor
from scratchnet.testing import Comparison

__all__ = ["BATCH", "ONE_BATCH", "SMALL_AND_LARGE", "WORKLOADS", "Task", "TrainingStep"]

BATCH = 128
ONE_BATCH, SMALL_AND_LARGE = f"batch {BATCH}", "100 small and one of 10 million"
RATE, MOMENTUM = 0.01, 0.9


class Task(NamedTuple):
    """A network, a loss of its output and the target, and a batch."""

    model: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    inputs: Tensor
    target: Tensor


class TrainingStep:
    """A training step: forward computes the loss, backward the gradients and the optimizer's step."""

    in_place = False

    def __init__(self, make: Callable[[Candidate], Task], candidate: Candidate) -> None:
        torch.manual_seed(0)
        self.model, loss, self.inputs, self.target = make(candidate)
        if candidate.channels_last:
            self.inputs = channels_last(self.inputs)
            for parameter in self.model.parameters():
                parameter.data = channels_last(parameter.data)
        self.parameters: Sequence[Tensor] = [self.inputs, *self.model.parameters()]
        backend = CUSTOM if candidate.side == "custom" else BUILTIN
        self.optimizer = backend.optim.SGD(self.model.parameters(), lr=RATE, momentum=MOMENTUM)

        def run(inputs: Tensor, target: Tensor) -> Tensor:
            return loss(self.model(inputs), target)

        self.run = torch.compile(run, dynamic=False, fullgraph=True) if candidate.compiled else run
        self.forward()
        self.backward()

    def forward(self) -> None:
        self.loss = self.run(self.inputs, self.target)

    def backward(self) -> None:
        self.loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        del self.loss

    @property
    def inputs_and_outputs(self) -> Sequence[Tensor]:
        return [*self.parameters, self.loss]

    def moved(self, saved: int) -> tuple[int, int]:
        """Counts the saved tensors, which are written and read."""
        return saved, saved


class WatchedStep(TrainingStep):
    """A training step of our network, which on one side a monitor watches at every step (1 in 50 by default)."""

    def __init__(self, make: Callable[[Candidate], Task], candidate: Candidate) -> None:
        self.monitor: Monitor | None = None
        super().__init__(make, Candidate("custom"))
        if candidate.side == "custom":
            self.folder = TemporaryDirectory()
            self.monitor = Monitor(self.model, self.optimizer, self.folder.name, every=1)

    def backward(self) -> None:
        loss = self.loss
        super().backward()
        if self.monitor is not None:
            self.monitor.step(loss=loss)


class OptimizerStep:
    """A step of an optimizer, SGD with momentum and without weight decay; there is no backward."""

    in_place = True

    def __init__(self, op: str, shapes: Sequence[tuple[int, ...]], candidate: Candidate) -> None:
        torch.manual_seed(0)
        self.parameters: Sequence[Tensor] = [nn.Parameter(torch.randn(shape)) for shape in shapes]
        for parameter in self.parameters:
            parameter.grad = torch.randn_like(parameter)
        backend = CUSTOM if candidate.side == "custom" else BUILTIN
        self.averages = 1 if op == "SGD" else 2
        options = {"momentum": MOMENTUM} if op == "SGD" else {}
        self.optimizer = getattr(backend.optim, op)(self.parameters, lr=1e-6, **options)
        self.forward()

    def forward(self) -> None:
        self.optimizer.step()

    def backward(self) -> None:
        """Does nothing."""

    @property
    def inputs_and_outputs(self) -> Sequence[Tensor]:
        return self.parameters

    def moved(self, saved: int) -> tuple[int, int]:
        """Counts parameters, gradients and averages read, and parameters and averages written."""
        return (3 + 2 * self.averages) * sum(p.numel() * p.element_size() for p in self.parameters), 0


@dataclass(frozen=True)
class _AfterSteps:
    """The parameters after some steps, as a function that can be compared."""

    op: str
    shapes: tuple[tuple[int, ...], ...]
    candidate: Candidate

    def __call__(self, rate: Tensor) -> tuple[Tensor, ...]:
        run = OptimizerStep(self.op, self.shapes, self.candidate)
        run.forward()
        return tuple(p.detach() + 0 * rate for p in run.parameters)


def digits(model: str, candidate: Candidate) -> Task:
    """Returns a network for a batch of digits."""
    backend, loss = (
        (CUSTOM, scratchnet.functional.nll_loss) if candidate.side == "custom" else (BUILTIN, F.nll_loss)
    )
    return Task(MODELS[model](backend), loss, torch.randn(BATCH, 1, 28, 28), torch.randint(10, (BATCH,)))


def compare_models(model: str) -> Comparison:
    """Compares output and gradients of both networks with equal parameters and dropout masks."""
    torch.manual_seed(0)
    custom, builtin = MODELS[model](CUSTOM), MODELS[model](BUILTIN)
    images = torch.randn(BATCH, 1, 28, 28)
    return compare_values(custom, builtin, images, name=f"{model} step")


def compare_steps(op: str, shapes: tuple[tuple[int, ...], ...]) -> Comparison:
    """Compares the parameters after the same steps."""
    sides = (_AfterSteps(op, shapes, Candidate("custom")), _AfterSteps(op, shapes, Candidate("builtin")))
    return compare_values(*sides, torch.zeros(()), name=op)


def training(model: str, *relies_on: str) -> Workload:
    return Workload(
        f"{model} step",
        ONE_BATCH,
        partial(TrainingStep, partial(digits, model)),
        partial(compare_models, model),
        relies_on=(*relies_on, "linear", "relu", "log_softmax", "nll_loss", "SGD"),
        layouts=model == "cnn",
    )


def watching(model: str) -> Workload:
    """Returns a training step with a monitor against one without."""
    compare = partial(compare_models, model)
    step = partial(WatchedStep, partial(digits, model))
    return Workload("watched step", model, step, compare, compiles=False)


def optimizing(op: str, size: str, *shapes: tuple[int, ...]) -> Workload:
    prepare: Any = partial(OptimizerStep, op, shapes)
    return Workload(op, size, prepare, partial(compare_steps, op, shapes), relies_on=(op,), compiles=False)


SMALL = ((64,),) * 50 + ((32, 32),) * 50
WORKLOADS = (
    training("cnn", "conv2d", "max_pool2d", "dropout"),
    training("mlp"),
    watching("cnn"),
    watching("mlp"),
    *(
        workload
        for op in ("SGD", "Adam", "AdamW")
        for workload in (
            optimizing(op, "100 small", *SMALL),
            optimizing(op, "one of 10 million", (10_000_000,)),
            optimizing(op, SMALL_AND_LARGE, *SMALL, (10_000_000,)),
        )
    ),
)
