"""The five tasks: their sequences, the network that each needs, and the metric that judges it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from experiments.data import sequences, source
from experiments.data.digits import Digits, normalize
from experiments.formatting import format_metric
from experiments.training import Task

__all__ = ["SequenceTask", "adding", "chunks", "copying", "rows", "sums", "text"]

TEST = 2000  # generated test sequences
TRAIN_SEED, TEST_SEED = 1, 2  # of the data; --seed is the seed of the training


@dataclass(frozen=True, kw_only=True)
class SequenceTask(Task):
    """A task on sequences.

    Attributes:
        network: Arguments of `SequenceModel`.
        metric: Metric of an evaluation that measures success.
        baseline: Value of the metric for an answer that ignores the input.
        baseline_is: Description of that answer.
        about: Description of the task, which completes "learns".
    """

    network: Mapping[str, Any]
    metric: str
    baseline: float
    baseline_is: str
    about: str

    @property
    def metric_name(self) -> str:
        return self.metric.replace("_", " ")

    @property
    def comparison(self) -> str:
        return f"{self.baseline_is}: {self.metric_name} {self.format(self.baseline)}"

    def format(self, value: float) -> str:
        return format_metric(self.metric, value)

    def verdict(self, value: float) -> str:
        """Rates a value of the metric between the baseline and the optimum."""
        optimum = 1.0 if self.metric == "accuracy" else 0.0
        progress = (value - self.baseline) / (optimum - self.baseline)
        return "learned it" if progress > 0.8 else "learned some of it" if progress > 0.1 else "learned nothing"


def adding(count: int, length: int, dtype: torch.dtype) -> SequenceTask:
    inputs, sums = sequences.adding(count, length, TRAIN_SEED)
    test = sequences.adding(TEST, length, TEST_SEED)
    return SequenceTask(
        (inputs, sums.to(dtype)),
        (test[0], test[1].to(dtype)),
        criterion=lambda nn: nn.MSELoss(),
        right=None,
        prepare=lambda numbers: numbers.to(dtype),
        network={"read": 2, "answer": 1, "span": length},
        metric="loss",
        baseline=(test[1] - test[1].mean()).square().mean().item(),
        baseline_is="the mean sum as every answer",
        about=f"to add the two marked ones of {length} numbers",
    )


def copying(count: int, length: int) -> SequenceTask:
    """Returns the copy problem with ``length`` silent times."""
    return SequenceTask(
        sequences.copying(count, length, TRAIN_SEED),
        sequences.copying(TEST, length, TEST_SEED),
        criterion=lambda nn: nn.CrossEntropyLoss(),
        network={
            "read": sequences.SIGNAL + 1,
            "answer": sequences.SYMBOLS,
            "last": sequences.COPIED,
            "characters": True,
            "span": length + sequences.COPIED,
        },
        metric="loss",
        baseline=math.log(sequences.SYMBOLS),
        baseline_is="no memory: one chance in eight for each symbol",
        about=f"to repeat {sequences.COPIED} symbols after {length} silent times",
    )


def rows(digits: Digits, dtype: torch.dtype) -> SequenceTask:
    """Returns the classification of digits that are read row by row."""
    return SequenceTask(
        (digits.train_images, digits.train_labels),
        (digits.test_images, digits.test_labels),
        criterion=lambda nn: nn.CrossEntropyLoss(),
        prepare=lambda images: normalize(images, dtype).squeeze(1),
        network={"read": 28, "answer": 10, "span": 28},
        metric="accuracy",
        baseline=digits.test_labels.bincount().max().item() / len(digits.test_labels),
        baseline_is="the most frequent digit as every answer",
        about=f"to classify digits that are read row by row, from the {digits}",
    )


def sums(count: int) -> SequenceTask:
    """Returns the addition of numbers that are written in characters."""
    read, written = sequences.sums(TEST + count, TRAIN_SEED)
    most = sum(column.bincount().max().item() for column in written[:TEST].T) / written[:TEST].numel()
    return SequenceTask(
        (read[TEST:], written[TEST:]),
        (read[:TEST], written[:TEST]),
        criterion=lambda nn: nn.CrossEntropyLoss(),
        network={"read": len(sequences.CHARACTERS), "answer": 10, "last": sequences.WRITTEN, "characters": True},
        metric="accuracy",
        baseline=most,
        baseline_is="the most frequent digit at each place",
        about=f"to add numbers of {sequences.DIGITS} digits, from {count} written examples",
    )


def text(length: int) -> SequenceTask:
    """Returns the prediction of the next character in the source of Python's standard library."""
    library = source.standard_library()
    shares = library.test.long().bincount(minlength=len(source.CHARACTERS)) / len(library.test)
    return SequenceTask(
        chunks(library.train, length),
        chunks(library.test, length, TEST),
        criterion=lambda nn: nn.CrossEntropyLoss(),
        prepare=lambda codes: codes.long(),
        network={
            "read": len(source.CHARACTERS),
            "answer": len(source.CHARACTERS),
            "last": None,
            "characters": True,
        },
        metric="bits_per_character",
        baseline=-(shares * shares.clamp(min=1e-12).log2()).sum().item(),
        baseline_is="the frequencies of characters",
        about=f"the language of {library}",
    )


def chunks(codes: Tensor, length: int, most: int | None = None) -> tuple[Tensor, Tensor]:
    """Splits a text into chunks, at most ``most`` of them; also returns the next character at each position."""
    found = codes.unfold(0, length + 1, length)
    if most is not None:
        found = found[:: max(1, len(found) // most)][:most]
    return found[:, :-1], found[:, 1:].long()
