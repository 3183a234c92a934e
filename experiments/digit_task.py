"""Recognition of handwritten digits, the task of most chapters."""

from __future__ import annotations

from typing import Any

import torch

from experiments.data.digits import Digits, load_digits, normalize
from experiments.training import Task

__all__ = ["digit_task", "find_digits"]


def find_digits(source: str | None) -> Digits:
    """Loads digits by `load_digits`, and prints why if it falls back to the sample."""
    digits, notice = load_digits(source)
    if notice:
        print(notice)
    return digits


def digit_task(digits: Digits, dtype: torch.dtype, examples: int | None = None, **options: Any) -> Task:
    """Returns the task of classifying digits.

    Args:
        digits: The images, which are normalized batch by batch.
        dtype: The dtype of the network.
        examples: Number of training digits to use; all by default.
        **options: Other fields of `Task`; the default loss is the cross entropy of logits.
    """
    return Task(
        train=(digits.train_images[:examples], digits.train_labels[:examples]),
        test=(digits.test_images, digits.test_labels),
        prepare=lambda images: normalize(images, dtype),
        **{"criterion": lambda nn: nn.CrossEntropyLoss(), **options},
    )
