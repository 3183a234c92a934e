"""One network in training: the model, its loss, its optimizer and the schedule of its learning rate."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from experiments.backend import Backend
from experiments.settings import Settings

__all__ = ["Evaluation", "Learner", "Task", "schedule"]

EVALUATION_BATCH = 250


@dataclass(frozen=True)
class Task:
    """What is to be learned: a classification, with its examples as they are stored, on one device.

    Attributes:
        train: Inputs and targets to learn from; targets are class numbers, int64 of shape (N,).
        test: Inputs and targets to be judged by.
        prepare: Makes network input of a batch of stored inputs; may write to the batch.
    """

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    prepare: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Evaluation:
    """How a network does on the test set; ``confusion[true, predicted]`` counts."""

    loss: float
    accuracy: float
    confusion: Tensor


def schedule(progress: float) -> float:
    """The learning rate after a share of the training, relative to its highest: a rise, then half a cosine.

    >>> [round(schedule(p), 2) for p in (0.05, 0.1, 0.55, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    """
    rise = 0.1
    if progress < rise:
        return progress / rise
    return 0.5 * (1 + math.cos(math.pi * (progress - rise) / (1 - rise)))


class Learner:
    """A network of one backend and what it takes to train it, for ``steps`` steps.

    Attributes:
        name: That of the backend.
        seconds: Spent in `step` so far.
    """

    def __init__(
        self, backend: Backend, build: Callable[[Backend], nn.Module], settings: Settings, steps: int
    ) -> None:
        self.name = backend.name
        self.model = build(backend).to(settings.device, settings.torch_dtype)
        self.criterion = backend.nn.NLLLoss()
        assert settings.lr is not None
        self.optimizer = backend.SGD(self.model.parameters(), lr=settings.lr, momentum=settings.momentum)
        self.schedule = LambdaLR(self.optimizer, lambda step: schedule((step + 1) / (steps + 1)))
        self.seconds = 0.0

    def step(self, inputs: Tensor, targets: Tensor) -> tuple[float, float]:
        """Learns from one batch: its loss, and the share that was right."""
        started = time.perf_counter()
        self.optimizer.zero_grad()
        outputs = self.model(inputs)
        loss = self.criterion(outputs, targets)
        loss.backward()
        self.optimizer.step()
        figure = loss.item()  # on a GPU this waits for the step, which the clock must count
        self.seconds += time.perf_counter() - started
        self.schedule.step()
        return figure, (outputs.detach().argmax(1) == targets).double().mean().item()

    @torch.no_grad()
    def evaluate(self, task: Task, before_batch: Callable[[], None]) -> Evaluation:
        """Judges the network by the test set; ``before_batch`` may raise to break it off."""
        inputs, targets = task.test
        loss, predicted = 0.0, []
        self.model.eval()
        try:
            for batch, truth in zip(inputs.split(EVALUATION_BATCH), targets.split(EVALUATION_BATCH), strict=True):
                before_batch()
                outputs = self.model(task.prepare(batch))
                loss += self.criterion(outputs, truth).item() * len(truth)
                predicted.append(outputs.argmax(1))
        finally:
            self.model.train()
        classes = outputs.shape[1]
        cells = targets * classes + torch.cat(predicted)
        confusion = torch.bincount(cells, minlength=classes**2).view(classes, classes).cpu()
        return Evaluation(loss / len(targets), confusion.trace().item() / len(targets), confusion)

    def state_dict(self) -> dict[str, Any]:
        """Everything that training changes, as plain values."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes the network back to a state that `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.seconds = state["seconds"]
