"""The inputs and the result of a measurement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from experiments.backend import Backend
from experiments.data.digits import Digits

__all__ = ["Bench", "Finding", "Measurement"]


@dataclass(frozen=True)
class Bench:
    """The inputs of all measurements.

    Attributes:
        backend: Backend of activations, layers and gradients.
        device: Device to measure on.
        seed: Seed of weights and data order.
        digits: Digits to train networks on.
        thorough: Whether to use more seeds, more steps and deeper networks.
    """

    backend: Backend
    device: str
    seed: int
    digits: Digits
    thorough: bool


@dataclass(frozen=True)
class Finding:
    """A claim of the tutorial, and its measurement.

    Attributes:
        claim: The claim, close to the tutorial's words.
        verdict: The verdict in a few words.
        measured: The measurement in a sentence or two, with its numbers.
        numbers: The same numbers by name.
        figure: A plot of the measurement.
    """

    claim: str
    verdict: str
    measured: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    figure: Figure | None = None


Measurement = Callable[[Bench], Finding]
