"""Measures how long calls take."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import nn

__all__ = ["nanoseconds", "seconds_each"]

ROWS, UNITS = 512, 512  # shape of the timed results


def seconds_each(*calls: Callable[[], object], budget: float = 0.2, least: int = 3) -> list[float]:
    """Returns the shortest time of each call; the calls alternate, and disturbances only make them longer.

    Args:
        *calls: The calls to time.
        budget: Seconds to spend on all of them together.
        least: Minimum number of rounds, even if they exceed the budget.
    """
    for call in calls:
        call()
    found = [math.inf] * len(calls)
    end, rounds = time.perf_counter() + budget, 0
    while rounds < least or time.perf_counter() < end:
        for place, call in enumerate(calls):
            started = time.perf_counter()
            call()
            found[place] = min(found[place], time.perf_counter() - started)
        rounds += 1
    return found


def nanoseconds(function: nn.Module, inputs: int = 1) -> tuple[float, float]:
    """Returns the time per result in a large batch, for forward alone and for forward and backward.

    Args:
        function: A module that computes each result from ``inputs`` neighboring numbers.
        inputs: Numbers per result.
    """
    batch = torch.randn(ROWS, UNITS * inputs, requires_grad=True)
    forward, both = seconds_each(
        lambda: function(batch.detach()), lambda: torch.autograd.grad(function(batch).sum(), batch)
    )
    return 1e9 * forward / (ROWS * UNITS), 1e9 * both / (ROWS * UNITS)
