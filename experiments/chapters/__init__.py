"""The chapters, in the tutorial's order, each with the line that ``python -m experiments`` lists it under.

A chapter is a module of this package, imported only when it is asked for. It defines ``Config``, a frozen
dataclass whose fields are its flags, and ``main(config, run)``; `experiments.training` shows one.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CHAPTERS", "Chapter"]


class Chapter(NamedTuple):
    """A line on a chapter.

    Attributes:
        line: What happens in it.
        time: How long its presets take on two cores.
    """

    line: str
    time: str


CHAPTERS: dict[str, Chapter] = {
    "history": Chapter(
        "a perceptron fails on XOR, a second layer does not; support vector machines on moons and digits",
        "quick 15 s, full 4 min",
    ),
    "activations": Chapter(
        "the same deep network with each activation: how far gradients reach, which units go flat",
        "quick 20 s, full 4 min",
    ),
    "losses": Chapter("which loss suits which task, for classes and for numbers", "quick 15 s, full 2 min"),
    "backprop": Chapter(
        "a small network step by step, every delta shown, against autograd and differences",
        "quick 10 s, full 1 min",
    ),
    "sgd": Chapter(
        "batch size, learning rate, momentum, Nesterov, schedules and weight decay", "quick 25 s, full 10 min"
    ),
    "regularization": Chapter(
        "what closes the gap between training and test on few digits", "quick 25 s, full 5 min"
    ),
    "mnist": Chapter(
        "a convolutional or fully connected network learns to read handwritten digits", "quick 1 min, full 17 min"
    ),
    "sequences": Chapter(
        "a plain recurrent network, an LSTM and a GRU learn what takes a memory: puzzles, digits, sums, text",
        "quick 40 s, full 3 to 9 min, a task",
    ),
    "gan": Chapter(
        "two networks against each other: one draws digits, the other tells them from real ones",
        "quick 40 s, full 9 min",
    ),
    "claims": Chapter("what the tutorial claims, each claim beside a measurement", "quick 30 s, full 3 min"),
}
