"""The flags of the chapter, and what trains well for each of its tasks.

Stochastic gradient descent with momentum trains all of them. What makes it do so is a clip far below the usual norm
of the gradient, beside a large learning rate: most steps are then of one length, whatever the slope, so that a plateau
is crossed and the wall behind it does no harm.

Source: R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks", ICML 2013.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from experiments.settings import Settings, expect

__all__ = ["Config"]

QUICK: dict[str, dict[str, Any]] = {
    "adding": {"length": 40, "examples": 10_000, "hidden": 32, "batch_size": 32, "max_steps": 800, "clip": 0.1},
    "copy": {"length": 10, "examples": 10_000, "hidden": 48, "max_steps": 600, "clip": 0.3},
    "rows": {"hidden": 64, "max_steps": 500, "lr": 0.2, "clip": 1.0, "data": "sample"},
    "arithmetic": {"examples": 40_000, "hidden": 64, "max_steps": 1500, "clip": 0.3},
    "text": {"length": 50, "hidden": 128, "batch_size": 32, "max_steps": 200, "clip": 0.3},
}
FULL: dict[str, dict[str, Any]] = {
    "adding": {"length": 100, "examples": 20_000, "hidden": 64, "max_steps": 2500, "clip": 0.1},
    "copy": {"length": 50, "examples": 20_000, "hidden": 96, "max_steps": 4000, "clip": 0.3},
    "rows": {"hidden": 128, "max_steps": 7500, "lr": 0.2, "clip": 1.0},
    "arithmetic": {"examples": 40_000, "hidden": 128, "max_steps": 4000, "clip": 0.3},
    "text": {"length": 100, "hidden": 256, "batch_size": 32, "max_steps": 1500, "clip": 0.3},
}
EVALUATIONS = 5  # over a training


@dataclass(frozen=True)
class Config(Settings):
    """Trains recurrent networks on sequences.

    Args:
        task: adding, the sum of two marked numbers among many; copy, symbols to be repeated after a long silence;
            rows, handwritten digits read row by row; arithmetic, sums as characters; text, the source of Python's own
            standard library.
        cell: rnn, the plain network; lstm; gru; or all, one after the other.
        length: Of a sequence of numbers, of the silence, or of a stretch of text.
        examples: Sequences that are made to learn from; of digits and text it is all there are.
        hidden: Units of the recurrent layer.
        data: Folder that holds MNIST as torchvision stores it, or "sample" for the bundled digits; by default data/,
            which is filled from the network where that is possible.
    """

    task: Literal["adding", "copy", "rows", "arithmetic", "text"] = "adding"
    cell: Literal["rnn", "lstm", "gru", "all"] = "all"
    length: int = 100
    examples: int = 20_000
    hidden: int = 64
    data: str | None = None

    def presets(self) -> Mapping[str, Mapping[str, Any]]:
        """What each preset sets for the task."""
        found = {}
        for name, by_task in (("quick", QUICK), ("full", FULL)):
            chosen = by_task[self.task]
            steps = self.max_steps or chosen["max_steps"]
            each_epoch = {} if self.epochs else {"eval_every": -(-steps // EVALUATIONS)}
            found[name] = {"lr": 1.0, **chosen, **each_epoch}
        return found

    def check(self) -> None:
        """Raises UsageError for a value out of range."""
        super().check()
        expect(self.length >= 2, "length", "a whole number from 2 up", self.length)
        expect(self.examples >= 1, "examples", "a whole number from 1 up", self.examples)
        expect(self.hidden >= 2 and self.hidden % 2 == 0, "hidden", "an even number from 2 up", self.hidden)
