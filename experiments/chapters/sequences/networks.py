"""Sequence models, a recurrent layer followed by a linear one, and how they write text and sums."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from experiments.backend import Backend
from experiments.data import sequences

__all__ = ["CELLS", "Cell", "SequenceModel", "calculate", "write"]

Cell = Literal["rnn", "lstm", "gru"]
CELLS: tuple[Cell, ...] = ("rnn", "lstm", "gru")


class SequenceModel(nn.Module):
    """Reads a sequence from first to last element, and answers at the last one or the last few.

    Recurrent weights are initialized orthogonal, so that states initially neither grow nor shrink over time. The
    biases of the gates that preserve a state are initialized open, depending on how long it must be preserved.

    Args:
        backend: Backend of the layers.
        cell: ``"rnn"``, ``"lstm"`` or ``"gru"``.
        read: Features of an element, or number of distinct characters.
        hidden: Units of the recurrent layer.
        answer: Features of an answer: numbers or class scores.
        last: Number of elements, counted from the end, at which it answers; all if ``None``.
        characters: Whether elements are character codes, which an embedding maps to vectors.
        span: Number of elements over which information may have to be preserved.

    Shapes: inputs (B, T, read), or (B, T) for characters; answers (B, answer) if ``last`` is 1, and otherwise
    (B, answer, last), the layout that losses expect.
    """

    def __init__(
        self,
        backend: Backend,
        cell: Cell | Literal["transformer"],
        *,
        read: int,
        hidden: int,
        answer: int,
        last: int | None = 1,
        characters: bool = False,
        span: int = 1,
    ) -> None:
        super().__init__()
        layers = backend.nn
        self.last = last
        self.embedding = layers.Embedding(read, hidden // 2) if characters else layers.Identity()
        self.recurrent = self.make_layer(layers, cell, hidden // 2 if characters else read, hidden)
        self.head = layers.Linear(hidden, answer)
        if cell != "transformer":
            initialize(self.recurrent, span)

    def make_layer(self, layers: Any, cell: Any, features: int, hidden: int) -> nn.Module:
        """Makes the layer that maps elements (B, T, features) and a state to states (B, T, hidden) and a new state."""
        kind = {"rnn": layers.RNN, "lstm": layers.LSTM, "gru": layers.GRU}[cell]
        return kind(features, hidden, batch_first=True)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.answer(self.recurrent(self.embedding(inputs))[0])

    def answer(self, states: Tensor) -> Tensor:
        """Maps the states of all times to answers."""
        if self.last == 1:
            return self.head(states[:, -1])
        return self.head(states if self.last is None else states[:, -self.last :]).transpose(1, 2)

    def read_on(self, elements: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Continues from a state; returns the answers at each element and the new state."""
        states, state = self.recurrent(self.embedding(elements), state)
        return self.head(states), state


@torch.no_grad()
def initialize(recurrent: Any, span: int) -> None:
    """Initializes a recurrent layer.

    A gate that preserves the share s of a state per step forgets it after about 1 / (1 - s) steps. The biases of
    these gates are drawn so that the units preserve states for 1 to ``span`` steps.

    Source: C. Tallec, Y. Ollivier, "Can recurrent neural networks warp time?", ICLR 2018.
    """
    hidden = recurrent.hidden_size
    memory = torch.rand(hidden) * max(span - 2, 0) + 1
    keep = memory.log() if span > 2 else torch.ones(hidden)
    for block in recurrent.weight_hh_l0.split(hidden):
        nn.init.orthogonal_(block)
    nn.init.uniform_(recurrent.weight_ih_l0, -1, 1).mul_(math.sqrt(3 / (recurrent.input_size + hidden)))
    recurrent.bias_ih_l0.zero_()
    recurrent.bias_hh_l0.zero_()
    bias = recurrent.bias_ih_l0
    if recurrent.mode == "LSTM":
        bias[hidden : 2 * hidden] = keep
        bias[:hidden] = -keep if span > 2 else 0
    elif recurrent.mode == "GRU":
        bias[hidden : 2 * hidden] = keep


@torch.no_grad()
def write(model: SequenceModel, opening: Tensor, count: int, temperature: float, seed: int) -> Tensor:
    """Reads an opening and continues it, sampling each character from the predicted distribution.

    Args:
        model: The network.
        opening: Codes of the opening, (T,).
        count: Number of characters to write.
        temperature: 1 samples from the predicted distribution; lower values favor likely characters, and near 0
            the most likely one is always chosen.
        seed: Seed of the generator.

    Returns:
        Codes of the written characters, (count,).
    """
    generator = torch.Generator().manual_seed(seed)
    answers, state = model.read_on(opening[None])
    written = []
    for _ in range(count):
        probabilities = (answers[0, -1].double().cpu() / temperature).softmax(0)
        drawn = torch.multinomial(probabilities, 1, generator=generator).to(opening.device)
        written.append(drawn)
        answers, state = model.read_on(drawn[None], state)
    return torch.cat(written)


@torch.no_grad()
def calculate(model: SequenceModel, read: Tensor) -> list[str]:
    """Reads each sum up to its equals sign, and writes the answer digit by digit, reading its own digits.

    Args:
        model: The network.
        read: Sums of `experiments.data.sequences.sums`, (B, T).

    Returns:
        A line for each, such as ``"136+044=180"``, with the right answer if the line is wrong.
    """
    until = read.shape[1] - sequences.WRITTEN + 1
    answers, state = model.read_on(read[:, :until])
    digits = [answers[:, -1].argmax(1)]
    while len(digits) < sequences.WRITTEN:
        answers, state = model.read_on(digits[-1][:, None], state)
        digits.append(answers[:, -1].argmax(1))
    lines = []
    for question, answer in zip(read[:, :until], torch.stack(digits, 1).flip(1), strict=True):
        question_text = sequences.decode(question)
        found = int(sequences.decode(answer))
        right = sum(map(int, question_text.rstrip("=").split("+")))
        lines.append(f"{question_text}{found}" + ("" if found == right else f"  (wrong: {right})"))
    return lines
