"""Sums, written in characters: what a network reads of ``437+85=522``, and what it has to write."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["CHARACTERS", "DIGITS", "WRITTEN", "decode", "sums"]

CHARACTERS = "0123456789+="
DIGITS = 3  # of each summand
WRITTEN = DIGITS + 1  # of the answer


def sums(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Different sums of two numbers of three digits, each once; leading zeros are written.

    The answer is written from its last digit on, as one does on paper, so that a digit needs the carry of the one
    before and not of all that follow. While it is being written the network reads what should have been written
    so far. (Its whole answer is right in this test exactly if it is when it reads its own digits.)

    Args:
        count: Sums, N.
        seed: The same one gives the same sums in the same order.

    Returns:
        What is read, int64 of shape (N, 11), and the four digits to be written at the last four times, int64 of
        shape (N, 4).

    >>> read, written = sums(1, seed=0)
    >>> decode(read[0]), decode(written[0])
    ('136+044=081', '0810')
    """
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.randperm(10 ** (2 * DIGITS), generator=generator)[:count]
    first, second = pairs // 10**DIGITS, pairs % 10**DIGITS
    answer = _digits(first + second, WRITTEN).flip(1)
    plus, equals = (torch.full((count, 1), CHARACTERS.index(sign)) for sign in "+=")
    read = (_digits(first, DIGITS), plus, _digits(second, DIGITS), equals, answer[:, :-1])
    return torch.cat(read, 1), answer


def decode(codes: Tensor) -> str:
    """The characters that the numbers stand for."""
    return "".join(CHARACTERS[code] for code in codes.tolist())


def _digits(numbers: Tensor, width: int) -> Tensor:
    """The decimal digits of each number, the first one first."""
    powers = 10 ** torch.arange(width - 1, -1, -1)
    return numbers[:, None] // powers % 10
