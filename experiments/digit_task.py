"""Reading handwritten digits, the task that most chapters share."""

from __future__ import annotations

from typing import Any

import torch

from experiments.data.digits import Digits, load_digits, normalize
from experiments.training import Task

__all__ = ["find_digits", "reading_task"]


def find_digits(source: str | None) -> Digits:
    """The digits of `load_digits`; says so where they are not the full set and nobody chose that."""
    digits, notice = load_digits(source)
    if notice:
        print(notice)
    return digits


def reading_task(digits: Digits, dtype: torch.dtype, examples: int | None = None, **options: Any) -> Task:
    """Telling which digit an image shows.

    Args:
        digits: The images, which are normalised batch by batch.
        dtype: In which the network computes.
        examples: How many of the training digits to learn from; by default all.
        **options: Of the `Task`; by default the loss is the cross entropy of scores.
    """
    return Task(
        train=(digits.train_images[:examples], digits.train_labels[:examples]),
        test=(digits.test_images, digits.test_labels),
        prepare=lambda images: normalize(images, dtype),
        **{"criterion": lambda nn: nn.CrossEntropyLoss(), **options},
    )
