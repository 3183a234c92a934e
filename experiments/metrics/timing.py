"""How long a call takes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

__all__ = ["seconds_each"]


def seconds_each(*calls: Callable[[], object], budget: float = 0.2, least: int = 3) -> list[float]:
    """The least time of each of some calls, which take turns: whatever disturbs a call only makes it longer.

    Args:
        *calls: What to time.
        budget: Seconds to spend on all of them together.
        least: Rounds to go, even if they take longer than that.
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
