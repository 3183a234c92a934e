"""What is to be learned: examples, the loss they are learned by, and what counts as a right answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

__all__ = ["Task", "is_right"]


def is_right(outputs: Tensor, targets: Tensor) -> Tensor:
    """Whether the likeliest class, along dimension 1, is the target: for each example, or each of its positions."""
    return outputs.argmax(1) == targets


@dataclass(frozen=True)
class Task:
    """What is to be learned: pairs of inputs and targets, of any shapes and dtypes, as they are stored.

    Attributes:
        train: Inputs and targets to learn from; the first dimension counts the examples.
        test: Inputs and targets to be judged by.
        criterion: Makes the loss, a mean over a batch, of a backend's namespace of layers.
        right: From outputs and targets, a truth value for each answer, whose mean is the accuracy; ``None`` where
            there are no right answers, as in a regression.
        prepare: Makes network input of a batch of stored inputs; may write to the batch.
        augment: Changes prepared training inputs at random, drawing from torch's generators.
        classes: Names of the classes; by default their numbers.
        picture: Makes pictures, of shape (B, H, W) with values in [0, 1], of stored inputs; ``None`` where they are
            no images.
    """

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    criterion: Callable[[Any], Callable[[Tensor, Tensor], Tensor]] = lambda nn: nn.NLLLoss()
    right: Callable[[Tensor, Tensor], Tensor] | None = is_right
    prepare: Callable[[Tensor], Tensor] = lambda inputs: inputs
    augment: Callable[[Tensor], Tensor] = lambda inputs: inputs
    classes: tuple[str, ...] | None = None
    picture: Callable[[Tensor], Tensor] | None = None

    def to(self, device: str | torch.device) -> Task:
        """The same with its examples on a device."""
        (inputs, targets), (test_inputs, test_targets) = self.train, self.test
        train = inputs.to(device), targets.to(device)
        return replace(self, train=train, test=(test_inputs.to(device), test_targets.to(device)))
