"""How long a training is, and the order in which it goes through the examples."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from experiments.settings import Settings

__all__ = ["Length", "order_of_epoch"]


class Length(NamedTuple):
    """The length of a training.

    Attributes:
        in_epoch: Steps in an epoch.
        planned: Steps over which the schedule extends.
        steps: Steps that are taken: with both ``--epochs`` and ``--max-steps`` the first ones of those planned.
        between_evaluations: Steps from one evaluation to the next.
    """

    in_epoch: int
    planned: int
    steps: int
    between_evaluations: int

    @classmethod
    def of(cls, settings: Settings, examples: int) -> Length:
        """The length that the settings ask for."""
        in_epoch = math.ceil(examples / settings.batch_size)
        planned = settings.max_steps if settings.epochs is None else settings.epochs * in_epoch
        if planned is None:
            raise ValueError(
                "expected settings with epochs or max_steps, got neither; a chapter's preset sets one"
            )
        steps = planned if settings.max_steps is None else min(planned, settings.max_steps)
        return cls(in_epoch, planned, steps, settings.eval_every or in_epoch)


def order_of_epoch(seed: int, epoch: int, examples: int) -> Tensor:
    """The order in which an epoch goes through the examples, the same on every device and in every process.

    It depends on the seed and the epoch alone, so that a checkpoint need not hold the state of a generator.
    """
    generator = torch.Generator().manual_seed(seed)
    epoch_seed = torch.randint(2**63 - 1, (epoch + 1,), generator=generator)[epoch]
    return torch.randperm(examples, generator=generator.manual_seed(int(epoch_seed)))
