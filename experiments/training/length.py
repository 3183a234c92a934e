"""How long a training is."""

from __future__ import annotations

import math
from typing import NamedTuple

from experiments.settings import Settings

__all__ = ["Length"]


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
