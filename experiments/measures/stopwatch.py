"""How long a call takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

__all__ = ["seconds_each"]


def seconds_each(*calls: Callable[[], object], budget: float = 0.2, least: int = 3) -> list[float]:
    """The median time of each of some calls, which take turns, so that what disturbs one disturbs all.

    Args:
        *calls: What to time.
        budget: Seconds to spend on all of them together.
        least: Rounds to go, even if they take longer than that.
    """
    for call in calls:
        call()
    found: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + budget
    while len(found[0]) < least or time.perf_counter() < end:
        for call, times in zip(calls, found, strict=True):
            started = time.perf_counter()
            call()
            times.append(time.perf_counter() - started)
    return [statistics.median(times) for times in found]
