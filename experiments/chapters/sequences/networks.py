"""The networks that read sequences: a recurrent layer, of one of three kinds, and a linear one that answers."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from experiments.backend import Backend

__all__ = ["CELLS", "Cell", "Reader"]

Cell = Literal["rnn", "lstm", "gru"]
CELLS: tuple[Cell, ...] = ("rnn", "lstm", "gru")


class Reader(nn.Module):
    """Reads a sequence from its first element to its last, and answers at the last of them, or the last few.

    Its recurrent weights start orthogonal, so that at first no state grows or shrinks by being carried on, and the
    gates that can keep a state start open for that. How far open depends on how long it will have to be kept.

    Args:
        backend: Whose layers to build it from.
        cell: ``"rnn"``, ``"lstm"`` or ``"gru"``.
        read: Features of an element, or, of a text, different characters.
        hidden: Units of the recurrent layer.
        answer: Features of an answer: numbers, or scores of classes.
        last: Elements at which it answers, counted from the end; all where it is ``None``.
        characters: Whether elements are the numbers of characters, each of which gets a vector to be learned.
        span: Elements over which something may have to be kept in mind.

    Shapes: inputs (B, T, read), or (B, T) for characters; answers (B, answer) where ``last`` is 1, and otherwise
    (B, answer, last), which is how losses want classes.
    """

    def __init__(
        self,
        backend: Backend,
        cell: Cell,
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
        kind = {"rnn": layers.RNN, "lstm": layers.LSTM, "gru": layers.GRU}[cell]
        self.recurrent = kind(hidden // 2 if characters else read, hidden, batch_first=True)
        self.head = layers.Linear(hidden, answer)
        begin(self.recurrent, span)

    def forward(self, inputs: Tensor) -> Tensor:
        """The answers."""
        return self.answer(self.recurrent(self.embedding(inputs))[0])

    def answer(self, states: Tensor) -> Tensor:
        """What the network answers in the states of all times."""
        if self.last == 1:
            return self.head(states[:, -1])
        return self.head(states if self.last is None else states[:, -self.last :]).transpose(1, 2)

    def read_on(self, elements: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Answers at each of some elements, and the state that they leave behind, from which to read on."""
        states, state = self.recurrent(self.embedding(elements), state)
        return self.head(states), state


@torch.no_grad()
def begin(recurrent: Any, span: int) -> None:
    """Gives a recurrent layer weights to start from.

    A gate that keeps the share s of a state at each step has forgotten it after about 1 / (1 - s) steps. The
    biases of these gates are drawn so that the units of a layer are patient for 1 to ``span`` steps.

    Source: C. Tallec, Y. Ollivier, "Can recurrent neural networks warp time?", ICLR 2018.
    """
    hidden = recurrent.hidden_size
    patience = torch.rand(hidden) * max(span - 2, 0) + 1
    keep = patience.log() if span > 2 else torch.ones(hidden)
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
