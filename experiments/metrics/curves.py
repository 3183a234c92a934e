"""The curve of one figure of a training."""

from __future__ import annotations

from experiments.report.networks import read_curves
from experiments.run import Run

__all__ = ["curve"]


def curve(run: Run, figure: str, split: str = "test") -> tuple[list[int], list[float]]:
    """The steps at which a figure was taken down, and the figure, of the first network of a run or a part."""
    by_backend = read_curves(run.folder / "metrics.jsonl")
    found = next(iter(by_backend.values()))[split, figure]
    return found.steps, found.values
