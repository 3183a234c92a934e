"""The five things to be learned: their sequences, the shape of network that they want, and what they are judged by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from experiments.data import arithmetic, source
from experiments.data import sequences as memory
from experiments.data.digits import Digits, normalize
from experiments.formatting import shown
from experiments.training import Task

__all__ = ["Puzzle", "adding", "copying", "rows", "sums", "text"]

TEST = 2000  # sequences that are made to be judged by
TRAIN_SEED, TEST_SEED = 1, 2  # of what is made; --seed is of how it is learned


@dataclass(frozen=True)
class Puzzle:
    """Something to be learned from sequences.

    Attributes:
        task: Its examples.
        network: Arguments of `Reader`: what it reads, and what it answers.
        figure: The figure that tells how well it was learned, a name among those of an evaluation.
        baseline: The value of that figure for an answer that is the same whatever was read.
        baseline_is: What that answer is.
        about: What is learned, in a line.
    """

    task: Task
    network: Mapping[str, Any]
    figure: str
    baseline: float
    baseline_is: str
    about: str

    @property
    def figure_name(self) -> str:
        """The figure in words."""
        return self.figure.replace("_", " ")

    @property
    def comparison(self) -> str:
        """What is known without having learned."""
        return f"{self.baseline_is}: {self.figure_name} {self.shown(self.baseline)}"

    def shown(self, value: float) -> str:
        """A value of the figure as it is printed."""
        return shown(self.figure, value)

    def verdict(self, value: float) -> str:
        """How much was learned, by how far a value of the figure is on its way from the baseline to perfection."""
        perfect = 1.0 if self.figure == "accuracy" else 0.0
        way = (value - self.baseline) / (perfect - self.baseline)
        return "learned it" if way > 0.8 else "learned some of it" if way > 0.1 else "learned nothing"


def adding(count: int, length: int, dtype: torch.dtype) -> Puzzle:
    """The adding problem: `experiments.data.sequences`."""
    inputs, sums = memory.adding(count, length, TRAIN_SEED)
    test = memory.adding(TEST, length, TEST_SEED)
    return Puzzle(
        Task(
            (inputs, sums.to(dtype)),
            (test[0], test[1].to(dtype)),
            criterion=lambda nn: nn.MSELoss(),
            right=None,
            prepare=lambda numbers: numbers.to(dtype),
        ),
        {"read": 2, "answer": 1, "span": length},
        figure="loss",
        baseline=(test[1] - test[1].mean()).square().mean().item(),
        baseline_is="the mean sum as every answer",
        about=f"to add the two marked ones of {length} numbers",
    )


def copying(count: int, length: int) -> Puzzle:
    """The copy problem, with so many silent times: `experiments.data.sequences`."""
    return Puzzle(
        Task(
            memory.copying(count, length, TRAIN_SEED),
            memory.copying(TEST, length, TEST_SEED),
            criterion=lambda nn: nn.CrossEntropyLoss(),
        ),
        {
            "read": memory.SIGNAL + 1,
            "answer": memory.SYMBOLS,
            "last": memory.COPIED,
            "characters": True,
            "span": length + memory.COPIED,
        },
        figure="loss",
        baseline=math.log(memory.SYMBOLS),
        baseline_is="no memory: one chance in eight for each symbol",
        about=f"to repeat {memory.COPIED} symbols after {length} silent times",
    )


def rows(digits: Digits, dtype: torch.dtype) -> Puzzle:
    """Handwritten digits, read row by row."""
    return Puzzle(
        Task(
            (digits.train_images, digits.train_labels),
            (digits.test_images, digits.test_labels),
            criterion=lambda nn: nn.CrossEntropyLoss(),
            prepare=lambda images: normalize(images, dtype).squeeze(1),
        ),
        {"read": 28, "answer": 10, "span": 28},
        figure="accuracy",
        baseline=digits.test_labels.bincount().max().item() / len(digits.test_labels),
        baseline_is="the most frequent digit as every answer",
        about=f"to tell digits that are read row by row, from the {digits}",
    )


def sums(count: int) -> Puzzle:
    """Sums as characters: `experiments.data.arithmetic`."""
    read, written = arithmetic.sums(TEST + count, TRAIN_SEED)
    most = sum(column.bincount().max().item() for column in written[:TEST].T) / written[:TEST].numel()
    return Puzzle(
        Task(
            (read[TEST:], written[TEST:]),
            (read[:TEST], written[:TEST]),
            criterion=lambda nn: nn.CrossEntropyLoss(),
        ),
        {"read": len(arithmetic.CHARACTERS), "answer": 10, "last": arithmetic.WRITTEN, "characters": True},
        figure="accuracy",
        baseline=most,
        baseline_is="the most frequent digit at each place",
        about=f"to add numbers of {arithmetic.DIGITS} digits, from {count} written examples",
    )


def text(length: int) -> Puzzle:
    """The next character of Python's own source, at every place of a stretch: `experiments.data.source`."""
    library = source.standard_library()
    shares = library.test.long().bincount(minlength=len(source.CHARACTERS)) / len(library.test)
    return Puzzle(
        Task(
            stretches(library.train, length),
            stretches(library.test, length, TEST),
            criterion=lambda nn: nn.CrossEntropyLoss(),
            prepare=lambda codes: codes.long(),
        ),
        {"read": len(source.CHARACTERS), "answer": len(source.CHARACTERS), "last": None, "characters": True},
        figure="bits_per_character",
        baseline=-(shares * shares.clamp(min=1e-12).log2()).sum().item(),
        baseline_is="the frequencies of characters",
        about=f"the language of {library}",
    )


def stretches(codes: Tensor, length: int, most: int | None = None) -> tuple[Tensor, Tensor]:
    """A text cut into pieces, or so many of them at most, beside the characters that come next at each place."""
    pieces = codes.unfold(0, length + 1, length)
    if most is not None:
        pieces = pieces[:: max(1, len(pieces) // most)][:most]
    return pieces[:, :-1], pieces[:, 1:].long()
