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
    "mnist": Chapter(
        "a convolutional or fully connected network learns to read handwritten digits", "quick 1 min, full 15 min"
    ),
}
