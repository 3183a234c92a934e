"""Flags of the chapter, and its presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from experiments.settings import Settings, expect

__all__ = ["NETWORKS", "Config", "Network"]

Network = Literal["transformer", "lstm", "gru"]
NETWORKS: tuple[Network, ...] = ("transformer", "lstm", "gru")
EVALUATIONS = 4  # per training


@dataclass(frozen=True)
class Config(Settings):
    """Trains a transformer, an LSTM and a GRU of equal size by AdamW.

    Args:
        task: copy, symbols to repeat after delays of three lengths; text, the source of Python's standard library;
            or both.
        network: transformer, lstm, gru, or all of them in turn.
        delay: Longest delay of the copy problem; a quarter and a sixteenth of it are tried too.
        length: Length of a chunk of text.
        examples: Number of generated training sequences; text uses all there is.
        width: Width of the transformer's blocks; recurrent networks get as many units as make them its size.
        depth: Number of the transformer's blocks.
        heads: Number of heads of each block.
        momentum: Decay of AdamW's mean gradient.
    """

    task: Literal["copy", "text", "both"] = "both"
    network: Literal["transformer", "lstm", "gru", "all"] = "all"
    delay: int = 80
    length: int = 50
    examples: int = 10_000
    width: int = 32
    depth: int = 2
    heads: int = 4

    def presets(self) -> Mapping[str, Mapping[str, Any]]:
        """Returns the fields that each preset sets."""
        quick = {"lr": 0.01, "clip": 1.0, "batch_size": 32, "max_steps": 120}
        full = {**quick, "max_steps": 400, "delay": 160, "length": 100, "width": 48}
        for preset in (quick, full):
            steps = self.max_steps or preset["max_steps"]
            preset |= {} if self.epochs else {"eval_every": -(-steps // EVALUATIONS)}
        return {"quick": quick, "full": full}

    def check(self) -> None:
        super().check()
        expect(self.delay >= 16, "delay", "a whole number from 16 up", self.delay)
        for name in ("length", "examples", "depth", "heads"):
            least = 2 if name == "length" else 1
            expect(getattr(self, name) >= least, name, f"a whole number from {least} up", getattr(self, name))
        fits = self.width >= 2 and self.width % 2 == 0 == self.width % self.heads
        expect(fits, "width", f"an even multiple of {self.heads} heads", self.width)
