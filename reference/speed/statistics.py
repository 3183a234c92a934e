"""Percentiles, paired ratios and geometric means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = ["Spread", "differences", "geometric_mean", "percentile", "ratios", "spread"]


class Spread(NamedTuple):
    """The 20th, 50th and 80th percentile of a measurement."""

    low: float
    middle: float
    high: float


def percentile(values: Sequence[float], percent: float) -> float:
    """Returns a percentile, interpolated linearly between neighbors.

    Example:
        >>> percentile([1.0, 2.0, 4.0], 50), percentile([1.0, 3.0], 20)
        (2.0, 1.4)
    """
    if not values:
        raise ValueError("percentile: expected at least one value, got none")
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def spread(values: Sequence[float]) -> Spread:
    return Spread(*(percentile(values, percent) for percent in (20, 50, 80)))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Returns the spread of the ratios within each pair; a disturbance of both sides cancels.

    Example:
        >>> ratios([1.0, 10.0, 3.0], [2.0, 20.0, 3.0])
        Spread(low=0.5, middle=0.5, high=0.8)
    """
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def differences(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Returns the spread of the differences within each pair."""
    return spread([a - b for a, b in zip(ours, theirs, strict=True)])


def geometric_mean(values: Iterable[float]) -> float:
    """Returns the geometric mean, in which ratios of 2 and 1/2 cancel.

    Example:
        >>> geometric_mean([0.5, 2.0])
        1.0
    """
    logarithms = [math.log(value) for value in values]
    if not logarithms:
        raise ValueError("geometric_mean: expected at least one value, got none")
    return math.exp(sum(logarithms) / len(logarithms))
