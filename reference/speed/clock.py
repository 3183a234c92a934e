"""Interleaved timing: each round runs every candidate once, so that disturbances affect all alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from reference.speed.workload import Pass

__all__ = ["PHASES", "Times", "interleave"]

PHASES = ("forward", "backward", "both")
WARM_UP, FEWEST_ROUNDS, MOST_ROUNDS = 3, 11, 101
SHORTEST = 1e-3  # seconds of one measurement; below this the clock's resolution matters

Key = TypeVar("Key")
Clock = Callable[[], float]


@dataclass
class Times:
    """Seconds of a pass in each round."""

    forward: list[float] = field(default_factory=list)
    backward: list[float] = field(default_factory=list)

    def of(self, phase: str) -> list[float]:
        """Returns the seconds of a phase: forward, backward, or both together."""
        if phase == "both":
            return [f + b for f, b in zip(self.forward, self.backward, strict=True)]
        return self.forward if phase == "forward" else self.backward


def interleave(
    passes: Mapping[Key, Pass], budget: float = 1.0, clock: Clock = time.perf_counter
) -> dict[Key, Times]:
    """Times the candidates in turn, forward and backward, for as many rounds as the budget of seconds allows.

    The order is reversed in every other round, so that no candidate always finds the same one's data in the cache. A
    round calls a short pass many times and keeps the mean.
    """
    calls = {key: _calls(run, clock) for key, run in passes.items()}
    order = list(passes)
    times = {key: Times() for key in order}
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        start, rounds = clock(), 0
        while rounds < FEWEST_ROUNDS or (rounds < MOST_ROUNDS and clock() - start < budget):
            for key in order if rounds % 2 == 0 else reversed(order):
                forward, backward = _measure(passes[key], calls[key], clock)
                times[key].forward.append(forward)
                times[key].backward.append(backward)
            rounds += 1
    finally:
        if collecting:
            gc.enable()
    return times


def _calls(run: Pass, clock: Clock) -> int:
    """Warms up and returns the number of calls that take about `SHORTEST` seconds."""
    shortest = min(sum(_measure(run, 1, clock)) for _ in range(WARM_UP))
    return max(1, round(SHORTEST / shortest)) if shortest > 0 else 1


def _measure(run: Pass, calls: int, clock: Clock) -> tuple[float, float]:
    forward = backward = 0.0
    for _ in range(calls):
        start = clock()
        run.forward()
        middle = clock()
        run.backward()
        end = clock()
        forward += middle - start
        backward += end - middle
    return forward / calls, backward / calls
