"""What a measurement is made with, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from experiments.backend import Backend
from experiments.data.digits import Digits

__all__ = ["Bench", "Finding", "Measurement"]


@dataclass(frozen=True)
class Bench:
    """What measurements are made with.

    Attributes:
        backend: Whose activations, layers and gradients are measured.
        device: Where.
        seed: Of weights and of the order of the data.
        digits: What networks learn, where one has to.
        thorough: Whether to take more seeds, more steps and deeper networks.
    """

    backend: Backend
    device: str
    seed: int
    digits: Digits
    thorough: bool


@dataclass(frozen=True)
class Finding:
    """A claim of the tutorial beside what was measured.

    Attributes:
        claim: In the tutorial's words, more or less.
        verdict: In one or two words, as the measurement came out.
        measured: What was found, in a sentence or two, with its numbers.
        numbers: The same as plain numbers, by name.
        figure: What it looks like.
    """

    claim: str
    verdict: str
    measured: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    figure: Figure | None = None


Measurement = Callable[[Bench], Finding]
