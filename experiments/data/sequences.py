"""Synthetic sequence problems that need a memory: adding, copying, and sums written in characters.

Shapes: N sequences, T times.

Sources: S. Hochreiter, J. Schmidhuber, "Long short-term memory", 1997; M. Arjovsky, A. Shah, Y. Bengio, "Unitary
evolution recurrent neural networks", 2016, for these variants of adding and copying.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "CHARACTERS",
    "COPIED",
    "DIGITS",
    "SIGNAL",
    "SILENCE",
    "SYMBOLS",
    "WRITTEN",
    "adding",
    "copying",
    "decode",
    "sums",
]

SYMBOLS, COPIED = 8, 10  # distinct symbols; symbols to copy
SILENCE, SIGNAL = SYMBOLS, SYMBOLS + 1
CHARACTERS = "0123456789+="
DIGITS = 3  # of each summand
WRITTEN = DIGITS + 1  # of the sum


def adding(count: int, length: int, seed: int) -> tuple[Tensor, Tensor]:
    """Generates the adding problem: sum the two marked numbers of a sequence, one in each half.

    The constant answer 1 has a mean squared error of 1/6, the variance of the sum of two numbers that are uniform
    in [0, 1].

    Args:
        count: Number of sequences, N.
        length: Sequence length, T.
        seed: Seed of the generator.

    Returns:
        Numbers and their marks, float32 of shape (N, T, 2), and sums of shape (N, 1).

    >>> inputs, sums = adding(1, length=4, seed=0)
    >>> inputs[0, :, 1], bool(sums[0, 0] == (inputs[0, :, 0] * inputs[0, :, 1]).sum())
    (tensor([0., 1., 0., 1.]), True)
    """
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.rand(count, length, generator=generator)
    first = torch.randint(length // 2, (count, 1), generator=generator)
    second = torch.randint(length // 2, length, (count, 1), generator=generator)
    marks = torch.zeros(count, length).scatter_(1, first, 1).scatter_(1, second, 1)
    return torch.stack((numbers, marks), 2), (numbers * marks).sum(1, keepdim=True)


def copying(count: int, delay: int, seed: int) -> tuple[Tensor, Tensor]:
    """Generates the copy problem: repeat ten symbols after a delay.

    Without a memory the best answer is a probability of 1/8 for each symbol, whose cross entropy is log 8.

    Args:
        count: Number of sequences, N.
        delay: Times between the last symbol and the first answer: silence, and the signal to answer at the last.
        seed: Seed of the generator.

    Returns:
        Symbols, int64 of shape (N, T) with T = 10 + delay + 10, and the answers at the last ten times, int64 of
        shape (N, 10).

    >>> inputs, symbols = copying(1, delay=3, seed=0)
    >>> inputs[0].tolist()[10:], bool((inputs[:, :10] == symbols).all())
    ([8, 8, 9, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8], True)
    """
    generator = torch.Generator().manual_seed(seed)
    symbols = torch.randint(SYMBOLS, (count, COPIED), generator=generator)
    inputs = torch.full((count, COPIED + delay + COPIED), SILENCE)
    inputs[:, :COPIED] = symbols
    inputs[:, -COPIED - 1] = SIGNAL
    return inputs, symbols


def sums(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Generates distinct sums of two zero-padded numbers of three digits, as characters.

    The answer begins with its last digit, so that each digit depends only on the carry of the previous one. The
    input contains the correct previous digits of the answer (teacher forcing). An answer is all correct with them
    exactly if it is all correct when the network reads its own digits.

    Args:
        count: Number of sums, N.
        seed: Seed of the generator; a larger count begins with the same sums.

    Returns:
        Input characters, int64 of shape (N, 11), and the four digits to write at the last four times, int64 of
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
    """Converts the codes of `sums` to text."""
    return "".join(CHARACTERS[code] for code in codes.tolist())


def _digits(numbers: Tensor, width: int) -> Tensor:
    """Returns the decimal digits of each number, most significant first."""
    powers = 10 ** torch.arange(width - 1, -1, -1)
    return numbers[:, None] // powers % 10
