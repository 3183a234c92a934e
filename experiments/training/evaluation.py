"""Evaluations of a network on a set of examples, and the best of them, which decides when training stops early."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Best", "Evaluation"]

MOST_CLASSES = 100  # outputs of more classes, such as a language model's, are not stored


@dataclass
class Evaluation:
    """The answers of a network to a set of examples, accumulated over batches.

    Attributes:
        examples: Number of examples.
        loss_sum: Sum of their losses.
        answers: Number of answers that can be right: one per example, or one per position.
        right: Number of right answers.
        outputs: The network's outputs by batch, if each example belongs to one of a few classes.
        targets: The classes, for the same batches.
    """

    examples: int = 0
    loss_sum: float = 0.0
    answers: int = 0
    right: int = 0
    outputs: Sequence[Tensor] = ()
    targets: Sequence[Tensor] = ()

    def add(self, loss: float, right: Tensor | None, outputs: Tensor, targets: Tensor) -> None:
        """Adds a batch with the given mean loss and right answers."""
        self.examples += len(targets)
        self.loss_sum += loss * len(targets)
        if right is not None:
            self.answers += right.numel()
            self.right += int(right.sum())
        classes = outputs.ndim == 2 and targets.ndim == 1 and not targets.is_floating_point()
        if classes and right is not None and outputs.shape[1] <= MOST_CLASSES:
            self.outputs = [*self.outputs, outputs.detach().float().cpu()]
            self.targets = [*self.targets, targets.cpu()]

    @classmethod
    def of_all(cls, parts: Sequence[Evaluation]) -> Evaluation:
        """Combines the evaluations of the parts of a set."""
        return cls(
            examples=sum(part.examples for part in parts),
            loss_sum=sum(part.loss_sum for part in parts),
            answers=sum(part.answers for part in parts),
            right=sum(part.right for part in parts),
            outputs=[batch for part in parts for batch in part.outputs],
            targets=[batch for part in parts for batch in part.targets],
        )

    @property
    def metrics(self) -> dict[str, float]:
        """``loss``, and ``accuracy`` if the task has right answers."""
        accuracy = {"accuracy": self.right / self.answers} if self.answers else {}
        return {"loss": self.loss_sum / self.examples, **accuracy}

    @property
    def confusion(self) -> Tensor | None:
        """Counts of the classes, ``confusion[true, predicted]``."""
        if not self.outputs:
            return None
        outputs, targets = torch.cat(list(self.outputs)), torch.cat(list(self.targets))
        classes = outputs.shape[1]
        cells = targets * classes + outputs.argmax(1)
        return torch.bincount(cells, minlength=classes**2).view(classes, classes)


class Best:
    """Tracks the best evaluation of the first network: by accuracy, then by loss.

    Args:
        patience: Number of consecutive evaluations without a lower loss after which `exhausted` is true. It counts
            the loss, because an overfitting network's loss rises while its accuracy still improves.

    Attributes:
        step: Step of the best evaluation.
        results: Metrics of the best evaluation.
        lowest: The lowest loss so far.
        since: Number of evaluations since the lowest loss.
    """

    def __init__(self, patience: int | None) -> None:
        self.patience = patience
        self.step = self.since = 0
        self.lowest = math.inf
        self.results: Mapping[str, Mapping[str, float]] = {}

    def update(self, step: int, results: Mapping[str, Mapping[str, float]]) -> bool:
        """Adds an evaluation and returns whether it is the best so far."""
        loss = next(iter(results.values()))["loss"]
        self.since = 0 if loss < self.lowest else self.since + 1
        self.lowest = min(self.lowest, loss)
        if self.results and not _rank(results) > _rank(self.results):
            return False
        self.step, self.results = step, results
        return True

    @property
    def exhausted(self) -> bool:
        return self.patience is not None and self.since >= self.patience

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "lowest": self.lowest, "since": self.since, "results": self.results}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step, self.results = state["step"], state["results"]
        self.lowest, self.since = state["lowest"], state["since"]


def _rank(results: Mapping[str, Mapping[str, float]]) -> tuple[float, float]:
    first = next(iter(results.values()))
    return first.get("accuracy", 0.0), -first["loss"]
