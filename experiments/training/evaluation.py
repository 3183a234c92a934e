"""How a network does on a set of examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Evaluation"]

MOST_CLASSES = 100  # of which outputs are kept: a language model's would fill the memory


@dataclass
class Evaluation:
    """What a network answers to a set of examples, batch by batch.

    Attributes:
        examples: How many there were.
        loss_sum: Their losses, added up.
        answers: How many answers could be right: one for an example, or for each position.
        right: How many were.
        outputs: Where each example belongs to one of a few classes, what the network gave out for the batches.
        targets: And the classes.
    """

    examples: int = 0
    loss_sum: float = 0.0
    answers: int = 0
    right: int = 0
    outputs: Sequence[Tensor] = ()
    targets: Sequence[Tensor] = ()

    def add(self, loss: float, right: Tensor | None, outputs: Tensor, targets: Tensor) -> None:
        """Takes in a batch: its mean loss, which answers are right, and what they are."""
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
        """The evaluation of a set whose parts were evaluated one by one."""
        return cls(
            examples=sum(part.examples for part in parts),
            loss_sum=sum(part.loss_sum for part in parts),
            answers=sum(part.answers for part in parts),
            right=sum(part.right for part in parts),
            outputs=[batch for part in parts for batch in part.outputs],
            targets=[batch for part in parts for batch in part.targets],
        )

    @property
    def figures(self) -> dict[str, float]:
        """``loss``, and ``accuracy`` where there are right answers."""
        accuracy = {"accuracy": self.right / self.answers} if self.answers else {}
        return {"loss": self.loss_sum / self.examples, **accuracy}

    @property
    def confusion(self) -> Tensor | None:
        """How often each class was taken for which: ``confusion[true, predicted]``."""
        if not self.outputs:
            return None
        outputs, targets = torch.cat(list(self.outputs)), torch.cat(list(self.targets))
        classes = outputs.shape[1]
        cells = targets * classes + outputs.argmax(1)
        return torch.bincount(cells, minlength=classes**2).view(classes, classes)
