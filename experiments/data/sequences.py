"""Two puzzles that only a network with a long memory solves, made by the thousand from a seed.

The adding problem: a sequence of numbers from 0 to 1, of which two are marked, one in either half; what is their
sum? The copy problem: ten symbols, then a long silence, then a signal; what were they?

Shapes: N sequences, T times.

Sources: S. Hochreiter, J. Schmidhuber, "Long short-term memory", 1997; M. Arjovsky, A. Shah, Y. Bengio, "Unitary
evolution recurrent neural networks", 2016, whose variants these are.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["COPIED", "SIGNAL", "SILENCE", "SYMBOLS", "adding", "copying"]

SYMBOLS, COPIED = 8, 10  # different symbols, and how many of them are to be kept in mind
SILENCE, SIGNAL = SYMBOLS, SYMBOLS + 1


def adding(count: int, length: int, seed: int) -> tuple[Tensor, Tensor]:
    """Sequences of the adding problem, and their answers.

    Who always answers 1, the mean, has a mean squared error of 1/6: the variance of a sum of two numbers that
    are uniform from 0 to 1.

    Args:
        count: Sequences, N.
        length: Times, T.
        seed: The same one gives the same sequences.

    Returns:
        Numbers beside marks, float32 of shape (N, T, 2), and sums, of shape (N, 1).

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
    """Sequences of the copy problem, and their answers.

    Without a memory nothing is better than to give each symbol one chance in eight, a cross entropy of log 8.

    Args:
        count: Sequences, N.
        delay: Silent times between the last symbol and the first that is asked for, the last of which is the
            signal.
        seed: The same one gives the same sequences.

    Returns:
        Symbols, int64 of shape (N, T) with T = 10 + delay + 10, and what is to be answered at the last ten
        times, int64 of shape (N, 10).

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
