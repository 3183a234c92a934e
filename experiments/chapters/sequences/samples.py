"""What a network writes of its own accord: text in the language that it has learned, and the answers to sums."""

from __future__ import annotations

import torch
from torch import Tensor

from experiments.chapters.sequences.networks import Reader
from experiments.data import arithmetic

__all__ = ["calculate", "write"]


@torch.no_grad()
def write(reader: Reader, opening: Tensor, count: int, temperature: float, seed: int) -> Tensor:
    """Reads some characters, and goes on with characters of its own, each drawn from what it expects next.

    Args:
        reader: The network.
        opening: Codes of the characters to begin with, (T,).
        count: Characters to write.
        temperature: 1 draws each character as often as the network expects it; below 1 what is likely comes more
            often still, and near 0 always what is likeliest.
        seed: Of the draws.

    Returns:
        The codes of what was written, (count,).
    """
    generator = torch.Generator().manual_seed(seed)
    answers, state = reader.read_on(opening[None])
    written = []
    for _ in range(count):
        chances = (answers[0, -1].double().cpu() / temperature).softmax(0)
        drawn = torch.multinomial(chances, 1, generator=generator).to(opening.device)
        written.append(drawn)
        answers, state = reader.read_on(drawn[None], state)
    return torch.cat(written)


@torch.no_grad()
def calculate(reader: Reader, read: Tensor) -> list[str]:
    """Reads each sum up to its equals sign, and writes the answer digit by digit, reading its own.

    Args:
        reader: The network.
        read: Sums as `experiments.data.arithmetic.sums` gives them, (B, T).

    Returns:
        A line for each: ``"136+044=180"``, and what would have been right where that is something else.
    """
    until = read.shape[1] - arithmetic.WRITTEN + 1
    answers, state = reader.read_on(read[:, :until])
    digits = [answers[:, -1].argmax(1)]
    while len(digits) < arithmetic.WRITTEN:
        answers, state = reader.read_on(digits[-1][:, None], state)
        digits.append(answers[:, -1].argmax(1))
    lines = []
    for question, answer in zip(read[:, :until], torch.stack(digits, 1).flip(1), strict=True):
        asked = arithmetic.decode(question)
        found = int(arithmetic.decode(answer))
        right = sum(map(int, asked.rstrip("=").split("+")))
        lines.append(f"{asked}{found}" + ("" if found == right else f"  (wrong: {right})"))
    return lines
