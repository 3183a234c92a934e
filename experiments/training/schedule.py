"""The length of a training, and schedules of its learning rate relative to the highest one."""

from __future__ import annotations

import math
from typing import NamedTuple

from experiments.settings import Settings

__all__ = ["SCHEDULES", "Length", "constant", "cosine", "step"]


class Length(NamedTuple):
    """The length of a training in steps.

    Attributes:
        in_epoch: Steps in an epoch.
        planned: Steps that the schedule of the learning rate spans.
        steps: Steps to train: fewer than planned if ``--max-steps`` ends ``--epochs`` early.
        between_evaluations: Steps from one evaluation to the next.
    """

    in_epoch: int
    planned: int
    steps: int
    between_evaluations: int

    @classmethod
    def of(cls, settings: Settings, examples: int) -> Length:
        in_epoch = math.ceil(examples / settings.batch_size)
        planned = settings.max_steps if settings.epochs is None else settings.epochs * in_epoch
        if planned is None:
            raise ValueError(
                "expected settings with epochs or max_steps, got neither; set one in the chapter's preset"
            )
        steps = planned if settings.max_steps is None else min(planned, settings.max_steps)
        return cls(in_epoch, planned, steps, settings.eval_every or in_epoch)


def constant(progress: float) -> float:
    return 1.0


def cosine(progress: float) -> float:
    """Rises linearly for a tenth of the training, then falls along half a cosine.

    >>> [round(cosine(p), 2) for p in (0.05, 0.1, 0.55, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    """
    rise = 0.1
    if progress < rise:
        return progress / rise
    return 0.5 * (1 + math.cos(math.pi * (progress - rise) / (1 - rise)))


def step(progress: float) -> float:
    """Falls to a tenth after half of the training, and to a hundredth after three quarters.

    >>> [step(p) for p in (0.4, 0.5, 0.8)]
    [1.0, 0.1, 0.01]
    """
    return 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01


SCHEDULES = {"constant": constant, "cosine": cosine, "step": step}
