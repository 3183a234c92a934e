"""Flags of the chapter, and the presets of each task.

All tasks train by SGD with momentum. A large learning rate is combined with clipping far below the usual gradient
norm: most steps then have the same length whatever the gradient, which crosses plateaus and survives the steep
slopes behind them.

Source: R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks", ICML 2013.

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
EVALUATIONS = 5  # per training


@dataclass(frozen=True)
class Config(Settings):
    """Trains recurrent networks on sequences.

    Args:
        task: adding, the sum of two marked numbers in a sequence; copy, symbols to repeat after a delay; rows,
            handwritten digits read row by row; arithmetic, sums in characters; text, the source of Python's
            standard library.
        cell: rnn, the plain network; lstm; gru; or all of them in turn.
        length: Length of a sequence of numbers, of the delay, or of a chunk of text.
        examples: Number of generated training sequences; digits and text use all there are.
        hidden: Units of the recurrent layer.
        data: Folder with MNIST in torchvision's layout, or "sample" for the bundled digits; by default data/,
            downloading MNIST if possible.
    """

    task: Literal["adding", "copy", "rows", "arithmetic", "text"] = "adding"
    cell: Literal["rnn", "lstm", "gru", "all"] = "all"
    length: int = 100
    examples: int = 20_000
    hidden: int = 64
    data: str | None = None

    def presets(self) -> Mapping[str, Mapping[str, Any]]:
        """Returns the fields that each preset sets for the task."""
        found = {}
        for name, by_task in (("quick", QUICK), ("full", FULL)):
            chosen = by_task[self.task]
            steps = self.max_steps or chosen["max_steps"]
            each_epoch = {} if self.epochs else {"eval_every": -(-steps // EVALUATIONS)}
            found[name] = {"lr": 1.0, **chosen, **each_epoch}
        return found

    def check(self) -> None:
        super().check()
        expect(self.length >= 2, "length", "a whole number from 2 up", self.length)
        expect(self.examples >= 1, "examples", "a whole number from 1 up", self.examples)
        expect(self.hidden >= 2 and self.hidden % 2 == 0, "hidden", "an even number from 2 up", self.hidden)
