"""The learning rate after a share of the training, relative to its highest."""

from __future__ import annotations

import math

__all__ = ["SCHEDULES", "constant", "cosine", "step"]


def constant(progress: float) -> float:
    """The same all along."""
    return 1.0


def cosine(progress: float) -> float:
    """A rise for a tenth of the training, then half a cosine.

    >>> [round(cosine(p), 2) for p in (0.05, 0.1, 0.55, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    """
    rise = 0.1
    if progress < rise:
        return progress / rise
    return 0.5 * (1 + math.cos(math.pi * (progress - rise) / (1 - rise)))


def step(progress: float) -> float:
    """A tenth after half of the training, a hundredth after three quarters.

    >>> [step(p) for p in (0.4, 0.5, 0.8)]
    [1.0, 0.1, 0.01]
    """
    return 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01


SCHEDULES = {"constant": constant, "cosine": cosine, "step": step}
