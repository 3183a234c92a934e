"""The chapters in the tutorial's order, with their descriptions in ``python -m experiments``.

A chapter is a module of this package, imported on demand. It defines ``Config``, a frozen dataclass whose fields
are its flags, and ``main(config, run)``; `experiments.training` has an example.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CHAPTERS", "Chapter"]


class Chapter(NamedTuple):
    """Description of a chapter.

    Attributes:
        line: What it trains or measures.
        time: Duration of its presets on two cores.
    """

    line: str
    time: str


CHAPTERS: dict[str, Chapter] = {
    "history": Chapter(
        "a perceptron fails on XOR, a second layer does not; support vector machines on moons and digits",
        "quick 15 s, full 4 min",
    ),
    "activations": Chapter(
        "the same deep network with each activation: gradients by layer, flat units",
        "quick 20 s, full 4 min",
    ),
    "losses": Chapter("losses for classification and regression", "quick 15 s, full 2 min"),
    "backprop": Chapter(
        "back-propagation step by step with every delta, compared with autograd and differences",
        "quick 10 s, full 1 min",
    ),
    "sgd": Chapter(
        "batch size, learning rate, momentum, Nesterov, schedules and weight decay", "quick 25 s, full 10 min"
    ),
    "regularization": Chapter(
        "what narrows the gap between training and test accuracy on few digits", "quick 25 s, full 5 min"
    ),
    "mnist": Chapter(
        "a convolutional or fully connected network learns to recognize handwritten digits",
        "quick 1 min, full 17 min",
    ),
    "sequences": Chapter(
        "a plain recurrent network, an LSTM and a GRU on tasks that need a memory: adding, copying, digits, sums, text",
        "quick 40 s, full 3 to 9 min per task",
    ),
    "gan": Chapter(
        "a generative adversarial network: one network draws digits, the other distinguishes them from real ones",
        "quick 40 s, full 9 min",
    ),
    "attention": Chapter(
        "a small causal transformer beside an LSTM and a GRU of its size: recall over a distance, text, attention maps",
        "quick 1 min, full 7 min",
    ),
    "claims": Chapter("the tutorial's claims, each with a measurement", "quick 30 s, full 3 min"),
}
